"""Adds how little the found and the true regions overlap, which rare classes weigh in as much as common ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.tricks._dense import Overlap, overlap

if TYPE_CHECKING:
    from netwright.engine.run import Task


@dataclass
class Dice(Trick):
    """(1 − weight) · loss + weight · (1 − D), D the mean over counted classes of (2 Σ p q + s) / (Σ p² + Σ q² + s).

    p are the probabilities, q the truth, s is `smooth`. Sums are over the pixels of the whole batch: where one picture
    has few pixels of a class, its own Dice would be noise. A class that a batch has none of has D = s / (Σ p² + s).
    The background is not counted. Where pixels have weights, each counts as often in these sums.
    """

    weight: Annotated[float, Between(0, 1)] = 0.5
    smooth: Annotated[float, Between(1e-6)] = 1.0

    card = Card(
        paper="Milletari et al., V-Net, 3DV 2016",
        neutral={"weight": 0.0},
        strong={"weight": 1.0},
        ranges={"weight": Range(0.1, 0.9)},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("segmentation",),
        why={
            "reconstruction": "it measures how far regions of classes overlap, and a picture is given back without "
            "classes",
        },
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Judge the scores in this way."""
        return judged(loss, self.criterion) if self.weight else loss

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Scores and targets, N K H W, -> scalar."""
        missing = 1 - dice(overlap(task, output, target), self.smooth).mean()
        return (1 - self.weight) * task.loss(output, target) + self.weight * missing


def dice(sums: Overlap, smooth: float) -> Tensor:
    """(2 Σ p q + s) / (Σ p² + Σ q² + s) of each class. K."""
    return (2 * sums.both + smooth) / (sums.found_squared + sums.there_squared + smooth)
