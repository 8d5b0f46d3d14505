"""Draws a few operations for each picture, all of one magnitude."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range
from netwright.tricks._pixels import CORRUPTS
from netwright.tricks._policy import PLACES_AND_COLOURS, Drawn, Policy, fourteen

if TYPE_CHECKING:
    from netwright.engine.run import Run

SPACE = fourteen(shear=0.3, shift=150 / 331, degrees=30, factor=0.9, bits=4)


@dataclass
class Randaugment(Policy):
    """Each picture gets `n` of fourteen operations, drawn with replacement.

    Attributes:
        n: how many.
        magnitude: how strong they are, 0 to 30.
    """

    n: Annotated[int, Between(0, 10)] = 2
    magnitude: Annotated[int, Between(0, 30)] = 9

    card = Card(
        paper="Cubuk et al., RandAugment: Practical automated data augmentation, NeurIPS 2020",
        neutral={"n": 0},
        strong={"n": 4, "magnitude": 25},
        ranges={"n": Range(1, 3), "magnitude": Range(3, 20)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=PLACES_AND_COLOURS,
    )

    def drawn(self, run: "Run") -> Drawn:
        """`n` operations of one magnitude."""
        uniform = run.uniform(self.name, 3 * self.n).view(len(run.ids), self.n, 3)
        return SPACE.draw(uniform, range(self.magnitude, self.magnitude + 1))

    def shift_unit(self, size: tuple[int, int]) -> tuple[float, float]:
        """Shifts are parts of the picture's sides."""
        return size
