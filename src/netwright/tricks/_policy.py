"""What policies share: operations drawn for each sample, and done at the station each belongs to.

An operation's strength is its level: a shear as a tangent, a shift in parts of a side or in pixels, an angle in
degrees, a factor minus one for colours and sharpness, bits for posterize and a threshold for solarize.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, auto
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from netwright.engine.colour import Colour
from netwright.engine.trick import Trick
from netwright.engine.warp import Warp
from netwright.tricks._places import COLOURS, PLACES
from netwright.tricks.autocontrast import autocontrast
from netwright.tricks.equalize import equalize
from netwright.tricks.grayscale import luma
from netwright.tricks.posterize import posterize
from netwright.tricks.sharpen import sharpen
from netwright.tricks.solarize import solarize

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


# A policy gets the picture that the tricks for places and colours make; at the first of them it then acts last.
PLACES_AND_COLOURS = (*PLACES, *COLOURS)


class Operation(IntEnum):
    """What a policy can draw."""

    IDENTITY = 0
    SHEAR_X = auto()
    SHEAR_Y = auto()
    TRANSLATE_X = auto()
    TRANSLATE_Y = auto()
    ROTATE = auto()
    BRIGHTNESS = auto()
    SATURATION = auto()
    CONTRAST = auto()
    SHARPNESS = auto()
    POSTERIZE = auto()
    SOLARIZE = auto()
    AUTOCONTRAST = auto()
    EQUALIZE = auto()


RETOUCHES: dict[Operation, Callable[[Tensor, Tensor], Tensor]] = {
    Operation.SHARPNESS: lambda image, level: sharpen(image, 1 + level),
    Operation.POSTERIZE: posterize,
    Operation.SOLARIZE: solarize,
    Operation.AUTOCONTRAST: lambda image, _: autocontrast(image),
    Operation.EQUALIZE: lambda image, _: equalize(image),
}


@dataclass(frozen=True)
class Span:
    """One operation's levels, evenly spaced from the first magnitude to the last; `signed`: of either sign."""

    operation: Operation
    first: float = 0.0
    last: float = 0.0
    signed: bool = False

    def levels(self, n: int) -> Tensor:
        """The level of each of `n` magnitudes."""
        levels = torch.linspace(self.first, self.last, n)
        return levels.round() if self.operation == Operation.POSTERIZE else levels


@dataclass(frozen=True)
class Space:
    """The operations of a policy, each as likely, and how many magnitudes they have."""

    spans: tuple[Span, ...]
    magnitudes: int

    def draw(self, uniform: Tensor, magnitudes: range) -> "Drawn":
        """Operations for uniform draws, N slots 3, with magnitudes from a part of their range."""
        operations, levels, signed = _tables(self, uniform.device)
        row = (uniform[..., 0] * len(self.spans)).long()
        column = magnitudes.start + (uniform[..., 1] * len(magnitudes)).long()
        negative = signed[row] & (uniform[..., 2] < 0.5)
        level = levels[row, column]
        return Drawn(operations[row], torch.where(negative, -level, level))


@dataclass(frozen=True)
class Drawn:
    """An operation and its level for each sample and slot, N slots each."""

    operation: Tensor
    level: Tensor

    def of(self, kind: Operation) -> Tensor:
        """The level where `kind` was drawn, elsewhere 0. N slots."""
        return torch.where(self.operation == kind, self.level, 0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Operations and levels slot by slot, N each."""
        return zip(self.operation.unbind(1), self.level.unbind(1), strict=True)


@dataclass
class Policy(Trick, ABC):
    """A trick that draws operations for each sample and does each at its own station."""

    def start(self, run: "Run") -> None:
        """Nothing is drawn yet."""
        self.known: tuple[Tensor, int, Drawn] | None = None

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """Shears, shifts and turns."""
        for matrix in moves(self.latest(run), warp.size, self.shift_unit(warp.size)).unbind(1):
            warp = warp.then(matrix)
        return warp

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """Brightness, saturation and contrast."""
        return tinted(colour, self.latest(run))

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """What no map of places or of colours can do."""
        return batch.changed(image=retouched(batch.image.contiguous(), self.latest(run)))

    def latest(self, run: "Run") -> Drawn:
        """What the batch's samples drew: the same at every station, so it is drawn at the first only."""
        ids, epoch, drawn = self.known or (None, None, None)
        if drawn is None or ids is not run.ids or epoch != run.epoch:
            drawn = self.drawn(run)
            self.known = (run.ids, run.epoch, drawn)
        return drawn

    @abstractmethod
    def drawn(self, run: "Run") -> Drawn:
        """Draws for the batch's samples."""

    @abstractmethod
    def shift_unit(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels to a shift's level, down and across."""


def fourteen(*, shear: float, shift: float, degrees: float, factor: float, bits: int) -> Space:
    """The usual operations in 31 magnitudes, up to these levels."""
    bounds = {
        Operation.SHEAR_X: shear,
        Operation.SHEAR_Y: shear,
        Operation.TRANSLATE_X: shift,
        Operation.TRANSLATE_Y: shift,
        Operation.ROTATE: degrees,
        Operation.BRIGHTNESS: factor,
        Operation.SATURATION: factor,
        Operation.CONTRAST: factor,
        Operation.SHARPNESS: factor,
    }
    signed = tuple(Span(operation, 0, last, signed=True) for operation, last in bounds.items())
    fading = (Span(Operation.POSTERIZE, 8, bits), Span(Operation.SOLARIZE, 1, 0))
    constant = (Span(Operation.AUTOCONTRAST), Span(Operation.EQUALIZE))
    return Space((Span(Operation.IDENTITY), *signed, *fading, *constant), 31)


def moves(drawn: Drawn, size: tuple[int, int], unit: tuple[float, float]) -> Tensor:
    """Shears, shifts and turns, each as a map for `Warp.then`; other operations are the identity. N slots 3 3.

    As in the papers, shears leave the upper left corner where it is, and shifts are cut to whole pixels. `unit`: pixels
    to a shift's level, down and across.
    """
    height, width = size
    angle = drawn.of(Operation.ROTATE).deg2rad()
    slant, tilt = drawn.of(Operation.SHEAR_X), drawn.of(Operation.SHEAR_Y)
    across = (drawn.of(Operation.TRANSLATE_X) * unit[1]).trunc()
    down = (drawn.of(Operation.TRANSLATE_Y) * unit[0]).trunc()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    entries = [cos, slant - sin, slant * (height / 2) - across, tilt + sin, cos, tilt * (width / 2) - down]
    return torch.stack([*entries, zero, zero, zero + 1], 2).unflatten(2, (3, 3))


def tinted(colour: Colour, drawn: Drawn) -> Colour:
    """Brightness f v, saturation f v + (1 − f) grey, contrast f v + (1 − f) mean grey, for samples that drew one."""
    saturation, contrast = drawn.of(Operation.SATURATION), drawn.of(Operation.CONTRAST)
    factor = 1 + drawn.of(Operation.BRIGHTNESS) + saturation + contrast  # one of the three at most is not zero
    eye = torch.eye(colour.offset.shape[1], device=factor.device)
    linear = factor[..., None, None] * eye - saturation[..., None, None] * luma(eye)  # N slots C C
    for slot, (operation, _) in enumerate(drawn):
        offset = torch.zeros_like(colour.offset)
        for _, where in _who(operation, (Operation.CONTRAST,)):
            looked_at = Colour(colour.linear[where], colour.offset[where], colour.pictures[where])
            offset[where] = -(contrast[where, slot] * luma(looked_at.average()))[:, None]
        colour = colour.then(linear[:, slot], offset)
    return colour


def retouched(image: Tensor, drawn: Drawn) -> Tensor:
    """Sharpness, posterize, solarize, autocontrast and equalize, in place. N C H W.

    Only pictures that drew one are computed.
    """
    for operation, level in drawn:
        for kind, where in _who(operation, tuple(RETOUCHES)):
            image.index_copy_(0, where, RETOUCHES[kind](image.index_select(0, where), level[where]))
    return image


def _who(operation: Tensor, kinds: tuple[Operation, ...]) -> list[tuple[Operation, Tensor]]:
    """The samples that drew each of some kinds, for those that somebody drew; a GPU is waited for once for all."""
    drew = torch.stack([operation == kind for kind in kinds])
    samples = drew.nonzero()[:, 1].split(drew.sum(1).tolist())
    return [(kind, where) for kind, where in zip(kinds, samples, strict=True) if len(where)]


@cache
def _tables(space: Space, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Operations K, levels K magnitudes, and which are signed, K."""
    levels = [span.levels(space.magnitudes).to(device) for span in space.spans]
    operations = torch.tensor([span.operation for span in space.spans], device=device)
    return operations, torch.stack(levels), torch.tensor([span.signed for span in space.spans], device=device)
