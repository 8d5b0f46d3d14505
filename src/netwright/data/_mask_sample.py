"""What the masks of a data set hold, counted over a sample of them, before anything is concluded from it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from netwright.core.errors import NetwrightError
from netwright.data._mask_codes import is_grey, packed
from netwright.data._mask_raw import DEEPEST, Kind, Raw, raw
from netwright.data.decode import UnreadableImage
from netwright.data.listing import Blobs

SAMPLE = 200
MANY = 8  # so many different values: rare ones may be missing from a sample, so all masks are looked at
LIKE_GREY = 24  # red, green and blue of a grey that a JPEG has blurred differ by no more
THINGS_LOOKED_AT, MOST_THINGS, MANY_THINGS, FEW, PIECES = 20, 300, 64, 16, 0.9


@dataclass(eq=False)
class Seen:
    """What was counted.

    Attributes:
        total: masks there are.
        places: of those that were looked at and could be read.
        kinds: how often each kind of mask was there.
        different: how many numbers masks have, summed over masks.
        numbers: pixels of each number, in masks of numbers and grey ones. int64 65536.
        keys: which colours were there, by `packed`. bool 2²⁴, or None without coloured masks.
        palette: the colour of each number that was used in a palette.
        palettes_differ: whether a number had different colours in two files.
        lossy: how many masks were in a format that changes values.
        like_grey: whether red, green and blue were nearly the same in all of these.
        deep: whether some mask has numbers of 16 bits.
        shapes: of stacks.
        layers: the names of their layers.
        covered: in how many layers the pixels of stacks were, at least and at most.
    """

    total: int
    places: list[int] = field(default_factory=list[int])
    kinds: dict[Kind, int] = field(default_factory=dict[Kind, int])
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(DEEPEST + 1, np.int64))
    different: int = 0
    keys: NDArray[np.bool_] | None = None
    palette: dict[int, tuple[int, int, int]] = field(default_factory=dict[int, tuple[int, int, int]])
    palettes_differ: bool = False
    lossy: int = 0
    like_grey: bool = True
    deep: bool = False
    shapes: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    layers: tuple[str, ...] = ()
    covered: tuple[int, int] = (1, 1)

    def add(self, mask: Raw) -> None:
        """Counts one more."""
        self.kinds[mask.kind] = self.kinds.get(mask.kind, 0) + 1
        self.lossy += mask.lossy
        self.deep |= mask.deep
        if mask.kind == "colour" and not is_grey(mask.values):
            self._add_colours(mask)
            return
        values = mask.values[..., 0] if mask.kind == "colour" else mask.values
        counts = np.bincount(values.ravel())
        self.numbers[: len(counts)] += counts
        self.different += int(np.count_nonzero(counts))
        if mask.kind == "colour":
            self.kinds["colour"] -= 1
            self.kinds["grey"] = self.kinds.get("grey", 0) + 1
        elif mask.kind == "palette" and mask.palette is not None:
            self._add_palette(np.flatnonzero(counts), mask.palette)
        elif mask.kind == "stack":
            self._add_stack(mask)

    def _add_colours(self, mask: Raw) -> None:
        if mask.lossy:
            self.like_grey &= bool((mask.values.max(-1) - mask.values.min(-1)).max() <= LIKE_GREY)
            counts = np.bincount((mask.values.sum(-1, dtype=np.uint16) // 3).ravel())
            self.numbers[: len(counts)] += counts
        else:
            self.like_grey = False
        self.keys = np.zeros(2**24, bool) if self.keys is None else self.keys
        self.keys[packed(mask.values)] = True

    def _add_palette(self, used: NDArray[np.int64], palette: NDArray[np.uint8]) -> None:
        for number in used.tolist():
            red, green, blue = palette[number].tolist()
            self.palettes_differ |= self.palette.setdefault(number, (red, green, blue)) != (red, green, blue)

    def _add_stack(self, mask: Raw) -> None:
        self.shapes.append(mask.values.shape)
        self.layers = mask.layers or self.layers
        axis = -1 if self.last else 0
        inside = (mask.values > 0).sum(axis)
        self.covered = (min(self.covered[0], int(inside.min())), max(self.covered[1], int(inside.max())))

    @property
    def last(self) -> bool:
        """Whether the layers of stacks are on their last axis: always the shortest, always as many."""
        return len({shape[-1] for shape in self.shapes}) == 1 and all(
            shape[-1] < min(shape[:2]) for shape in self.shapes
        )

    @property
    def present(self) -> list[int]:
        """The numbers that occur."""
        return np.flatnonzero(self.numbers).tolist()

    @property
    def all_keys(self) -> list[int]:
        """The colours that occur: of coloured masks, of palettes and of greys beside them."""
        keys = set[int]() if self.keys is None else set(np.flatnonzero(self.keys).tolist())
        keys |= {red << 16 | green << 8 | blue for red, green, blue in self.palette.values()}
        if self.kinds.get("grey"):
            keys |= {number * 0x010101 for number in self.present if number < 256 and number not in self.palette}
        return sorted(keys)


def looked_at(blobs: Blobs) -> Seen:
    """Counts what masks hold: all of them up to SAMPLE, or if they have more than MANY values.

    Raises:
        NetwrightError: none can be read; or one that can is no mask.
    """
    total = len(blobs.names)
    seen, bad = Seen(total), list[UnreadableImage]()
    chosen = spread(blobs)
    _add(seen, blobs, chosen, bad)
    numbers, colours = len(seen.present), len(seen.all_keys) if seen.keys is not None else 0
    if total > len(chosen) and not seen.lossy and MANY < max(numbers, colours) <= DEEPEST:
        rest = sorted(set(range(total)) - set(chosen))
        _add(seen, blobs, rest, bad)
    if not seen.places:
        reason = f": {bad[0]}" if bad else ""
        raise NetwrightError(f"none of the {total} masks can be read{reason}", "replace them with good copies")
    return seen


def _add(seen: Seen, blobs: Blobs, places: list[int], bad: list[UnreadableImage]) -> None:
    for place in places:
        try:
            mask = raw(blobs.read(place), blobs.names[place])
        except UnreadableImage as error:
            bad.append(error)
            continue
        seen.add(mask)
        seen.places.append(place)


def spread(blobs: Blobs) -> list[int]:
    """Places of at most SAMPLE masks, chosen by the size of their files and not by their names; sorted.

    The smallest file, often of an empty mask, and the largest, often the one with most classes, are among them.
    """
    total = len(blobs.names)
    if total <= SAMPLE:
        return list(range(total))
    sizes = np.zeros(total, np.int64)
    for place in range(total):
        try:
            stamp = blobs.stamp(place)
        except OSError:
            stamp = None
        sizes[place] = stamp[0] if stamp else 0
    order = np.argsort(sizes, kind="stable")
    return sorted({int(order[at]) for at in np.linspace(0, total - 1, SAMPLE).astype(int)})


def numbered_things(blobs: Blobs, seen: Seen) -> bool:
    """Whether numbers look like those of instances: each is one connected piece, and masks count up to different
    numbers, or have more than classes have. Numbers of classes are the same few in all masks, in several pieces."""
    chosen = {seen.places[int(at)] for at in np.linspace(0, len(seen.places) - 1, THINGS_LOOKED_AT).astype(int)}
    numbers = pieces = 0
    counts, counted_up = set[int](), True
    for place in sorted(chosen):
        values = _plain(raw(blobs.read(place), blobs.names[place]))
        present = np.unique(values[values > 0])
        counts.add(len(present))
        counted_up &= len(present) == 0 or int(present[-1]) == len(present)
        some = present[:MOST_THINGS].tolist()
        numbers += len(some)
        pieces += sum(_is_one_piece(values == number) for number in some)
    alike = len(counts) == 1 and max(counts) <= FEW
    return (
        numbers > 0 and pieces >= PIECES * numbers and ((counted_up and not alike) or len(seen.present) > MANY_THINGS)
    )


def _plain(mask: Raw) -> NDArray[Any]:
    return mask.values[..., 0] if mask.kind == "colour" else mask.values


def _is_one_piece(where: NDArray[np.bool_]) -> bool:
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    box = where[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pieces: Any = ndimage.label(box, np.ones((3, 3)))
    return pieces[1] == 1
