"""What netwright chooses where a recipe leaves it open: a network and a batch size that suit the data."""

import gc
import math
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import Run
from netwright.recipes._inputs import Inputs
from netwright.recipes._recipe import Recipe

SMALL = 64  # up to this side in pixels, networks for small pictures
UPDATES = 80  # in an epoch, about
FEWEST, MOST = 16, 256
USABLE = 0.8  # the part of the free memory that a batch may fill
GROUPS = Path("/sys/fs/cgroup")  # where Linux tells what a container may use, in the second version or the first
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # torch's words for a CPU, and for Apple's GPUs

Trial = Callable[[Recipe], Run]


def suited(recipe: Recipe, inputs: Inputs) -> Recipe:
    """A recipe whose network and batch size are named: by the size of the pictures, and by how many there are."""
    side = max(inputs.shape[1:])
    model = "resnet20" if side <= SMALL else "resnet18"
    return recipe.resolved(model=model, batch_size=batch_size_for(len(inputs.splits["train"])))


def batch_size_for(n: int) -> int:
    """The power of two that gives about eighty updates an epoch, from 16 to 256: noise helps, and steps count."""
    return min(MOST, max(FEWEST, 2 ** round(math.log2(max(1, n) / UPDATES))))


def largest_batch(recipe: Recipe, n: int, trial: Trial) -> int:
    """The largest power of two that trains and validates in the memory there is.

    Each size is tried: two updates with the recipe's own optimiser and tricks, and a validation. On a CPU the next size
    is tried only if what it would need, judged by the growth from the last to this, is free.

    Args:
        recipe: whose batch size is sought.
        n: training samples; no batch is larger.
        trial: makes a run of a recipe, on copies of everything that training changes.

    Raises:
        NetwrightError: not even one sample at a time fits.
    """
    size, fits = 1, 0
    needed: list[int] = []
    while size <= n and _next(needed) <= _free() * USABLE:
        try:
            needed.append(_tried(trial(recipe.changed("auto", batch_size=size))))
            fits = size
        except (RuntimeError, ValueError) as error:
            if _is_full(error):
                break
            if not is_too_small(error):
                raise
        size *= 2
    _collect()
    if not fits:
        raise NetwrightError("not even one picture fits in memory", "take a smaller --image-size or another --model")
    return fits


def is_too_small(error: BaseException) -> bool:
    """Whether this is torch's complaint that batch normalisation got one value a channel."""
    return isinstance(error, ValueError) and "more than 1 value per channel" in str(error)


def _is_full(error: BaseException) -> bool:
    """Whether memory has run out; not for every device has torch an error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def _next(needed: list[int]) -> int:
    """What twice the last batch would need: activations grow with it, weights do not."""
    return needed[-1] + 2 * max(0, needed[-1] - needed[-2]) if len(needed) > 1 else 0


def _tried(run: Run) -> int:
    """Two updates and a validation, as the run itself would make them; the most memory they held, in bytes."""
    _collect()
    _forget_peak()
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    run.model.train()
    for _, raw in zip(range(2), run.loader.epoch(0), strict=False):
        step(run, augment, raw, before, after)
    if run.validate is not None:
        run.validate()
    return _peak()


def _collect() -> None:
    """Give back what earlier trials held: runs and their parts know each other, so Python keeps them for a while."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _forget_peak() -> None:
    """Linux lets a process measure its peak anew; elsewhere it is that of the whole process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most memory this process has held, in bytes; 0 where the system does not tell."""
    if found := _bytes_in("/proc/self/status", "VmHWM"):
        return found
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _free() -> float:
    """Bytes that this process may come to hold; without end where the system does not tell."""
    held = _bytes_in("/proc/self/status", "VmRSS")
    machine = _bytes_in("/proc/meminfo", "MemAvailable") or math.inf
    return held + min(machine, *(left_to_container(GROUPS / limit, GROUPS / used) for limit, used in LIMITS))


def left_to_container(limit: Path, used: Path) -> float:
    """Bytes that a container has left; files that it has read and could forget do not count."""
    most, now = _text(limit).strip(), _text(used).strip()
    if not (most.isdigit() and now.isdigit()):
        return math.inf
    lines = [line.split() for line in _text(limit.parent / "memory.stat").splitlines()]
    return int(most) - int(now) + sum(int(value) for name, value in lines if name == "inactive_file")


def _bytes_in(path: str, name: str) -> int:
    """A line such as `MemAvailable: 123 kB`; 0 where there is none."""
    found = [line.split()[1] for line in _text(Path(path)).splitlines() if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
