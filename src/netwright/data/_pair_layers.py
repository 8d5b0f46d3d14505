"""Several masks for one picture, one file for each class: pixels may be of several classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data._mask_codes import plain
from netwright.data._mask_raw import raw
from netwright.data._pair_stems import NO_MASK, NO_PICTURE, TWO_MASKS, Matched, matched
from netwright.data.decode import read
from netwright.data.listing import Pairing, Stamp

MOST_ENDS, LEAST_FILES = 32, 1.5
HALF, WHITE = 128, 255  # of files whose format changes values: around a thing there are small ones
_AT_SIZE = "save them at the picture's size"


@dataclass(frozen=True, eq=False)
class Layers:
    """Masks of which each is several files, one for each class; a class without a file is nowhere in that picture."""

    root: Path
    classes: tuple[str, ...]
    files: Sequence[Mapping[str, str]]
    names: Sequence[str]
    in_memory: bool = field(default=False, init=False)

    def read(self, place: int) -> NDArray[Any]:
        """The layers as they are stored, K H W.

        Raises:
            UnreadableImage: a file cannot be read.
            NetwrightError: the files have different sizes.
        """
        files = self.files[place]
        found = {kind: _clean(self.root, name) for kind, name in files.items()}
        shapes = {layer.shape for layer in found.values()}
        if len(shapes) > 1:
            sizes = ", ".join(f"{files[kind]} {_size(layer)}" for kind, layer in found.items())
            raise NetwrightError(f"masks of one picture differ in size: {sizes}", _AT_SIZE)
        empty = np.zeros(shapes.pop(), np.uint8)
        return np.stack([found.get(kind, empty) for kind in self.classes])

    def stamp(self, place: int) -> Stamp:
        """A hash of names, sizes and times of all files; and the latest time."""
        return _stamp(self.root, self.files[place])


@dataclass(frozen=True, eq=False)
class Pieces:
    """Masks of which each is several files, one for each thing; where things overlap, the last file's counts."""

    root: Path
    files: Sequence[Sequence[str]]
    names: Sequence[str]
    in_memory: bool = field(default=False, init=False)

    def read(self, place: int) -> NDArray[Any]:
        """The number of the thing that each pixel is of, from 1 in the order of the files; H W uint16.

        Raises:
            UnreadableImage: a file cannot be read.
            NetwrightError: the files have different sizes.
        """
        found = None
        for number, name in enumerate(self.files[place], 1):
            piece = _clean(self.root, name) > 0
            found = np.zeros(piece.shape, np.uint16) if found is None else found
            if piece.shape != found.shape:
                sizes = f"{name} {_size(piece)}, others {_size(found)}"
                raise NetwrightError(f"masks of one picture differ in size: {sizes}", _AT_SIZE)
            found[piece] = number
        return np.zeros((1, 1), np.uint16) if found is None else found

    def stamp(self, place: int) -> Stamp:
        """A hash of names, sizes and times of all files; and the latest time."""
        return _stamp(self.root, dict(enumerate(self.files[place])))


def _clean(root: Path, name: str) -> NDArray[Any]:
    """The numbers of a file, H W; where its format changes values, 0 and 255 by whichever is nearer."""
    found = raw(read(root / name), name)
    values = plain(found, name)
    return np.where(values >= HALF, WHITE, 0).astype(np.uint8) if found.lossy else values


def _size(values: NDArray[Any]) -> str:
    return f"{values.shape[1]}×{values.shape[0]}"


def _stamp(root: Path, files: Mapping[Any, str]) -> Stamp:
    """In place of the size a number of 63 bits that changes when any file does."""
    stats = {kind: (root / name).stat() for kind, name in files.items()}
    parts = [(str(kind), files[kind], stat.st_size, stat.st_mtime_ns) for kind, stat in stats.items()]
    digest = sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") >> 1, max((stat.st_mtime_ns for stat in stats.values()), default=0)


@dataclass(frozen=True, eq=False)
class LayersFound:
    """For each picture its masks by class, and what did not pair."""

    files: dict[str, dict[str, str]]
    faults: tuple[Pairing, ...]
    how: str


def by_group(pictures: Sequence[str], masks: Sequence[str], key: Callable[[str], str]) -> Matched | None:
    """`masks/anna/1.png` and `masks/ben/2.png` for `images/1.png` and `images/2.png`, each picture in one folder only;
    None if there is but one folder, or a picture has masks in several."""
    tops = {key(mask).partition("/")[0] for mask in masks if "/" in key(mask)}
    if len(tops) < 2 or any("/" in key(picture) for picture in pictures):
        return None
    own = set(masks)
    found = matched(pictures, masks, lambda name: key(name).rpartition("/")[2] if name in own else key(name))
    several = any(fault.kind == TWO_MASKS for fault in found.faults)
    return None if several or 2 * len(found.pairs) < len(pictures) else found


def by_folder(pictures: Sequence[str], masks: Sequence[str], key: Callable[[str], str]) -> LayersFound | None:
    """`masks/cat/1.png` and `masks/dog/1.png` for `images/1.png`; None if folders do not stand for classes."""
    tops = {mask: key(mask).partition("/")[0] for mask in masks if "/" in key(mask)}
    inside = {key(picture).partition("/")[0] for picture in pictures if "/" in key(picture)}
    if not masks or len(tops) < len(masks) or inside & set(tops.values()):
        return None

    def below(name: str) -> str:
        return key(name).partition("/")[2] if name in tops else key(name)

    files, faults = dict[str, dict[str, str]](), list[Pairing]()
    for kind in sorted(set(tops.values())):
        found = matched(pictures, [mask for mask in masks if tops[mask] == kind], below)
        for picture, mask in found.pairs.items():
            files.setdefault(picture, {})[kind] = mask
        faults += [fault for fault in found.faults if fault.kind != NO_MASK]
    if 2 * len(files) < len(pictures) and 2 * sum(map(len, files.values())) < len(masks):
        return None
    return _found(pictures, files, faults, "folders of masks are classes")


def by_ending(pictures: Sequence[str], masks: Sequence[str], key: Callable[[str], str]) -> LayersFound | None:
    """`masks/1_cat.png` and `masks/1_dog.png` for `images/1.png`; None if endings do not stand for classes."""
    by_key = {key(picture).casefold(): picture for picture in pictures}
    files, faults, ends = dict[str, dict[str, str]](), list[Pairing](), set[str]()
    for mask in masks:
        picture, end = _cut(key(mask), by_key)
        if not end:
            faults.append(Pairing(NO_PICTURE, (mask,)))
        elif end in files.setdefault(picture, {}):
            faults.append(Pairing(TWO_MASKS, (picture, files[picture][end], mask)))
        else:
            files[picture][end] = mask
            ends.add(end)
    count = sum(map(len, files.values()))
    numbered = all(end.isdigit() for end in ends)
    if not 2 <= len(ends) <= MOST_ENDS or numbered or count < max(LEAST_FILES * len(files), len(masks) / 2):
        return None
    return _found(pictures, files, faults, "endings of masks' names are classes")


def _cut(name: str, known: Mapping[str, str]) -> tuple[str, str]:
    """The picture with the longest name that a mask's name starts with, and what follows; empty where none does."""
    for at in range(len(name) - 1, 0, -1):
        if name[at] in "_-." and (picture := known.get(name[:at].casefold())):
            return picture, name[at + 1 :]
    return "", ""


def _found(
    pictures: Sequence[str], files: Mapping[str, Mapping[str, str]], faults: Sequence[Pairing], how: str
) -> LayersFound:
    """In the order of the pictures, and of the classes."""
    ordered = {picture: dict(sorted(files[picture].items())) for picture in pictures if picture in files}
    missing = [Pairing(NO_MASK, (picture,)) for picture in pictures if picture not in files]
    return LayersFound(ordered, (*missing, *faults), how)
