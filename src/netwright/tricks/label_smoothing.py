"""Moves a little of the target's probability from the true class to all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import several
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class LabelSmoothing(Trick):
    """target ← (1 − smoothing) · target + smoothing / K; where classes overlap K = 2, the yes and the no of each.

    Of masks, smoothing / K is multiplied by the pixel's sum over classes: what is ignored, all zeros, stays so.
    """

    smoothing: Annotated[float, Between(0, 1)] = 0.1

    card = Card(
        paper="Szegedy et al., Rethinking the Inception architecture, CVPR 2016, §7",
        neutral={"smoothing": 0.0},
        strong={"smoothing": 0.5},
        ranges={"smoothing": Range(0.02, 0.3)},
        treats=(Symptom.OVERCONFIDENCE, Symptom.LABEL_NOISE),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "its targets are classes, which can be taken for others; to blur the picture that is "
            "to be given back would only lose it",
        },
        targets=True,
    )

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Smooth every target."""
        if several(run.task):
            return batch.changed(target=smooth(batch.target, self.smoothing, 2))
        outcomes = batch.target.shape[1]
        weight = batch.target.sum(1, keepdim=True) if batch.target.dim() > 2 else 1.0
        return batch.changed(target=smooth(batch.target, self.smoothing, outcomes, weight))


def smooth(target: Tensor, smoothing: float, outcomes: int, weight: Tensor | float = 1.0) -> Tensor:
    """Probabilities of `outcomes` that exclude each other -> the same shape; their sum, `weight`, stays."""
    return target * (1 - smoothing) + smoothing / outcomes * weight
