"""Adds Gaussian noise to every pixel."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import CORRUPTS, LENS

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Noise(Trick):
    """Independent normal noise with standard deviation `std`, on values in [0, 1], then clamped."""

    std: Annotated[float, Between(0, 1)] = 0.05

    card = Card(
        paper="Bishop, Training with noise is equivalent to Tikhonov regularization, Neural Computation 1995",
        neutral={"std": 0.0},
        strong={"std": 0.3},
        ranges={"std": Range(0.01, 0.15, log=True)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=LENS,
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ v + std · n."""
        noise = run.normal(self.name, batch.image[0].numel()).view(batch.image.shape)
        return batch.changed(image=(batch.image + self.std * noise).clamp(0, 1))
