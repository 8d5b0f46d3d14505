"""Draws one operation for each picture, of any magnitude."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card
from netwright.tricks._pixels import CORRUPTS
from netwright.tricks._policy import PLACES_AND_COLOURS, Drawn, Policy, fourteen

if TYPE_CHECKING:
    from netwright.engine.run import Run

SPACE = fourteen(shear=0.99, shift=32, degrees=135, factor=0.99, bits=2)


@dataclass
class TrivialAugment(Policy):
    """Each picture gets one of fourteen operations, of one of 31 magnitudes from nothing to very strong.

    There is nothing to tune. Shifts go up to 32 pixels, whatever the picture's size.
    """

    card = Card(
        paper="Müller & Hutter, TrivialAugment: Tuning-free yet state-of-the-art data augmentation, ICCV 2021",
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=PLACES_AND_COLOURS,
    )

    def drawn(self, run: "Run") -> Drawn:
        """One operation of any magnitude."""
        return SPACE.draw(run.uniform(self.name, 3)[:, None], range(SPACE.magnitudes))

    def shift_unit(self, size: tuple[int, int]) -> tuple[float, float]:
        """Shifts are in pixels."""
        return (1, 1)
