"""Raises or lowers the contrast of pictures."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._places import COLOURS, before
from netwright.tricks.grayscale import luma

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Contrast(Trick):
    """Each picture is blended with its mean grey by a factor uniform over 1 − strength … 1 + strength, then clamped."""

    strength: Annotated[float, Between(0, 1)] = 0.3

    card = Card(
        paper="Howard, Some improvements on deep convolutional neural network based image classification, ICLR 2014",
        neutral={"strength": 0.0},
        strong={"strength": 0.8},
        ranges={"strength": Range(0.1, 0.6)},
        treats=(Symptom.OVERFITTING,),
        after=before("contrast", COLOURS),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """v ↦ f v + (1 − f) g, with g the picture's mean grey."""
        return contrasted(colour, run.between(self.name, 1 - self.strength, 1 + self.strength))


def contrasted(colour: Colour, factor: Tensor) -> Colour:
    """Pull values towards the mean grey (factor below 1, N) or away from it."""
    grey = luma(colour.average())
    scaled = colour.scale(factor)
    return replace(scaled, offset=scaled.offset + ((1 - factor) * grey)[:, None])
