"""Makes colours stronger or paler."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._places import COLOURS, before
from netwright.tricks.grayscale import coloured, mixed_with_grey

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Saturation(Trick):
    """Each pixel is blended with its grey by a factor uniform over 1 − strength … 1 + strength; greys stay."""

    strength: Annotated[float, Between(0, 1)] = 0.3

    card = Card(
        paper="Howard, Some improvements on deep convolutional neural network based image classification, ICLR 2014",
        neutral={"strength": 0.0},
        strong={"strength": 1.0},
        ranges={"strength": Range(0.1, 0.6)},
        treats=(Symptom.OVERFITTING,),
        after=before("saturation", COLOURS),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """v ↦ f v + (1 − f) · grey(v), one f a picture."""
        if not coloured(self.name, colour):
            return colour
        return mixed_with_grey(colour, run.between(self.name, 1 - self.strength, 1 + self.strength))
