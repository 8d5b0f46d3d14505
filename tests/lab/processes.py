"""What tests of the lab ask of the system's processes, and a driver that they may kill."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from netwright.records.process import started

DRIVER = Path(__file__).with_name("lab_driver.py")
PATIENCE = 60.0  # seconds for what takes one or two


def driver(
    folder: Path, on: str = "local", processes: int = 1, count: int = 4, epochs: int = 1, **environment: str
) -> subprocess.Popen[str]:
    """Start one; its words come by its standard output; `environment` is for it alone."""
    command = [sys.executable, str(DRIVER), str(folder), on, str(processes), str(count), str(epochs)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        start_new_session=True,
    )


def heard(process: subprocess.Popen[str], word: str) -> str:
    """The first line that has a word in it."""
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:
        if word in line:
            return line
    raise AssertionError(f"it ended without {word!r}: {process.stderr.read()}")


def ended(process: subprocess.Popen[str]) -> int:
    """Its exit code, with its pipes closed."""
    with process:
        process.communicate(timeout=PATIENCE)
    return process.returncode


def children(pid: int) -> list[int]:
    """The processes that a process started, with theirs."""
    started_by: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (entry / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
            if state not in "ZX":
                started_by.setdefault(int(parent), []).append(int(entry.name))
    return _with_theirs(pid, started_by)


def _with_theirs(pid: int, started_by: dict[int, list[int]]) -> list[int]:
    return [each for child in started_by.get(pid, []) for each in (child, *_with_theirs(child, started_by))]


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for something that takes a moment."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def gone(pids: list[int]) -> bool:
    """Whether none of these processes is left."""
    return not any(started(pid) for pid in pids)
