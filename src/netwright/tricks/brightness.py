"""Makes pictures brighter or darker."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Brightness(Trick):
    """Each picture is multiplied by a factor uniform over 1 − strength … 1 + strength, then clamped."""

    strength: Annotated[float, Between(0, 1)] = 0.3

    card = Card(
        paper="Howard, Some improvements on deep convolutional neural network based image classification, ICLR 2014",
        neutral={"strength": 0.0},
        strong={"strength": 0.8},
        ranges={"strength": Range(0.1, 0.6)},
        treats=(Symptom.OVERFITTING,),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """c ↦ f c for every channel."""
        return colour.scale(run.between(self.name, 1 - self.strength, 1 + self.strength))
