"""Main memory: how much there is, how much a process holds, and whether it has run out."""

import math
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from netwright.core.errors import NetwrightError

GROUPS = Path("/sys/fs/cgroup")  # where Linux tells what a container may use, in the second version or the first
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # torch's words for a CPU, and for Apple's GPUs


def free() -> float:
    """Bytes that this process may come to hold; without end where the system does not tell."""
    held = _bytes_in("/proc/self/status", "VmRSS")
    machine = _bytes_in("/proc/meminfo", "MemAvailable") or math.inf
    return held + min(machine, *(left_to_container(GROUPS / limit, GROUPS / used) for limit, used in LIMITS))


def left() -> float:
    """Bytes that this process may still take: of the machine, its container, and its own limit."""
    return min(free() - _bytes_in("/proc/self/status", "VmRSS"), _limit() - _bytes_in("/proc/self/status", "VmSize"))


def peak() -> int:
    """The most memory this process has held, in bytes; 0 where the system does not tell."""
    if found := _bytes_in("/proc/self/status", "VmHWM"):
        return found
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak() -> None:
    """Linux lets a process measure its peak anew; elsewhere it is that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@contextmanager
def memory_told(when: str, fix: str) -> Generator[None]:
    """Says when memory ran out, and what would help.

    Raises:
        NetwrightError: it ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise NetwrightError(f"memory ran out {when}", fix) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, be it Python's, a processor's or a GPU's."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_full(error))


def is_full(error: BaseException) -> bool:
    """Whether memory has run out; not for every device has torch an error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def left_to_container(limit: Path, used: Path) -> float:
    """Bytes that a container has left; files that it has read and could forget do not count."""
    most, now = _text(limit).strip(), _text(used).strip()
    if not (most.isdigit() and now.isdigit()):
        return math.inf
    lines = [line.split() for line in _text(limit.parent / "memory.stat").splitlines()]
    return int(most) - int(now) + sum(int(value) for name, value in lines if name == "inactive_file")


def _limit() -> float:
    """What the process was allowed to address, as by `ulimit -v`."""
    if sys.platform == "win32":
        return math.inf
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if most == resource.RLIM_INFINITY else most


def _bytes_in(path: str, name: str) -> int:
    """A line such as `MemAvailable: 123 kB`; 0 where there is none."""
    found = [line.split()[1] for line in _text(Path(path)).splitlines() if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
