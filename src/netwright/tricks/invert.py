"""Shows some pictures as negatives."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Trick
from netwright.tricks._places import COLOURS, before

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Invert(Trick):
    """Each picture becomes its negative with `probability`."""

    probability: Annotated[float, Between(0, 1)] = 0.1

    card = Card(
        paper="Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        after=before("invert", COLOURS),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """v ↦ 1 − v."""
        chosen = run.chosen(self.name, self.probability)
        return negative(colour, chosen.float())


def negative(colour: Colour, chosen: Tensor) -> Colour:
    """v ↦ 1 − v where `chosen` is 1, v ↦ v where it is 0. Shape of `chosen`: N."""
    turned = colour.scale(1 - 2 * chosen)
    return replace(turned, offset=turned.offset + chosen[:, None])
