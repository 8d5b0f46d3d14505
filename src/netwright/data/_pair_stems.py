"""Which mask belongs to which picture: by their paths without extension, and what does not pair."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netwright.data._pair_folders import ENDINGS, files_below
from netwright.data.listing import Pairing

NO_MASK, NO_PICTURE, TWO_MASKS, TWO_PICTURES = "no mask", "no picture", "two masks", "two pictures"
NO_INSTANCES, NO_FILE = "no instances", "no file"
ENDS = ("_mask", "_masks", "_label", "_labels", "_gt", "_seg", "_segmentation", "_instances", "_instance", "_L")
PICTURE_ENDS = ("_image", "_img", "_0000")
_END = re.compile(
    "(?:" + "|".join(end.replace("_", "[-_. ]") for end in sorted(ENDS, key=len, reverse=True)) + ")$", re.IGNORECASE
)
_PICTURE_END = re.compile("(?:" + "|".join(end.replace("_", "[-_. ]") for end in PICTURE_ENDS) + ")$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Matched:
    """Pictures with their masks.

    Attributes:
        pairs: for each picture that has one mask, that mask.
        faults: what did not pair.
        ends: endings of names that had to be cut for masks to fit.
    """

    pairs: dict[str, str]
    faults: tuple[Pairing, ...]
    ends: frozenset[str] = frozenset()


def matched(pictures: Sequence[str], masks: Sequence[str], key: Callable[[str], str]) -> Matched:
    """Pairs by equal keys: as they are, then without regard to case, then with the picture's extension in the mask's
    name (`1.jpg.png` for `1.jpg`), then without usual endings of masks' names.

    Args:
        pictures: names of files.
        masks: the same for masks.
        key: what of a name has to be equal: its path below its folder, without extension.
    """
    found, ends = dict[str, list[str]](), set[str]()
    left = list(masks)
    ways = ((_exact, _exact), (str.casefold, str.casefold), (_named, str.casefold), (_picture_core, _core))
    for of_picture, of_mask in ways:
        by_key = dict[str, list[str]]()
        for picture in pictures:
            full = key(picture) + Path(picture).suffix if of_picture is _named else key(picture)
            by_key.setdefault(of_picture(full), []).append(picture)
        still = list[str]()
        for mask in left:
            mine = by_key.get(of_mask(key(mask)))
            if mine is None:
                still.append(mask)
                continue
            if of_mask is _core and (end := _END.search(key(mask))):
                ends.add(end[0])
            for picture in mine:
                found.setdefault(picture, []).append(mask)
        left = still
    return _sorted_out(pictures, found, left, ends)


def _sorted_out(
    pictures: Sequence[str], found: dict[str, list[str]], left: Sequence[str], ends: Iterable[str]
) -> Matched:
    owners = dict[str, list[str]]()
    for picture, masks in found.items():
        for mask in masks:
            owners.setdefault(mask, []).append(picture)
    pairs, faults = dict[str, str](), list[Pairing]()
    for picture in pictures:
        masks = found.get(picture, [])
        if not masks:
            faults.append(Pairing(NO_MASK, (picture,)))
        elif len(masks) > 1:
            faults.append(Pairing(TWO_MASKS, (picture, *masks)))
        elif len(owners[masks[0]]) > 1:
            if owners[masks[0]][0] == picture:
                faults.append(Pairing(TWO_PICTURES, (masks[0], *owners[masks[0]])))
        else:
            pairs[picture] = masks[0]
    faults += [Pairing(NO_PICTURE, (mask,)) for mask in left]
    return Matched(pairs, tuple(faults), frozenset(ends))


def _exact(key: str) -> str:
    return key


def _named(key: str) -> str:
    """With the extension."""
    return key.casefold()


def _core(key: str) -> str:
    return _PICTURE_END.sub("", _END.sub("", key)).casefold()


def _picture_core(key: str) -> str:
    return _PICTURE_END.sub("", key).casefold()


def key_below(folder: str) -> Callable[[str], str]:
    """Gives a name's path below a folder without extension, in composed Unicode (macOS decomposes)."""
    start = len(folder) + 1 if folder else 0

    def key(name: str) -> str:
        return unicodedata.normalize("NFC", str(Path(name[start:]).with_suffix("")))

    return key


def files_under(root: Path, folder: Path, endings: tuple[str, ...] = ENDINGS) -> tuple[list[str], int]:
    """Names relative to the root of the files with such an extension at any depth, sorted; and how many others."""
    names, others = list[str](), 0
    for path in files_below(folder):
        if path.suffix.lower() in endings:
            names.append(path.relative_to(root).as_posix())
        else:
            others += 1
    return sorted(names), others
