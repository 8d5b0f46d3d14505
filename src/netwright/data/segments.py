"""Records by content hash in files that never change: written once, whole or not at all, and shared by every run."""

import errno
import math
import os
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.records.atomic import replacing

Keys = NDArray[np.uint64]  # N 4: SHA-256
ABSENT = -1
SEGMENT_BYTES, SEGMENT_ROWS = 256 << 20, 1 << 16
SMALL, MOST_SMALL = 1 / 8, 32  # so many segments below this part of a full one are made into one
_ROWS = 16  # of a segment that are checked when it is opened: reading all would cost what it saves
_SHIFT = 32
_KEYS = ".keys.npy"


def as_keys(digests: "list[bytes]") -> Keys:
    """SHA-256 digests as numbers. N -> N 4."""
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class Segment:
    """Some records: their keys, N 4, their values, N …, and the file that says they are whole; None in memory."""

    keys: Keys
    values: NDArray[Any]
    path: Path | None = None


class Segments:
    """All records of one kind.

    A folder holds pairs of files: the values, and their keys with a checksum, which is written last. Whoever reads
    sees only pairs that are whole; whoever writes disturbs nobody; two that write the same record both keep it.

    Args:
        folder: where they are; None keeps them in memory.
        dtype: of a value.
        shape: of a value.
    """

    def __init__(self, folder: Path | None, dtype: Any, shape: tuple[int, ...] = ()) -> None:
        self.folder = folder
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.row_bytes = self.dtype.itemsize * math.prod(shape)
        self.segments: list[Segment] = []
        if folder is not None and folder.is_dir():
            for path in sorted(folder.glob(f"*{_KEYS}")):
                segment = self._opened(path)
                self.segments += [segment] if segment is not None else []
        self._sort()

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """For each key the place of its record, or ABSENT. N 4 -> N."""
        at, last = np.searchsorted(self._prefixes, keys[:, 0]), len(self._prefixes)
        places = np.full(len(keys), ABSENT, np.int64)
        open_ = np.arange(len(keys))
        while len(open_):  # once, but for different keys that begin alike
            open_ = open_[at[open_] < last]
            open_ = open_[self._prefixes[at[open_]] == keys[open_, 0]]
            same = (self._keys[at[open_]] == keys[open_]).all(1)
            places[open_[same]] = self._places[at[open_[same]]]
            open_ = open_[~same]
            at[open_] += 1
        return places

    def rows(self, places: NDArray[np.int64]) -> "Rows":
        """The records at these places; those that are ABSENT must not be asked for."""
        used = np.unique(places[places != ABSENT] >> _SHIFT)
        for number in used:
            _touch(self.segments[number].path)
        return Rows([segment.values for segment in self.segments], places, self.dtype, self.shape)

    @contextmanager
    def writing(self) -> Generator["Writer"]:
        """A writer; what it was given is there when the block ends, and in large part even when that fails."""
        writer = Writer(self)
        try:
            yield writer
        finally:
            writer.flush()
            self._merge()
            self._sort()

    def used(self, keys: Keys) -> set[Path | None]:
        """The files that hold these records."""
        places = self.find(keys)
        return {self.segments[number].path for number in np.unique(places[places != ABSENT] >> _SHIFT)}

    def _merge(self) -> None:
        """Many small segments, as many small data sets leave them, become one: each takes a file descriptor."""
        limits = SMALL * SEGMENT_BYTES, SMALL * SEGMENT_ROWS
        small = [each for each in self.segments if each.path and _is_below(each, *limits)]
        if self.folder is None or len(small) <= MOST_SMALL:
            return
        path = self.folder / f"{token_hex(8)}{_KEYS}"
        values = [row.tobytes() for each in small for row in each.values]
        _write(path, np.concatenate([each.keys for each in small]), values, self)
        merged = self._opened(path)
        if merged is not None:
            self.segments = [*(each for each in self.segments if each not in small), merged]
            for each in small:
                remove(each.path)

    def _sort(self) -> None:
        keys = [segment.keys for segment in self.segments]
        places = [(number << _SHIFT) + np.arange(len(own)) for number, own in enumerate(keys)]
        together = np.concatenate(keys) if keys else np.empty((0, 4), np.uint64)
        order = np.argsort(together[:, 0], kind="stable")
        self._keys = together[order]
        self._prefixes = np.ascontiguousarray(self._keys[:, 0])
        self._places = (np.concatenate(places) if places else np.empty(0, np.int64))[order]

    def _opened(self, path: Path) -> Segment | None:
        """A pair of files, or None unless everything about it is as expected."""
        try:
            table = np.load(path, allow_pickle=False)
            # Copy-on-write, so that torch may wrap the array without warning and nothing ever reaches the file.
            values = np.load(_values_of(path), mmap_mode="c", allow_pickle=False)
            sound = values.shape == (len(table), *self.shape) and values.dtype == self.dtype
            for row in range(0, len(table), max(1, len(table) // _ROWS)):
                sound = sound and zlib.crc32(values[row].tobytes()) == table["crc"][row]
        except Exception as error:  # whatever numpy stumbles on in a damaged header
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise NetwrightError(
                    "too many files are open for the cache", "raise the limit: ulimit -n 8192"
                ) from None
            return None
        return Segment(np.ascontiguousarray(table["key"]), values, path) if sound else None


class Writer:
    """Adds records to segments, in files of about SEGMENT_BYTES at most."""

    def __init__(self, segments: Segments) -> None:
        self.segments = segments
        self._keys: list[Any] = []
        self._values: list[bytes] = []
        self._size = 0

    def add(self, key: NDArray[np.uint64], value: NDArray[Any]) -> None:
        """One record. Key: 4."""
        self._keys.append(key)
        self._values.append(value.tobytes())
        self._size += self.segments.row_bytes
        if self._size >= SEGMENT_BYTES or len(self._keys) >= SEGMENT_ROWS:
            self.flush()

    def flush(self) -> None:
        """Make a segment of what is waiting."""
        if not self._keys:
            return
        kind = self.segments
        keys, count = np.stack(self._keys), len(self._keys)
        if kind.folder is None:
            values = np.frombuffer(b"".join(self._values), kind.dtype).reshape(count, *kind.shape)
            kind.segments.append(Segment(keys, values))
        else:
            kind.folder.mkdir(parents=True, exist_ok=True)
            path = kind.folder / f"{token_hex(8)}{_KEYS}"
            _write(path, keys, self._values, kind)
            opened = kind._opened(path)
            kind.segments += [opened] if opened is not None else []
        self._keys, self._values, self._size = [], [], 0


@dataclass(frozen=True, eq=False)
class Rows:
    """Records of several segments as one array that is read when it is indexed.

    Args:
        segments: their values.
        places: N places.
        dtype: of a record.
        record: its shape.
    """

    segments: list[NDArray[Any]]
    places: NDArray[np.int64]
    dtype: np.dtype[Any]
    record: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """N, and a record's."""
        return len(self.places), *self.record

    @property
    def nbytes(self) -> int:
        """Of the array that this stands for."""
        return len(self.places) * self.dtype.itemsize * math.prod(self.record)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Any) -> NDArray[Any]:
        places = np.atleast_1d(self.places[chosen])
        found = np.empty((len(places), *self.record), self.dtype)
        segments, rows = places >> _SHIFT, places & ((1 << _SHIFT) - 1)
        for number in np.unique(segments):
            here = np.flatnonzero(segments == number)
            found[here] = self.segments[number][rows[here]]
        return found[0] if np.ndim(self.places[chosen]) == 0 else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[place] for place in range(len(self)))


def as_rows(arrays: list[NDArray[Any]]) -> Rows:
    """Arrays N …, one after the other, as rows; nothing is copied."""
    places = [(number << _SHIFT) + np.arange(len(array)) for number, array in enumerate(arrays)]
    return Rows(arrays, np.concatenate(places), arrays[0].dtype, arrays[0].shape[1:])


def _write(path: Path, keys: Keys, values: list[bytes], kind: Segments) -> None:
    with replacing(_values_of(path), needed=len(keys) * kind.row_bytes) as temporary, temporary.open("wb") as file:
        _header(file, kind.dtype, (len(keys), *kind.shape))
        file.writelines(values)
    table = np.zeros(len(keys), [("key", np.uint64, (4,)), ("crc", np.uint32)])
    table["key"], table["crc"] = keys, [zlib.crc32(value) for value in values]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, table, allow_pickle=False)


def _header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    described = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(file, {"descr": described, "fortran_order": False, "shape": shape})


def _values_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_KEYS) + ".npy")


def _touch(path: Path | None) -> None:
    """Used now: what was used least recently goes first when room is needed."""
    if path is not None:
        with suppress(OSError):
            os.utime(path)


def _is_below(segment: Segment, size: float, rows: float) -> bool:
    return segment.values.nbytes < size and len(segment.keys) < rows


def remove(keys: Path | None) -> None:
    """Delete a segment, its keys first: without them nobody looks for the rest. Who has it open keeps it."""
    for path in (keys, keys and _values_of(keys)):
        if path is not None:
            with suppress(OSError):
                path.unlink()


def stored_in(root: Path) -> list[tuple[float, int, Path]]:
    """Every segment below a folder: when it was last used, its bytes, and the file of its keys, which may be absent."""
    found: list[tuple[float, int, Path]] = []
    for values in root.rglob("*.npy"):
        keys = values.with_name(f"{values.stem}{_KEYS}")
        if not values.name.endswith(_KEYS):
            with suppress(OSError):
                stat = (keys if keys.exists() else values).stat()
                found.append((stat.st_mtime, values.stat().st_size, keys))
    return sorted(found)
