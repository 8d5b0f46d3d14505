"""What a zip or tar archive holds, one member after the other: read here, judged in `extract`, trusted nowhere.

Zip files are read by the format's description (PKWARE, APPNOTE.TXT 6.3.10), because `zipfile` keeps an object for each
member, cuts names at a NUL and does not see that members overlap. Tar files are read by `tarfile` as a stream.
"""

import stat
import struct
import tarfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterator
from functools import partial
from gzip import GzipFile
from io import BufferedIOBase
from lzma import LZMAFile
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE, FOLDER = "file", "folder"
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK = 1 << 20
_BUFFER = 1 << 15  # of a tar; `tarfile` copies what is left of it at each read
_MOST_HEADERS = 4 * CHUNK  # bytes between the contents of two members of a tar

_END, _END64, _PLACE64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_ENTRY, _LOCAL, _EXTRA = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H"), struct.Struct("<2H")
_ENCRYPTED, _STORED, _DEFLATED, _ZIP64 = 1, 0, 8, 1
_Stream = IO[bytes] | BufferedIOBase
_FULL16, _FULL32, _TURN = 0xFFFF, 0xFFFFFFFF, 1 << 16


class DamagedArchiveError(ValueError):
    """An archive that breaks the rules of its format; the message says where."""


class Member(NamedTuple):
    """Something in an archive.

    Attributes:
        name: as the archive has it, whatever that is.
        kind: FILE, FOLDER, or in words what else it is.
        size: in bytes, as the archive declares it.
        content: reads a file's bytes, in chunks; to be used before the next member is asked for.
    """

    name: str
    kind: str
    size: int
    content: Callable[[], Iterator[bytes]]


def members(path: Path) -> Iterator[Member]:
    """Everything in an archive, in its own order. The first bytes decide what it is, not its name.

    Raises:
        DamagedArchiveError: not an archive, or one that is damaged. Parsers raise other errors as well.
    """
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start[:4] in (b"PK\3\4", b"PK\5\6"):
            yield from _in_zip(file)
            return
        yield from _in_tar(_unpacked(file, start))


def _unpacked(file: BinaryIO, start: bytes) -> _Stream:
    if start.startswith(b"\x1f\x8b"):
        return GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return BZ2File(file)
    return LZMAFile(file) if start.startswith(b"\xfd7zXZ\0") else file


class _Metered(BufferedIOBase):
    """A stream that refuses to be read further than was allowed, and remembers its last block."""

    def __init__(self, stream: _Stream, allowed: int) -> None:
        self.stream, self.allowed, self.last = stream, allowed, b""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; for `tarfile`, which reads a block at a time."""
        if self.allowed < 0:
            raise DamagedArchiveError(f"more than {_MOST_HEADERS} bytes of headers before one member")
        data = self.stream.read(-1 if size is None else size)
        self.allowed -= len(data)
        self.last = (self.last + data[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        return data


class _Tar(tarfile.TarFile):
    members: list[tarfile.TarInfo]


def _in_tar(stream: _Stream) -> Iterator[Member]:
    metered = _Metered(stream, _MOST_HEADERS)
    with _Tar.open(fileobj=metered, mode="r|", bufsize=_BUFFER) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # else it would keep every header
            kind = _kind_in_tar(info)
            metered.allowed = _MOST_HEADERS + (info.size if kind == FILE else 0)
            yield Member(info.name, kind, info.size, partial(_content_in_tar, tar, info))
    if metered.last.strip(b"\0") or not metered.last:
        raise DamagedArchiveError("its end mark is missing: it ends early, or goes on after it")


def _kind_in_tar(info: tarfile.TarInfo) -> str:
    if info.isdir():
        return FOLDER
    if info.issym() or info.islnk():
        return "a link"
    if info.ischr() or info.isblk():
        return "a device"
    if info.isfifo():
        return "a pipe"
    plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
    return FILE if plain else "a member of an unusual kind"


def _content_in_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    file = tar.extractfile(info)
    while file and (chunk := file.read(CHUNK)):
        yield chunk


class _Entry(NamedTuple):
    """A row of a zip's directory."""

    name: bytes
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    mode: int
    start: int


def _in_zip(file: BinaryIO) -> Iterator[Member]:
    first, end, count = _directory(file)
    starts = np.fromiter((entry.start for entry in _entries(file, first, end)), np.uint64)
    if len(starts) % _TURN != count % _TURN:
        raise DamagedArchiveError("its directory does not have as many members as it says")
    limits = np.unique(np.append(starts, np.uint64(first)))
    if len(limits) <= len(starts) or limits[-1] != first:
        raise DamagedArchiveError("members overlap")
    for entry in _entries(file, first, end):
        content = partial(_content_in_zip, file, entry, limits)
        yield Member(_decoded(entry.name), _kind_in_zip(entry), entry.size, content)


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Where a zip's directory begins and ends, and how many members it has; old programs count modulo 65,536."""
    length = file.seek(0, 2)
    file.seek(max(0, length - _END.size - _FULL16))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise DamagedArchiveError("its directory is missing: it ends early")
    *_, count, size, start, _ = _END.unpack_from(tail, place)
    if place >= _PLACE64.size and tail[place - _PLACE64.size :].startswith(b"PK\6\7"):
        _, _, place64, _ = _PLACE64.unpack_from(tail, place - _PLACE64.size)
        signature, *_, count, size, start = _END64.unpack(_exactly(file, place64, _END64.size))
        if signature != b"PK\6\6":
            raise DamagedArchiveError("its directory is damaged")
    if start + size > length - len(tail) + place:
        raise DamagedArchiveError("its directory is damaged")
    return start, start + size, count


def _entries(file: BinaryIO, place: int, end: int) -> Iterator[_Entry]:
    while place < end:
        fields = _ENTRY.unpack(_exactly(file, place, _ENTRY.size))
        signature, _, _, flags, method, _, _, checksum, packed, size, *lengths, _, _, attributes, start = fields
        if signature != b"PK\1\2":
            raise DamagedArchiveError("its directory is damaged")
        data = _exactly(file, place + _ENTRY.size, sum(lengths))
        name, extra = data[: lengths[0]], data[lengths[0] : lengths[0] + lengths[1]]
        size, packed, start = _wide(extra, (size, packed, start))
        yield _Entry(name, flags, method, checksum, packed, size, attributes >> 16, start)
        place += _ENTRY.size + sum(lengths)


def _wide(extra: bytes, values: tuple[int, int, int]) -> Iterator[int]:
    """Size, packed size and start; those that do not fit in 32 bits are in an extra field, in this order."""
    wide = iter(())
    place = 0
    while place + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, place)
        place += _EXTRA.size
        if kind == _ZIP64:
            field = extra[place : place + length]
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
        place += length
    for value in values:
        yield next(wide, value) if value == _FULL32 else value


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437")


def _kind_in_zip(entry: _Entry) -> str:
    if entry.flags & _ENCRYPTED:
        return "an encrypted file"
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        return "a link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a device or pipe"
    if entry.name.endswith(b"/"):
        return FOLDER
    return FILE if entry.method in (_STORED, _DEFLATED) else f"a file packed by method {entry.method}"


def _content_in_zip(file: BinaryIO, entry: _Entry, limits: NDArray[np.uint64]) -> Iterator[bytes]:
    signature, *_, name, extra = _LOCAL.unpack(_exactly(file, entry.start, _LOCAL.size))
    start = entry.start + _LOCAL.size + name + extra
    if signature != b"PK\3\4" or _exactly(file, entry.start + _LOCAL.size, name) != entry.name:
        raise DamagedArchiveError("its directory does not fit its contents")
    if start + entry.packed > int(limits[np.searchsorted(limits, np.uint64(entry.start), "right")]):
        raise DamagedArchiveError("members overlap")
    checksum = 0
    packed = _packed(file, start, entry.packed)
    for chunk in _inflated(packed) if entry.method == _DEFLATED else packed:
        checksum = zlib.crc32(chunk, checksum)
        yield chunk
    if checksum != entry.checksum:
        raise DamagedArchiveError("a checksum does not fit")


def _packed(file: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    for place in range(start, start + size, CHUNK):
        yield _exactly(file, place, min(CHUNK, start + size - place))


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in chunks:
        while chunk and not engine.eof:
            yield engine.decompress(chunk, CHUNK)
            chunk = engine.unconsumed_tail
    yield engine.flush()


def _exactly(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    data = file.read(size)
    if len(data) != size:
        raise DamagedArchiveError("it ends early")
    return data
