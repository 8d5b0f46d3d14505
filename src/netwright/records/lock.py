"""One run, one writer: a lock file that names its process and is void once that process is gone."""

import json
import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from netwright.core.errors import NetwrightError
from netwright.records.atomic import disk_errors
from netwright.records.process import started

if sys.platform == "win32":

    def _wait_for(file: BinaryIO) -> None:
        """Not there; the moment between reading and writing the lock stays unguarded."""

else:
    import fcntl

    def _wait_for(file: BinaryIO) -> None:
        # Some network disks have no such lock; there that moment stays unguarded too.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock. Its start time tells it from a later process with the same number."""

    pid: int
    host: str
    started: str

    @classmethod
    def this_process(cls) -> "Holder":
        """The process that asks."""
        return cls(os.getpid(), socket.gethostname(), started(os.getpid()))

    def is_gone(self) -> bool:
        """Whether the process has surely ended; on another machine that cannot be known."""
        return self.host == socket.gethostname() and started(self.pid) != self.started


def acquire(path: Path) -> None:
    """Take the lock at `path`, also from a process that died with it.

    Raises:
        NetwrightError: another process, or this one, has it.
    """
    with disk_errors(path), _alone(path) as file:
        holder = _read(file)
        if holder is not None and not holder.is_gone():
            raise _held(path, holder)
        _write(file, json.dumps(asdict(Holder.this_process())))


def release(path: Path) -> None:
    """Give the lock back if this process has it."""
    with disk_errors(path), _alone(path) as file:
        if _read(file) == Holder.this_process():
            _write(file, "")


@contextmanager
def _alone(path: Path) -> Generator[BinaryIO]:
    """The open lock file. It is emptied, never deleted: so all processes see one file, and only one at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        _wait_for(file)
        yield file


def _read(file: BinaryIO) -> Holder | None:
    try:
        return Holder(**json.loads(file.read()))
    except (ValueError, TypeError):
        return None


def _write(file: BinaryIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text.encode())
    file.flush()


def _held(path: Path, holder: Holder) -> NetwrightError:
    problem = f"{path.parent} is in use by process {holder.pid} on {holder.host}"
    if holder.host == socket.gethostname():
        return NetwrightError(problem, f"wait for it to end, or stop it: kill {holder.pid}")
    return NetwrightError(problem, f"wait for it to end; if it is gone for certain, delete {path}")
