"""Turns single pixels black or white."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import CORRUPTS, LENS

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class SaltAndPepper(Trick):
    """Each pixel becomes white or black, in all its channels, each with a chance of amount / 2."""

    amount: Annotated[float, Between(0, 1)] = 0.02

    card = Card(
        paper="Hendrycks & Dietterich, Benchmarking neural network robustness to common corruptions, ICLR 2019",
        neutral={"amount": 0.0},
        strong={"amount": 0.5},
        ranges={"amount": Range(0.005, 0.1, log=True)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=(*LENS, "noise"),
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ 1 or 0 where it is drawn."""
        if not self.amount:
            return batch
        n, _, height, width = batch.image.shape
        draw = run.uniform(self.name, height * width).view(n, 1, height, width)
        return batch.changed(image=salt_and_pepper(batch.image, draw, self.amount))


def salt_and_pepper(image: Tensor, draw: Tensor, amount: float) -> Tensor:
    """White where `draw` (N 1 H W, uniform) is below amount / 2, black where it is above 1 − amount / 2. N C H W."""
    return image.masked_fill(draw < amount / 2, 1).masked_fill_(draw >= 1 - amount / 2, 0)
