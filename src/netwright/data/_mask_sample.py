"""What the masks of a data set hold, counted over a sample of them, before anything is concluded from it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from netwright.core.errors import NetwrightError
from netwright.data._mask_codes import is_grey, packed, plain
from netwright.data._mask_raw import DEEPEST, Kind, Raw, raw
from netwright.data.decode import UnreadableImage
from netwright.data.listing import Blobs

SAMPLE, WHITE = 200, 255
DARK, LIGHT = 31, 224  # greys up to here and from here on are black and white, blurred
MANY = 8  # so many different values: rare ones may be missing from a sample, so all masks are looked at
LIKE_GREY = 24  # red, green and blue of a grey that a JPEG has blurred differ by no more
THINGS_LOOKED_AT, MOST_THINGS, MANY_THINGS, FEW, PIECES = 20, 300, 64, 16, 0.9
COUNTED = 8  # classes that number one piece each from 1 on are seldom more
WANDERS = 0.1  # of a picture's side: what varies by less lies where its class lies
FLAT = 8  # grey levels in which a pixel and its neighbours differ inside a class, and not across a blurred edge

Likeness = Literal["things", "perhaps", "classes"]


@dataclass(eq=False)
class Seen:
    """What was counted.

    Attributes:
        total: masks there are.
        places: of those that were looked at and could be read.
        kinds: how often each kind of mask was there.
        different: how many numbers masks have, summed over masks.
        numbers: pixels of each number, in masks of numbers and grey ones. int64 65536.
        sure: the same in masks whose format keeps values.
        busiest: the most values that a mask has, of colours those that no mask before it has, and its place.
        white: masks that have 255.
        beside: those of them that have another number, too, and not but 0.
        odd: the first mask that has another number than 0 and 255, and that number.
        lone: the first mask that has 255 and no other number but 0.
        plain: masks that have numbers, but neither 0 alone nor 255.
        filled: masks that have another number than 0.
        soft: masks that have greys between DARK and LIGHT.
        keys: which colours were there, by `packed`, in masks whose format keeps them. bool 2²⁴, or None without
            coloured masks.
        palette: the colour of each number that was used in a palette.
        palettes_differ: whether a number had different colours in two files.
        lossy: places of masks in a format that changes values.
        like_grey: whether red, green and blue were nearly the same in all of these.
        deep: whether some mask has numbers beyond 255.
        shapes: of stacks.
        layers: the names of their layers.
        held: the values of each layer, by axis and number, and how many masks have just these there.
        covered: in how many layers the pixels of stacks were, at least and at most.
    """

    total: int
    places: list[int] = field(default_factory=list[int])
    kinds: dict[Kind, int] = field(default_factory=dict[Kind, int])
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(DEEPEST + 1, np.int64))
    sure: NDArray[np.int64] = field(default_factory=lambda: np.zeros(DEEPEST + 1, np.int64))
    different: int = 0
    busiest: tuple[int, int] = (-1, 0)
    white: int = 0
    beside: int = 0
    odd: tuple[int, int] = (-1, 0)
    lone: int = -1
    plain: int = 0
    filled: int = 0
    soft: int = 0
    keys: NDArray[np.bool_] | None = None
    palette: dict[int, tuple[int, int, int]] = field(default_factory=dict[int, tuple[int, int, int]])
    palettes_differ: bool = False
    lossy: list[int] = field(default_factory=list[int])
    like_grey: bool = True
    deep: bool = False
    shapes: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    layers: tuple[str, ...] = ()
    held: dict[tuple[int, int], Counter[frozenset[int]]] = field(
        default_factory=lambda: defaultdict[tuple[int, int], Counter[frozenset[int]]](Counter[frozenset[int]])
    )
    covered: tuple[int, int] = (1, 1)

    def add(self, mask: Raw, place: int) -> None:
        """Counts one more."""
        self.places.append(place)
        self.kinds[mask.kind] = self.kinds.get(mask.kind, 0) + 1
        if mask.lossy:
            self.lossy.append(place)
        if mask.kind == "colour" and not is_grey(mask.values):
            self._add_colours(mask, place)
            return
        values = mask.values[..., 0] if mask.kind == "colour" else mask.values
        counts = np.bincount(values.ravel())
        self.numbers[: len(counts)] += counts
        self.deep |= len(counts) > 256
        self.different += int(np.count_nonzero(counts))
        self.busiest = max(self.busiest, (int(np.count_nonzero(counts)), place), key=_first)
        if not mask.lossy:
            self.sure[: len(counts)] += counts
            self._add_sure(np.flatnonzero(counts), place)
        if mask.kind == "colour":
            self.kinds["colour"] -= 1
            self.kinds["grey"] = self.kinds.get("grey", 0) + 1
        elif mask.kind == "palette" and mask.palette is not None:
            self._add_palette(np.flatnonzero(counts), mask.palette)
        elif mask.kind == "stack":
            self._add_stack(mask)

    def _add_sure(self, used: NDArray[np.int64], place: int) -> None:
        others = used[(used != 0) & (used != WHITE)]
        self.filled += len(others) > 0 or WHITE in used
        self.soft += bool(((used > DARK) & (used < LIGHT)).any())
        self.white += WHITE in used
        self.beside += WHITE in used and len(others) > 0
        self.plain += WHITE not in used and len(others) > 0
        if len(others) and self.odd[0] < 0:
            self.odd = (place, int(others[0]))
        if WHITE in used and not len(others) and self.lone < 0:
            self.lone = place

    def _add_colours(self, mask: Raw, place: int) -> None:
        if mask.lossy:
            self.like_grey &= bool((mask.values.max(-1) - mask.values.min(-1)).max() <= LIKE_GREY)
            counts = np.bincount((mask.values.sum(-1, dtype=np.uint16) // 3).ravel())
            self.numbers[: len(counts)] += counts
        self.keys = np.zeros(2**24, bool) if self.keys is None else self.keys
        if not mask.lossy:
            self.like_grey, before = False, np.count_nonzero(self.keys)
            self.keys[packed(mask.values)] = True
            self.busiest = max(self.busiest, (int(np.count_nonzero(self.keys) - before), place), key=_first)

    def _add_palette(self, used: NDArray[np.int64], palette: NDArray[np.uint8]) -> None:
        for number in used.tolist():
            red, green, blue = palette[number].tolist()
            self.palettes_differ |= self.palette.setdefault(number, (red, green, blue)) != (red, green, blue)

    def _add_stack(self, mask: Raw) -> None:
        self.shapes.append(mask.values.shape)
        self.layers = mask.layers or self.layers
        axis = -1 if self.last else 0
        inside = (mask.values > 0).sum(axis)
        for axis, layers in ((0, mask.values), (-1, np.moveaxis(mask.values, -1, 0) if self.last else ())):
            for layer, values in enumerate(layers):
                self.held[axis, layer][frozenset(np.unique(values).tolist())] += 1
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
    def known(self) -> list[int]:
        """The numbers that occur in masks whose format keeps them."""
        return np.flatnonzero(self.sure).tolist()

    @property
    def all_keys(self) -> list[int]:
        """The colours that occur: of coloured masks, of palettes and of greys beside them."""
        keys = set[int]() if self.keys is None else set(np.flatnonzero(self.keys).tolist())
        keys |= {red << 16 | green << 8 | blue for red, green, blue in self.palette.values()}
        if self.kinds.get("grey"):
            keys |= {number * 0x010101 for number in self.known if number < 256 and number not in self.palette}
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
        seen.add(mask, place)


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


def numbered_things(blobs: Blobs, seen: Seen, ignore: int | None) -> Likeness:
    """Whether numbers are those of instances: each is one connected piece, and masks count up to different numbers.

    Numbers of classes are the same few in all masks, in several pieces, and lie where their class lies. Where masks
    count up to but a few, instances and nested classes look alike: "perhaps".
    """
    chosen = {seen.places[int(at)] for at in np.linspace(0, len(seen.places) - 1, THINGS_LOOKED_AT).astype(int)}
    numbers = pieces = 0
    counts, counted_up, many = list[int](), True, len(seen.present) > MANY_THINGS
    centres = defaultdict[int, list[tuple[float, float]]](list[tuple[float, float]])
    for place in sorted(chosen):
        values = _plain(raw(blobs.read(place), blobs.names[place]))
        present = [number for number in np.unique(values).tolist() if number not in (0, ignore)]
        counts.append(len(present))
        counted_up &= not present or present[-1] == len(present)
        if not (counted_up or many):
            return "classes"
        for number, box in _boxes(values, present[:MOST_THINGS]).items():
            numbers += 1
            pieces += _is_one_piece(values[box] == number)
            centres[number].append(_middle(box, values.shape))
    alike = len(set(counts)) == 1 and max(counts) <= FEW
    many &= float(np.median(counts)) > 2  # and not one photograph among masks of black and white
    if not numbers or pieces < PIECES * numbers:
        return "classes"
    if many or (counted_up and not alike and (max(counts) > FEW or (max(counts) > COUNTED and _wander(centres)))):
        return "things"
    return "perhaps" if counted_up and not alike else "classes"


def _boxes(values: NDArray[Any], numbers: Sequence[int]) -> dict[int, tuple[slice, slice]]:
    found: Any = ndimage.find_objects(values.astype(np.int32))
    return {number: found[number - 1] for number in numbers}


def _middle(box: tuple[slice, slice], shape: tuple[int, ...]) -> tuple[float, float]:
    rows, columns = box
    return (rows.start + rows.stop) / 2 / shape[0], (columns.start + columns.stop) / 2 / shape[1]


def _wander(centres: dict[int, list[tuple[float, float]]]) -> bool:
    """Whether what has the same number lies elsewhere in each picture, along rows or columns."""
    spreads = [np.std(middles, axis=0).max() for middles in centres.values() if len(middles) > 1]
    return bool(spreads) and float(np.median(spreads)) > WANDERS


def flat_between(blobs: Blobs, places: Sequence[int], low: int, high: int) -> float:
    """Of the greys from `low` to `high` the share that lie inside a surface of one grey, and not on a blurred edge."""
    between = flat = 0
    for at in {int(at) for at in np.linspace(0, len(places) - 1, THINGS_LOOKED_AT)}:
        name = str(blobs.names[places[at]])
        values = plain(raw(blobs.read(places[at]), name), name, blurred=True)
        inside = (values >= low) & (values <= high)
        spread: Any = ndimage.maximum_filter(values, 3).astype(np.int32) - ndimage.minimum_filter(values, 3)
        between += int(inside.sum())
        flat += int((inside & (spread <= FLAT)).sum())
    return flat / max(1, between)


def _first(pair: tuple[int, int]) -> int:
    return pair[0]


def _plain(mask: Raw) -> NDArray[Any]:
    return mask.values[..., 0] if mask.kind == "colour" else mask.values


def _is_one_piece(where: NDArray[np.bool_]) -> bool:
    pieces: Any = ndimage.label(where, np.ones((3, 3)))
    return pieces[1] == 1
