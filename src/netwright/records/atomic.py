"""Files that are whole or absent: written beside their place, synced to disk, then renamed into it."""

import errno
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from netwright.core.errors import NetwrightError
from netwright.records.process import started

FULL = {errno.ENOSPC: "disk full", errno.EDQUOT: "disk quota used up", errno.EFBIG: "file size limit reached"}
CLOSED = {errno.EROFS: "read-only disk", errno.EACCES: "no permission", errno.EPERM: "no permission"}
TEMPORARY = re.compile(r"\..+\.([0-9]+)-[0-9a-f]{8}", re.DOTALL)
_being_written: set[Path] = set()


def write_atomic(path: Path, data: bytes | str) -> None:
    """Put `data` at `path`; whoever reads meanwhile, or after a crash, finds the old content or the new, never a part.

    Raises:
        NetwrightError: the disk is full or fails, the quota is used up, or the place is not there or not writable.
    """
    # A file name that is not UTF-8 reaches us as lone surrogates; escaped like this they are still valid JSON.
    content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    with replacing(path, needed=len(content)) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path, *, needed: int = 0) -> Generator[Path]:
    """A temporary path to write to; it takes the place of `path` if the block ends well and vanishes if not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}")
    with disk_errors(path, needed=needed):
        _being_written.add(temporary)
        try:
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            _being_written.discard(temporary)
            temporary.unlink(missing_ok=True)


def drop_orphans(folder: Path) -> None:
    """Remove the temporary files that processes left anywhere in a folder when they were killed; those in use stay."""
    for path in list(folder.rglob(".*")):
        match = TEMPORARY.fullmatch(path.name)
        if match and not path.is_symlink() and _is_orphan(path, int(match[1])):
            path.unlink(missing_ok=True)


def _is_orphan(path: Path, pid: int) -> bool:
    # In a container each life of a process may have the same number.
    return path not in _being_written if pid == os.getpid() else not started(pid)


@contextmanager
def disk_errors(path: Path, *, needed: int = 0) -> Generator[None]:
    """Turn what the disk refuses (it is full or closed or fails, the place is impossible) into a NetwrightError.

    Args:
        path: what is being written.
        needed: its size in bytes, where it is known.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NetwrightError(f"{FULL[error.errno]} while writing {path}", _make_room(path, needed)) from error
        if error.errno in CLOSED:
            problem = f"{CLOSED[error.errno]} while writing {path}"
            raise NetwrightError(problem, "pass --output with a folder you may write to") from error
        if error.errno == errno.ENAMETOOLONG:
            raise NetwrightError(f"a name in {path} is too long for the disk", "give a shorter one") from error
        if error.errno == errno.ELOOP:
            problem = f"{path} leads over links that lead back to themselves"
            raise NetwrightError(problem, "pass --output with a folder") from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR) and (file := _in_the_way(path)):
            problem = f"{file} is not a folder, so {path} cannot be written"
            raise NetwrightError(problem, "pass --output with a folder, or with a name that is free") from error
        problem = f"cannot write {path} ({error.strerror or error})"
        raise NetwrightError(problem, "see that its folder is there and the disk works") from error


def _in_the_way(path: Path) -> Path | None:
    """The first part of a path that is there without being the folder it would have to be."""
    parts = (*reversed(path.parents), path)
    return next((part for part in parts if (part.exists() or part.is_symlink()) and not part.is_dir()), None)


def _make_room(path: Path, needed: int) -> str:
    need = f"{_size(needed)} are needed, " if needed else ""
    free = _size(shutil.disk_usage(_existing(path)).free)
    return f"{need}{free} are free: make room, or pass --output with a folder on another disk"


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _size(count: float) -> str:
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself survive a power cut. Where a folder cannot be synced, nothing is left to do.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
