"""The decode-once cache: every picture is decoded, turned and resized once, into a memory-mapped uint8 array."""

import errno
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL

from netwright.core.errors import NetwrightError
from netwright.data.decode import Pixels, UnreadableImage, read
from netwright.data.preprocess import Preprocess
from netwright.data.split import Progress

LAYOUT = 1  # raise it when the same picture would be stored differently
VARIABLE = "NETWRIGHT_CACHE"
_CHUNK = 256
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_JUST_NOW = 2_000_000_000  # nanoseconds; coarser than any file system's clock
_ABANDONED = 24 * 3600.0  # seconds


@dataclass(frozen=True, eq=False)
class Cached:
    """Decoded pictures.

    Args:
        images: one row for each file that could be read, in the order given.
        unreadable: for the other files, their place in the order given, and the reason.
        notes: sentences for the user.
    """

    images: Pixels
    unreadable: dict[int, str]
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Where decoded pictures are kept: NETWRIGHT_CACHE, or the platform's place for such things."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "netwright" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "netwright"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netwright"


class Index:
    """What is known of a data folder's files, so that those whose size and time did not change are not read again."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.path = folder / f"index-{sha256(os.fsencode(root.resolve())).hexdigest()[:16]}.json"
        document = _json(self.path)
        known = document.get("known") if document.get("checksum") == _checksum(document.get("known")) else None
        self._files: dict[str, Any]
        self._facts: dict[str, Any]
        self._files, self._facts = known or ({}, {})

    def digests(self, paths: Sequence[Path]) -> tuple[dict[Path, bytes], dict[Path, str]]:
        """Content hashes of the files that can be opened, and for the others the reason."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = dict(zip(paths, pool.map(self._digest, paths), strict=True))
        good = {path: digest for path, digest in found.items() if isinstance(digest, bytes)}
        return good, {path: reason for path, reason in found.items() if isinstance(reason, str)}

    def fact(self, key: str, find: Callable[[], Any]) -> Any:
        """Something found out once about contents that `key` stands for."""
        if key not in self._facts:
            self._facts = {key: find()}
        return self._facts[key]

    def save(self) -> None:
        """Keep what is known. An index that cannot be written only costs time."""
        known = [self._files, self._facts]
        text = json.dumps({"known": known, "checksum": _checksum(known)})
        with suppress(OSError):
            _replace(self.path, lambda file: file.write(text.encode()))

    def _digest(self, path: Path) -> bytes | str:
        try:
            stat, key = path.stat(), path.relative_to(self.root).as_posix()
            known = self._files.get(key)
            if known and known[:2] == [stat.st_size, stat.st_mtime_ns]:
                return bytes.fromhex(known[2])
            digest = sha256(read(path)).digest()
        except OSError as error:
            return f"cannot be opened ({error.strerror})"
        except UnreadableImage as error:
            return error.reason
        # A file written this very moment may be written again without its time changing.
        if time.time_ns() - stat.st_mtime_ns > _JUST_NOW:
            self._files[key] = [stat.st_size, stat.st_mtime_ns, digest.hex()]
        return digest


def cached(
    paths: Sequence[Path],
    digests: Sequence[bytes],
    preprocess: Preprocess,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Cached:
    """The pictures as `preprocess` stores them, decoded now unless the cache has them.

    The key is the contents in their order and the stored geometry; names, `image_size`, mean and std do not matter.

    Raises:
        NetwrightError: the disk is full.
    """
    folder = folder or cache_folder()
    stem = folder / _key(digests, preprocess)
    if found := _load(stem, preprocess):
        return found
    rows = _rows(paths, digests, preprocess, progress)
    if not _writable(folder):
        return _in_memory(rows, len(paths), preprocess, folder)
    _make_room(folder, len(paths) * int(np.prod(preprocess.shape)))
    lost = _write(stem, rows, len(paths), preprocess)
    built = _load(stem, preprocess)
    if built is None:
        raise NetwrightError(f"the cache {stem}.npy cannot be read back", f"point {VARIABLE} at another disk")
    if not all(error.lasting for error in lost.values()):
        _facts_of(stem).unlink()  # what only failed today is tried again next time
    return built


def _key(digests: Sequence[bytes], preprocess: Preprocess) -> str:
    geometry = [LAYOUT, PIL.__version__, preprocess.shape, preprocess.fit]
    return sha256(json.dumps(geometry).encode() + b"".join(digests)).hexdigest()[:32]


def _rows(
    paths: Sequence[Path], digests: Sequence[bytes], preprocess: Preprocess, progress: Progress | None
) -> Iterator[Pixels | UnreadableImage]:
    """Each picture or what is wrong with it. Threads, since Pillow works outside Python's lock: processes are no
    faster (measured), and would each import everything anew."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), _CHUNK):
            part = slice(start, start + _CHUNK)
            for done, row in enumerate(pool.map(_row, paths[part], digests[part], repeat(preprocess)), start + 1):
                if progress:
                    progress(done, len(paths))
                yield row


def _row(path: Path, digest: bytes, preprocess: Preprocess) -> Pixels | UnreadableImage:
    try:
        data = read(path)
        if sha256(data).digest() != digest:
            return UnreadableImage(str(path), "changed while it was being read", lasting=False)
        return preprocess.stored(data)
    except UnreadableImage as error:
        return error


def _load(stem: Path, preprocess: Preprocess) -> Cached | None:
    """What was cached under this name, or None unless everything about it is as expected."""
    facts = _json(_facts_of(stem))
    try:
        shape = (int(facts["rows"]), *preprocess.shape)
        images = _map(_pixels_of(stem), shape)
        unreadable = {int(place): str(reason) for place, reason in facts["unreadable"].items()}
        sound = facts["key"] == stem.name and facts["sample"] == _sample(images)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Cached(images, unreadable) if sound else None


def _map(path: Path, shape: tuple[int, ...]) -> Pixels:
    if shape[0] == 0:  # an empty file cannot be mapped
        return np.empty(shape, np.uint8)
    # Copy-on-write, so that torch may wrap the array without warning and nothing ever reaches the file.
    images = np.load(path, mmap_mode="c", allow_pickle=False)
    if images.shape != shape or images.dtype != np.uint8 or not images.flags.c_contiguous:
        raise ValueError("not the array that was written")
    return images


def _sample(images: Pixels) -> int:
    """A checksum of sixteen rows: reading all would cost what the cache saves."""
    checksum = 0
    for row in images[:: max(1, len(images) // 16)][:16]:
        checksum = zlib.crc32(row.tobytes(), checksum)
    return checksum


def _write(
    stem: Path, rows: Iterator[Pixels | UnreadableImage], most: int, preprocess: Preprocess
) -> dict[int, UnreadableImage]:
    lost: dict[int, UnreadableImage] = {}

    def fill(file: BinaryIO) -> None:
        # Written and not mapped: a full disk is then an error here instead of a crash of the process.
        _header(file, (most, *preprocess.shape))
        for place, row in enumerate(rows):
            if isinstance(row, UnreadableImage):
                lost[place] = row
            else:
                file.write(row.tobytes())
        file.seek(0)
        _header(file, (most - len(lost), *preprocess.shape))

    try:
        _replace(_pixels_of(stem), fill)
        count = most - len(lost)
        sample = _sample(_map(_pixels_of(stem), (count, *preprocess.shape)))
        unreadable = {place: error.reason for place, error in lost.items()}
        facts = {"key": stem.name, "rows": count, "sample": sample, "unreadable": unreadable}
        _replace(_facts_of(stem), lambda file: file.write(json.dumps(facts).encode()))
    except OSError as error:
        if error.errno in _FULL:
            raise _no_room(stem.parent, most * int(np.prod(preprocess.shape))) from None
        raise
    return lost


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """numpy pads this header so that a smaller number of rows takes the same space."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _in_memory(rows: Iterator[Pixels | UnreadableImage], most: int, preprocess: Preprocess, folder: Path) -> Cached:
    images, lost, count = np.empty((most, *preprocess.shape), np.uint8), dict[int, str](), 0
    for place, row in enumerate(rows):
        if isinstance(row, UnreadableImage):
            lost[place] = row.reason
        else:
            images[count] = row
            count += 1
    note = f"the cache folder {folder} cannot be written, so pictures are decoded anew in every run; "
    return Cached(images[:count], lost, (note + f"set {VARIABLE} to a folder that can",))


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        return error.errno in _FULL


def _make_room(folder: Path, needed: int) -> None:
    """Remove what killed runs left half written, then see whether the pictures fit."""
    for leftover in folder.glob("*.part"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                leftover.unlink()
    if shutil.disk_usage(folder).free < needed:
        raise _no_room(folder, needed)


def _no_room(folder: Path, needed: int) -> NetwrightError:
    megabytes = -(-needed // 1_000_000)
    fix = f"free {megabytes} MB there, or set {VARIABLE} to a folder on a disk that has them"
    return NetwrightError(f"the disk is full: the decoded pictures need {megabytes} MB in {folder}", fix)


def _replace(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Write a file so that it is either all there or not there at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _checksum(document: Any) -> int:
    return zlib.crc32(json.dumps(document).encode())


def _pixels_of(stem: Path) -> Path:
    return stem.with_name(stem.name + ".npy")


def _facts_of(stem: Path) -> Path:
    return stem.with_name(stem.name + ".json")
