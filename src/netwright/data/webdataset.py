"""WebDataset shards: tar files in which each picture lies beside its label, as `000017.jpg` and `000017.cls`.

Every shard's headers are walked once; after that any picture is one read at a known offset. Nothing is ever unpacked.
So shards need no order of their own: an epoch is the same seeded permutation of all pictures as for any other format,
a resumed run continues in the middle of it, and processes that share an epoch read disjoint places of that one order
rather than disjoint shards.
"""

import json
import lzma
import os
import re
import sys
import tarfile
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, islice, takewhile
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data.decode import UnreadableImage
from netwright.data.files import EXTENSIONS
from netwright.data.folder import titled
from netwright.data.listing import Listing, Stamp, counted, numbered
from netwright.data.shards import BRACES, is_pattern, members, opened, shards_of, sides_of, tars_in

LABELS = ("cls", "json", "txt")  # where a label is looked for, the first one first
JSON_NAMES = ("label", "class", "cls")
CLASSES = "classes.txt"
Part = tuple[str, str, tarfile.TarInfo]  # key, extension, header
LONGEST_LABEL, LARGE, LOOKED_AT, READERS = 2**16, 2**26, 16, 8


@dataclass(frozen=True, eq=False)
class Members:
    """Pictures in tar files.

    Attributes:
        shards: the tar files.
        names: the shard's name and the member's, as `train-0003.tar/000017.jpg`.
        shard: N places in `shards`.
        offset: N places of the first byte.
        size: N lengths in bytes.
    """

    shards: Sequence[Path]
    names: Sequence[str]
    shard: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    in_memory: bool = field(default=False, init=False)

    def read(self, place: int) -> bytes:
        """A member's bytes; the shard is opened for the one read, so threads and processes share nothing."""
        size = int(self.size[place])
        try:
            with self._path(place).open("rb", buffering=0) as file:
                data = os.pread(file.fileno(), size, int(self.offset[place]))
        except OSError as error:
            raise UnreadableImage(self.names[place], f"cannot be opened ({error.strerror})", lasting=False) from None
        if len(data) < size:
            raise UnreadableImage(self.names[place], "its shard has become shorter", lasting=False)
        return data

    def stamp(self, place: int) -> Stamp:
        """The member's size and the shard's time of last change."""
        return int(self.size[place]), self._path(place).stat().st_mtime_ns

    def _path(self, place: int) -> Path:
        return self.shards[int(self.shard[place])]


@dataclass(frozen=True, eq=False)
class Shard:
    """What one shard holds: the pictures in their order, where they lie, and their labels as words."""

    names: list[str] = field(default_factory=list[str])
    labels: list[str] = field(default_factory=list[str])
    offset: "array[int]" = field(default_factory=lambda: array("q"))
    size: "array[int]" = field(default_factory=lambda: array("q"))


def listing(source: str) -> Listing:
    """The pictures of some shards, and the sides that the shards' names tell: `train-0000.tar` is for training.

    Args:
        source: a tar file, a folder of tar files, or a pattern such as `shards/train-{0000..0009}.tar`.
            A file classes.txt beside the shards, one name a line, names the classes in order.

    Raises:
        NetwrightError: shards that are missing, damaged or compressed; a picture without a label, or with two.
    """
    shards = shards_of(source)
    root = Path(os.path.commonpath([shard.parent for shard in shards]))
    titles = [shard.relative_to(root).as_posix() for shard in shards]
    sides = sides_of(titles)
    with ThreadPoolExecutor(READERS) as pool:
        walked = list(pool.map(_walked, shards, titles))
    names = [name for shard in walked for name in shard.names]
    if not names:
        fix = f"members are pairs as 0001.jpg and 0001.cls; pictures end in {' '.join(EXTENSIONS)}"
        raise NetwrightError(f"no pictures in {listed(map(str, shards), 3)}", fix)
    counts = [len(shard.names) for shard in walked]
    classes, labels = _classes([word for shard in walked for word in shard.labels], names, root / CLASSES)
    members = Members(
        shards,
        names,
        np.repeat(np.arange(len(shards)), counts),
        np.concatenate([np.array(shard.offset, np.int64) for shard in walked]),
        np.concatenate([np.array(shard.size, np.int64) for shard in walked]),
    )
    title = BRACES.sub("*", titled(Path(source))).removesuffix(".tar")
    return Listing(title, str(root), classes, members, labels, np.repeat(np.array(sides, np.int8), counts))


def is_webdataset(path: Path) -> bool:
    """Whether a path is shards: a pattern, or a tar file or a folder of such that begins with pictures and labels.

    Only the first members of the first shard are looked at. A tar file of class folders has no labels beside pictures.
    """
    if is_pattern(path):
        return True
    first = next(iter(tars_in(path)), None) if path.is_dir() else path
    found = defaultdict[str, set[str]](set)
    if first is not None and first.is_file():
        for name in _first_members(first):
            key, extension = _parted(name)
            found[key].add(extension)
    return any(kinds & set(LABELS) and any(map(_is_picture, kinds)) for kinds in found.values())


def _first_members(path: Path) -> list[str]:
    """The first names in a tar file, compressed or not; of a damaged one, or another file, what can be read."""
    names: list[str] = []
    damage = (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError)
    with suppress(*damage), tarfile.open(path, "r|*") as archive:
        for member in takewhile(lambda member: member.size < LARGE, islice(archive, LOOKED_AT)):
            names.append(member.name)
    return names


def _walked(path: Path, title: str) -> Shard:
    """Goes through one shard's headers; of the contents, only labels are read."""
    shard = Shard()
    with opened(path) as archive:
        parts = ((*_parted(member.name), member) for member in members(archive, title))
        for key, group in groupby(parts, itemgetter(0)):
            _add(shard, f"{title}/{key}", _by_extension(title, group), archive)
    if len(set(shard.names)) < len(shard.names):
        twice = next(name for name, count in Counter(shard.names).items() if count > 1)
        raise NetwrightError(f"{twice} is there twice", "give every picture a key of its own")
    return shard


def _parted(name: str) -> tuple[str, str]:
    """Key and extension of a member: what stands before and after the first dot of its file name."""
    folder, slash, file = name.removeprefix("./").rpartition("/")
    stem, _, extension = file.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _by_extension(title: str, group: Iterable[Part]) -> dict[str, tarfile.TarInfo]:
    found: dict[str, tarfile.TarInfo] = {}
    for _, extension, member in group:
        if extension in found:
            raise NetwrightError(f"{title}/{member.name} is there twice", "give every picture a key of its own")
        found[extension] = member
    return found


def _add(shard: Shard, key: str, parts: Mapping[str, tarfile.TarInfo], archive: tarfile.TarFile) -> None:
    """Notes the picture of one key and its label; a key without a picture is passed over."""
    pictures = list(filter(_is_picture, parts))
    if not pictures:
        _refuse_dotted(key, parts)
        return
    if len(pictures) > 1:
        problem = f"{key} has {len(pictures)} pictures: {listed(pictures)}"
        raise NetwrightError(problem, "keep one picture for each key; name others as 0001.mask.png")
    name, picture = f"{key}.{pictures[0]}", parts[pictures[0]]
    source = next((extension for extension in LABELS if extension in parts), None)
    if source is None:
        fix = f"write {PurePosixPath(key).name}.cls right after it, with its class number or name (tar --sort=name)"
        raise NetwrightError(f"{name} has no label beside it", fix)
    shard.labels.append(sys.intern(_label(f"{key}.{source}", archive, parts[source])))
    shard.names.append(name)
    shard.offset.append(picture.offset_data)
    shard.size.append(picture.size)


def _refuse_dotted(key: str, parts: Iterable[str]) -> None:
    dotted = next((extension for extension in parts if _is_picture(extension.rpartition(".")[2])), None)
    if dotted is not None:
        problem = f"{key}.{dotted} has no picture: a key ends at the first dot, so that '{dotted}' is its extension"
        raise NetwrightError(problem, "write the key without dots")


def _label(name: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file = archive.extractfile(member)
    if file is None or member.size > LONGEST_LABEL:
        raise NetwrightError(f"the label {name} has {member.size:,} bytes", f"at most {LONGEST_LABEL:,}")
    as_json = name.endswith(".json")
    try:
        text = file.read().decode().strip()
        value: Any = _said(json.loads(text)) if as_json else text
    except (ValueError, RecursionError):
        raise NetwrightError(f"{name} is not {'JSON' if as_json else 'text'}", "write a label as UTF-8") from None
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        fix = 'write {"label": 3} or {"label": "cat"}' if as_json else "write the class number or name"
        raise NetwrightError(f"{name} holds no label" + ("" if value in (None, "") else f" but {value!r:.60}"), fix)
    return str(value)


def _said(document: Any) -> Any:
    """The label in a JSON document: under one of its usual names, or the document itself where that is plain."""
    if not isinstance(document, dict):
        return document
    return next((document[name] for name in JSON_NAMES if name in document), None)


def _classes(words: Sequence[str], names: Sequence[str], path: Path) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names and numbers: whole numbers count classes from 0, words are classes by their alphabet."""
    given, different = _given(path), set(words)
    if different <= set(given):
        return given, numbered(words, given)
    if all(re.fullmatch(r"\d{1,9}", word) for word in different):
        return _counted(np.fromiter(map(int, words), np.int64, len(words)), names, given, path)
    if given:
        absent = min(different - set(given))
        raise unknown(f"class of {names[words.index(absent)]}", absent, given)
    classes = tuple(sorted(different))
    return classes, numbered(words, classes)


def _counted(
    labels: NDArray[np.int64], names: Sequence[str], given: tuple[str, ...], path: Path
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    highest = int(labels.max())
    if given and highest >= len(given):
        problem = f"{names[int(labels.argmax())]} has label {highest}, but {path} names {len(given)} classes"
        raise NetwrightError(problem, f"count from 0 to {len(given) - 1}, or name every class")
    return given or counted(highest, len(labels), "the shards"), labels


def _given(path: Path) -> tuple[str, ...]:
    """The class names in classes.txt, if it is there."""
    try:
        lines = path.read_text("utf-8-sig").splitlines() if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise NetwrightError(f"{path} cannot be read ({error})", "save it as UTF-8, one class a line") from None
    classes = tuple(line.strip() for line in lines if line.strip())
    if len(set(classes)) < len(classes):
        twice = next(name for name, count in Counter(classes).items() if count > 1)
        raise NetwrightError(f"{path} names '{twice}' twice", "give each class one line")
    return classes


def _is_picture(extension: str) -> bool:
    return f".{extension}" in EXTENSIONS
