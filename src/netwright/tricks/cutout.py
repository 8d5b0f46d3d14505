"""Covers a random square of each picture."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import CORRUPTS, FILE, crossing

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Cutout(Trick):
    """A square with sides `size` times the picture's shorter side becomes mid-grey.

    Its centre is uniform over the picture, so that part of the square may fall outside, as in the paper. Masks stay:
    what is covered is to be guessed from what is around.
    """

    size: Annotated[float, Between(0, 2)] = 0.5

    card = Card(
        paper="DeVries & Taylor, Improved regularization of CNNs with cutout, arXiv 1708.04552",
        neutral={"size": 0.0},
        strong={"size": 1.0},
        ranges={"size": Range(0.2, 0.75)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=FILE,
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ ½ inside the square."""
        height, width = batch.image.shape[2:]
        half = self.size * min(height, width) / 2
        place = run.uniform(self.name, 2)
        rows = _near(place[:, 0] * height, half, height)
        columns = _near(place[:, 1] * width, half, width)
        return batch.changed(image=batch.image.masked_fill(crossing(rows, columns), 0.5))


def _near(centre: torch.Tensor, half: float, length: int) -> torch.Tensor:
    """Which pixel centres lie within `half` of each centre. N -> N length."""
    position = torch.arange(length, device=centre.device) + 0.5
    return (position - centre[:, None]).abs() < half
