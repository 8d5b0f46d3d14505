"""Shards: tar files that hold a data set in pieces. Which files are meant, what each is for, and what lies in one."""

import os
import re
import tarfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from netwright.core.errors import NetwrightError, listed, nearest
from netwright.data.assign import SPLITS
from netwright.data.folder import SIDES
from netwright.data.listing import NOBODY

ADDRESS = re.compile(r"(pipe|[a-z][a-z0-9+.-]*(?=:/)):", re.IGNORECASE)
BRACES = re.compile(r"\{([^{}]*)\}")
UNPACKERS = {".gz": "gunzip", ".tgz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd"}
COMPRESSED = re.compile(r"(\.tar\.(gz|bz2|xz|zst)|\.tgz)$", re.IGNORECASE)
MOST_SHARDS = 1_000_000


def shards_of(source: str) -> list[Path]:
    """The tar files that a source stands for: itself, those in a folder, or all that a pattern with braces counts.

    Raises:
        NetwrightError: they are missing, compressed, or not files.
    """
    _refuse_addresses(source)
    path = Path(source).expanduser()
    if path.is_dir():
        found = tars_in(path)
    elif path.exists():
        found = [path]
    else:
        found = [Path(text) for text in expanded(str(path))]
    if not found:
        raise NetwrightError(f"{path} has no .tar files", "give the folder that holds the shards")
    _refuse_missing(found)
    _refuse_compressed(found)
    return [shard.absolute() for shard in found]


def is_pattern(path: Path) -> bool:
    """Whether a path stands for tar files without being one: braces in it, or an address."""
    said = BRACES.search(str(path)) or ADDRESS.match(str(path))
    return path.suffix.lower() == ".tar" and said is not None and not path.exists()


def expanded(pattern: str) -> Iterator[str]:
    """Every text that braces stand for: `{00..11}` counts with leading zeros, `{a,b}` are choices."""
    match = BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    for choice in _choices(match[1]):
        yield from expanded(pattern[: match.start()] + choice + pattern[match.end() :])


def tars_in(folder: Path) -> list[Path]:
    """The tar files of a folder, or else of those of its folders that are named as sides are; or compressed ones."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    plain = [entry for entry in entries if entry.suffix.lower() == ".tar"]
    inside = [entry for entry in entries if entry.name.lower() in SIDES and entry.is_dir()]
    below = [shard for side in inside for shard in sorted(side.glob("*.tar")) if not shard.name.startswith(".")]
    return plain or below or [entry for entry in entries if COMPRESSED.search(entry.name)]


def sides_of(titles: Sequence[str]) -> list[int]:
    """The side that each shard's name tells, as `train-0000.tar` or `val/7.tar`.

    NOBODY for all where none does, or where all are for training: then the data is not divided yet.

    Raises:
        NetwrightError: a shard names two sides, or none while others do.
    """
    told = [{SIDES[word] for word in re.split("[^a-z]+", title.lower()) if word in SIDES} for title in titles]
    for title, sides in zip(titles, told, strict=True):
        if len(sides) > 1:
            raise NetwrightError(f"the shard {title} names two sides: {listed(sorted(sides))}", "rename it")
        if not sides and any(told):
            fix = f"begin its name with one of {listed(SIDES)}, as train-{Path(title).name}"
            raise NetwrightError(f"the shard {title} does not say which side it is for, while others do", fix)
    divided = any(sides != {SPLITS[0]} for sides in told)
    return [SPLITS.index(next(iter(sides))) if sides and divided else NOBODY for sides in told]


@contextmanager
def opened(path: Path) -> Generator[tarfile.TarFile]:
    """A tar file that is not compressed, for reading.

    Raises:
        NetwrightError: it is no such file.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive
    except (OSError, tarfile.TarError) as error:
        fix = "give plain tar files, as `tar -cf` writes them"
        raise NetwrightError(f"{path} is not a tar file that can be read ({error})", fix) from None


def members(archive: tarfile.TarFile, title: str) -> Iterator[tarfile.TarInfo]:
    """The header of every regular file; links, devices, sparse and hidden files are passed over.

    `TarFile.next` would keep every header that it has seen, a kilobyte for each, and take a damaged one for the end.

    Raises:
        NetwrightError: the archive breaks off; the message has its last member that is whole.
    """
    file, last, here = cast(BinaryIO, archive.fileobj), "", 0
    size = file.seek(0, os.SEEK_END)
    while True:
        file.seek(here)
        block = file.read(tarfile.BLOCKSIZE)
        if block == bytes(tarfile.BLOCKSIZE):
            return
        file.seek(here)
        try:
            member = tarfile.TarInfo.fromtarfile(archive)
        except tarfile.TarError as error:
            raise _damaged(title, str(error) if block else "no end mark", last) from None
        if not here < archive.offset <= size or member.size < 0:
            raise _damaged(title, f"{member.name} is cut short", last)
        here, last = archive.offset, member.name
        if member.isreg() and not member.issparse() and not member.name.rpartition("/")[2].startswith("."):
            yield member


def _damaged(title: str, reason: str, last: str) -> NetwrightError:
    known = f"its last whole member is {last}" if last else "no member of it is whole"
    return NetwrightError(f"the shard {title} is truncated or damaged ({reason}); {known}", "copy or write it again")


def _choices(inside: str) -> Iterator[str]:
    span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if span is None:
        yield from inside.split(",")
        return
    first, last = int(span[1]), int(span[2])
    if not 0 <= last - first < MOST_SHARDS:
        raise NetwrightError(f"{{{inside}}} does not count shards", "count upwards, as in {0000..0009}")
    yield from (f"{number:0{len(span[1])}d}" for number in range(first, last + 1))


def _refuse_addresses(source: str) -> None:
    match = ADDRESS.match(source)
    if match and match[1].lower() == "pipe":
        problem = f"{source} is a command: a data source is never executed"
        raise NetwrightError(problem, "run it yourself, save what it writes as .tar files, and give their folder")
    if match:
        problem = f"{source} is an address: pictures are read in random order, which takes files"
        raise NetwrightError(problem, "download the shards and give their folder")


def _refuse_missing(shards: Sequence[Path]) -> None:
    missing = [shard for shard in shards if not shard.is_file()]
    if not missing:
        return
    folder = missing[0].parent
    close = nearest(missing[0].name, (entry.name for entry in folder.iterdir())) if folder.is_dir() else None
    fix = f"did you mean {folder / close}?" if close else "check the path"
    if len(shards) == 1:
        raise NetwrightError(f"{missing[0]} does not exist", fix)
    raise NetwrightError(f"{len(missing)} of {len(shards)} shards do not exist: {listed(map(str, missing), 3)}", fix)


def _refuse_compressed(shards: Sequence[Path]) -> None:
    packed = [shard for shard in shards if COMPRESSED.search(shard.name)]
    if packed:
        problem = f"{listed(map(str, packed), 3)}: a compressed shard can only be read from its start"
        raise NetwrightError(problem, f"unpack it to a plain .tar: {UNPACKERS[packed[0].suffix.lower()]} {packed[0]}")
