"""Outlives a driver that was killed, to end its cluster: some of Ray's agents would stay for a minute.

Run as a script with the cluster's folder: every process of Ray's has files open in it. Their environment says nothing,
as Ray gives them other names and these overwrite it.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

ROUNDS = 3  # a process that was just being started is found in the next


def end(folder: str, spared: set[int]) -> None:
    """Kill the processes that have files of a folder open, where the system shows that, and remove the folder."""
    for _ in range(ROUNDS):
        for pid in users(folder):
            if pid not in spared:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def users(folder: str) -> Iterator[int]:
    """The processes that have files of a folder open; those of other users are not seen."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(opened.readlink().is_relative_to(folder) for opened in (entry / "fd").iterdir()):
                yield int(entry.name)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    driver = os.getppid()
    sys.stdin.read()  # until the driver closes it, or is gone
    end(sys.argv[1], {os.getpid(), driver})
