"""Unpacks an archive that nobody vouches for: plain files and folders inside one new folder, or nothing at all."""

import errno
import os
import re
import shutil
import sys
import time
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from netwright.core.errors import NetwrightError
from netwright.data._members import FILE, FOLDER, DamagedArchiveError, Member, members

Parts = tuple[str, ...]
MEGABYTE, GIBIBYTE = 1_000_000, 1 << 30
DEEPEST = 64
_ABANDONED = 24 * 3600.0  # seconds
_FULL = (errno.ENOSPC, errno.EDQUOT)
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold.

    Attributes:
        members: files and folders.
        size: bytes of one file.
        total: bytes of all files; what the disk has free is a limit as well.
        ratio: bytes of all files for each byte of the archive, once they are more than `harmless`.
        harmless: bytes that need no ratio.
    """

    members: int = 2_000_000
    size: int = 4 * GIBIBYTE
    total: int = 500 * GIBIBYTE
    ratio: int = 200
    harmless: int = 50 * MEGABYTE


LIMITS = Limits()


class RefusedArchiveError(NetwrightError):
    """An archive that is not unpacked.

    Args:
        path: the archive.
        reason: why not, in a few words.
        fix: what to do instead.
    """

    def __init__(self, path: Path, reason: str, fix: str = "") -> None:
        super().__init__(f"{path} is not unpacked: {reason}", fix or "unpack it yourself, look, and give the folder")
        self.reason = reason


def extract(archive: Path, target: Path, *, limits: Limits = LIMITS) -> None:
    """Unpack a zip or tar archive (gz, bz2, xz) into a new folder, which is whole or absent.

    Links, devices, encrypted files, names that lead out of the folder or fall together where case does not count, and
    contents beyond the limits are refused, whatever the archive declares: what is written is counted. Files get mode
    0644, folders 0755, less the user's mask.

    Args:
        archive: what to unpack; its content decides what it is, not its name.
        target: the folder to make. Where another process makes it meanwhile, that one stays.
        limits: how much the archive may hold.

    Raises:
        RefusedArchiveError: with the reason; nothing is left behind.
    """
    with _aside(archive, target) as temporary:
        writer = _Writer(archive, temporary, limits)
        for member in members(archive):
            writer.put(member)
        if not writer.files:
            raise RefusedArchiveError(archive, "there is no file in it", "give an archive of pictures")


@contextmanager
def _aside(archive: Path, target: Path) -> Generator[Path]:
    """A folder beside the target, which becomes the target if the block ends well and vanishes if not."""
    _remove_abandoned(target.parent)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{token_hex(4)}.part")
    try:
        with _explained(archive, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir(mode=0o755)
            yield temporary
            if sys.platform != "win32":
                os.sync()  # so that a folder of this name is whole even after a power cut
            _rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _remove_abandoned(folder: Path) -> None:
    for leftover in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def _explained(archive: Path, target: Path) -> Generator[None]:
    """Turns whatever the disk and the parsers raise into the reason why an archive is not unpacked."""
    again = "download it or make it again"
    try:
        yield
    except (NetwrightError, MemoryError):
        raise
    except DamagedArchiveError as error:
        raise RefusedArchiveError(archive, f"the archive is damaged ({error})", again) from None
    except OSError as error:
        if error.errno in _FULL:
            raise _no_room(archive, target.parent) from None
        if error.errno is not None:
            raise RefusedArchiveError(archive, f"{error.strerror} ({error.filename or target.parent})") from None
        raise RefusedArchiveError(archive, f"the archive is damaged ({error})", again) from None
    except Exception as error:  # the standard library's parsers raise whatever they stumble on
        raise RefusedArchiveError(archive, f"no zip or tar archive that can be read ({error})", again) from None


def _no_room(archive: Path, folder: Path) -> RefusedArchiveError:
    free = shutil.disk_usage(folder).free // MEGABYTE
    fix = f"make room there ({free} MB are free), or set NETWRIGHT_CACHE to a folder on another disk"
    return RefusedArchiveError(archive, f"the disk of {folder} is too small for what is in it", fix)


class _Writer:
    """Writes the members of one archive below a root, as long as they keep to the rules."""

    def __init__(self, archive: Path, root: Path, limits: Limits) -> None:
        self.archive, self.root, self.limits = archive, root, limits
        self.count = self.written = 0
        self.files: set[str] = set()
        self._folders: dict[str, Parts] = {"": ()}
        self._free = shutil.disk_usage(root).free
        self._ratio = max(limits.harmless, limits.ratio * archive.stat().st_size)

    def put(self, member: Member) -> None:
        """Write a file or make a folder."""
        self.count += 1
        if self.count > self.limits.members:
            raise self._refused(f"it has more than {self.limits.members} members")
        if member.kind not in (FILE, FOLDER):
            raise self._refused(f"{_shown(member.name)} is {member.kind}, not a plain file")
        parts = self._parts(member.name)
        if member.kind == FOLDER:
            self._make(parts)
        else:
            self._write(self._claimed(parts), member)

    def _parts(self, name: str) -> Parts:
        """A member's path below the root. Windows' separators count too, since some archives are made with them."""
        plain = name.replace("\\", "/")
        parts = tuple(part for part in plain.split("/") if part not in ("", "."))
        reasons = {
            "has a NUL in its name": "\0" in name,
            "has an absolute name": plain.startswith("/"),
            "names a drive": any(_DRIVE.match(part) for part in parts),
            "leads out of its folder": ".." in parts,
            f"lies more than {DEEPEST} folders deep": len(parts) > DEEPEST,
        }
        for reason, holds in reasons.items():
            if holds:
                raise self._refused(f"{_shown(name)} {reason}")
        return parts

    def _claimed(self, parts: Parts) -> Path:
        """Where a file goes, after its folder is made and its name is known to be free."""
        key = _key(parts)
        if not parts or key in self.files or key in self._folders:
            raise self._taken(parts)
        folder = self._make(parts[:-1])
        self.files.add(key)
        return folder / parts[-1]

    def _make(self, parts: Parts) -> Path:
        key, path = _key(parts), self.root.joinpath(*parts)
        if key in self.files or self._folders.get(key, parts) != parts:
            raise self._taken(parts)
        if key not in self._folders:
            path = self._make(parts[:-1]) / parts[-1]
            path.mkdir(mode=0o755)
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise self._refused(f"{_shown('/'.join(parts))} leads out of its folder")
            self._folders[key] = parts
        return path

    def _write(self, path: Path, member: Member) -> None:
        if member.size > self.limits.size:
            raise self._refused(f"{_shown(member.name)} has more than {self.limits.size} bytes")
        size = 0
        with open(path, "xb", opener=_plain) as file:
            for chunk in member.content():
                size += len(chunk)
                self.written += len(chunk)
                self._check_written(member, size)
                file.write(chunk)
        if size != member.size:
            raise DamagedArchiveError(f"{_shown(member.name)} has {size} bytes and declares {member.size}")

    def _check_written(self, member: Member, size: int) -> None:
        if size > member.size:
            raise DamagedArchiveError(f"{_shown(member.name)} has more bytes than it declares")
        if self.written > self._ratio:
            raise self._refused(f"its files are more than {self.limits.ratio} times as large as the archive")
        if self.written > self.limits.total:
            raise self._refused(f"its files have more than {self.limits.total} bytes")
        if self.written > self._free:
            raise _no_room(self.archive, self.root.parent)

    def _refused(self, reason: str) -> RefusedArchiveError:
        return RefusedArchiveError(self.archive, reason)

    def _taken(self, parts: Parts) -> RefusedArchiveError:
        return self._refused(f"the name {_shown('/'.join(parts))} comes twice, or once more with other letter case")


def _plain(name: str, flags: int) -> int:
    return os.open(name, flags, 0o644)


def _key(parts: Parts) -> str:
    """What a path is called on disks that know no case and compose accents."""
    return unicodedata.normalize("NFC", "/".join(parts).casefold())


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:77] + "…")
