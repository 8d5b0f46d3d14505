"""From stored values to class numbers: one small function object for each encoding, made once and called on every mask.

Each returns uint8, H W of class numbers or K H W of 0 and 1, and IGNORED for pixels that count for nothing. A value
that was not there when the encoding was found out is an error that names file and value, never a guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data._mask_border import bordered
from netwright.data._mask_raw import DEEPEST, Raw

IGNORED, UNEXPECTED = 255, 254
CUT = 128

Ids = NDArray[np.uint8]


class Code(Protocol):
    """What the values of a mask stand for."""

    def __call__(self, mask: Raw, name: str) -> Ids:
        """Class numbers.

        Raises:
            NetwrightError: the mask is not encoded as the others are.
        """
        ...


def table_of(meaning: dict[int, int]) -> Ids:
    """For every number its class number, UNEXPECTED for those that are not given."""
    table = np.full(DEEPEST + 1, UNEXPECTED, np.uint8)
    table[list(meaning)] = list(meaning.values())
    return table


@dataclass(frozen=True, eq=False)
class Numbers:
    """Masks of numbers. `table` holds the class number of each, uint8 65536."""

    table: Ids

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`."""
        values = plain(mask, name)
        found = np.take(self.table, values)
        if (found == UNEXPECTED).any():
            _refuse_number(name, int(values[found == UNEXPECTED][0]), self.table)
        return found


@dataclass(frozen=True, eq=False)
class Cut:
    """Masks of dark and light whose greys are blurred: CUT and above is class 1."""

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`."""
        values = plain(mask, name, blurred=True)
        return (values >= CUT).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Colours:
    """Masks of colours.

    Attributes:
        colours: that stand for a class, uint8 K 3.
        numbers: the class number of each, uint8 K.
        nearest: whether pixels take the nearest colour in files whose format changes colours; else each must be one.
    """

    colours: NDArray[np.uint8]
    numbers: Ids
    nearest: bool = False

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`."""
        values = coloured(mask, name)
        if self.nearest and mask.lossy:
            return self.numbers[self._nearest(values.reshape(-1, 3)).reshape(values.shape[:2])]
        keys = packed(values)
        found = np.take(self._table, keys)
        if (found == UNEXPECTED).any():
            self._refuse(name, values[found == UNEXPECTED][0])
        return found

    @cached_property
    def _table(self) -> Ids:
        table = np.full(2**24, UNEXPECTED, np.uint8)
        table[packed(self.colours)] = self.numbers
        return table

    def _nearest(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """By squared distance; |p|² is the same for all colours and left out. P 3 -> P."""
        colours = self.colours.astype(np.float32)
        return ((colours**2).sum(1) - 2 * pixels.astype(np.float32) @ colours.T).argmin(1)

    def _refuse(self, name: str, colour: NDArray[np.uint8]) -> NoReturn:
        close = self.colours[self._nearest(colour[None])[0]]
        problem = f"{name} has the colour {hexed(colour)}, which no other mask looked at and no legend has"
        fix = (
            f"the nearest known is {hexed(close)}; correct the pixels, or give a legend with all colours (legend=FILE)"
        )
        raise NetwrightError(problem, fix)


@dataclass(frozen=True, eq=False)
class Layered:
    """Masks with one layer for each class.

    Attributes:
        tables: what each stored value of a layer stands for: 0, 1 or IGNORED; uint8 K 65536.
        last: whether layers are the last axis of the array.
        exclusive: whether each pixel is in exactly one layer, so that layers are class numbers.
        places: the class number of each layer, where these are not all classes or in another order.
        classes: how many there are then.
    """

    tables: Ids
    last: bool = False
    exclusive: bool = False
    places: tuple[int, ...] = ()
    classes: int = 0

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`."""
        values, layers = stacked(mask, last=self.last), len(self.tables)
        if values is None and layers == 1 and mask.kind == "grey":
            values = mask.values[None]  # an array with one layer is read as one of numbers
        if values is None or len(values) != layers:
            has = "no layers" if values is None else f"{len(values)} layers"
            raise NetwrightError(f"{name} has {has}, other masks have {layers}", "give every mask the same layers")
        found = np.stack([np.take(table, layer) for table, layer in zip(self.tables, values, strict=True)])
        if (found == UNEXPECTED).any():
            at = int(np.flatnonzero((found == UNEXPECTED).any((1, 2)))[0])
            _refuse_number(f"layer {at + 1} of {name}", int(values[at][found[at] == UNEXPECTED][0]), self.tables[at])
        if self.places:
            own, found = found, np.zeros((self.classes, *found.shape[1:]), np.uint8)
            found[list(self.places)] = own
        if not self.exclusive:
            return found
        if (found.sum(0) != 1).any():
            pixels = int((found.sum(0) != 1).sum())
            problem = f"{name} has {pixels:,} pixels in no layer or in several; in other masks each is in exactly one"
            raise NetwrightError(problem, "correct it, or leave out the background's layer if classes may overlap")
        return found.argmax(0).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Things:
    """Masks of numbered instances.

    Attributes:
        ignore: the number that is ignored; None for none.
        width: of the border class in pixels; 0 for background and foreground alone.
    """

    ignore: int | None = None
    width: int = 0

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`."""
        values = plain(mask, name)
        if self.ignore is None:
            return bordered(values, width=self.width)
        ignored = values == self.ignore
        found = bordered(np.where(ignored, 0, values), width=self.width, ignored=ignored)
        found[ignored] = IGNORED
        return found

    def numbers(self, mask: Raw, name: str) -> NDArray[np.int32]:
        """The number of each pixel's instance, 0 for none and where it is ignored. H W."""
        values = plain(mask, name).astype(np.int32)
        return values if self.ignore is None else np.where(values == self.ignore, 0, values)


@dataclass(frozen=True, eq=False)
class Bordered:
    """Background and foreground with a border between them; connected parts of the foreground are the instances.

    Two connected parts never touch, not even diagonally, so their border is the foreground that has background within
    `width`; nothing has to be numbered for it.
    """

    code: Code
    width: int

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`."""
        plain_ = self.code(mask, name)
        ignored = plain_ == IGNORED
        found = bordered(np.where(ignored, 0, plain_), width=self.width, ignored=ignored)
        found[ignored] = IGNORED
        return found


def plain(mask: Raw, name: str, *, blurred: bool = False) -> NDArray[Any]:
    """A mask's numbers, H W; of colours that are all grey, their grey.

    Args:
        mask: as stored.
        name: of its file.
        blurred: whether its format changes colours, so that its mean colour is taken.

    Raises:
        NetwrightError: it has colours or layers.
    """
    values = mask.values
    if mask.kind == "stack":
        raise NetwrightError(f"{name} has {len(values)} layers, other masks have none", "give all masks one form")
    if mask.kind != "colour":
        return values
    if blurred:
        return (values.sum(-1, dtype=np.uint16) // 3).astype(np.uint8)
    if is_grey(values):
        return np.ascontiguousarray(values[..., 0])
    colour = values[(values != values[..., :1]).any(-1)][0]
    fix = "save it as the others are, or give a legend of colours (legend=FILE)"
    raise NetwrightError(f"{name} has colours, as {hexed(colour)}; other masks have numbers", fix)


def coloured(mask: Raw, name: str) -> NDArray[np.uint8]:
    """A mask's colours, H W 3: its own, or those of its palette, or greys.

    Raises:
        NetwrightError: it has layers, or numbers beyond 255.
    """
    if mask.kind == "colour":
        return mask.values
    if mask.kind == "palette" and mask.palette is not None:
        return mask.palette[mask.values]
    if mask.kind == "stack" or mask.values.max(initial=0) > 255:
        has = "layers" if mask.kind == "stack" else "numbers beyond 255"
        raise NetwrightError(f"{name} has {has}; other masks have colours", "give all masks one form")
    return np.repeat(mask.values.astype(np.uint8)[..., None], 3, -1)


def stacked(mask: Raw, *, last: bool) -> NDArray[Any] | None:
    """A mask's layers, K H W; None if it has none."""
    if mask.kind != "stack":
        return None
    return np.ascontiguousarray(np.moveaxis(mask.values, -1, 0)) if last else mask.values


def is_grey(values: NDArray[np.uint8]) -> bool:
    """Whether red, green and blue are the same everywhere. H W 3."""
    return bool((values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all())


def packed(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Colours as one number each, red << 16 | green << 8 | blue. … 3 -> …"""
    wide = colours.astype(np.uint32)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2], np.uint32)


def unpacked(keys: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    """The colours that `packed` made numbers of. N -> N 3."""
    wide = np.asarray(keys, np.uint32)
    return np.stack([wide >> 16, wide >> 8 & 255, wide & 255], -1).astype(np.uint8)


def hexed(colour: Sequence[int] | NDArray[np.uint8]) -> str:
    """A colour as web pages write it, #ff0080."""
    return "#" + "".join(f"{int(value):02x}" for value in colour)


def identity(code: Any) -> bytes:
    """Different for codes that may turn the same mask into different classes."""
    total = sha256(type(code).__name__.encode())
    for field in fields(code):
        value = getattr(code, field.name)
        inner = value.tobytes() if isinstance(value, np.ndarray) else None
        total.update(inner or (identity(value) if field.name == "code" else repr(value).encode()))
    return total.digest()


def _refuse_number(name: str, value: int, table: Ids) -> NoReturn:
    known = np.flatnonzero(table != UNEXPECTED)
    close = int(known[np.abs(known - value).argmin()])
    problem = f"{name} has the value {value}, which is no class: {listed(map(str, known.tolist()), 12)} are known"
    fix = f"the nearest known is {close}; correct the mask, give ignore={value}, or a legend that has it (legend=FILE)"
    raise NetwrightError(problem, fix)
