"""Adds how little regions overlap, with a price of its own for what is missed and for what is made up."""

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
class Tversky(Trick):
    """(1 − weight) · loss + weight · the mean over counted classes of (1 − T)^(1 / gamma).

    T = (Σ p q + s) / (Σ p q + alpha Σ p (1 − q) + beta Σ (1 − p) q + s), with probabilities p and truth q summed over
    the pixels of a batch, and s = `smooth`. `alpha` is the price of pixels that are found and not there, `beta` of
    those that are missed: the larger beta, the more thin and small things are found. At 0.5 and 0.5, T is Dice without
    squares. With `gamma` above 1, as in focal Tversky (Abraham & Khan, ISBI 2019), what is nearly right still counts.
    """

    alpha: Annotated[float, Between(0, 1)] = 0.3
    beta: Annotated[float, Between(0, 1)] = 0.7
    gamma: Annotated[float, Between(1, 3)] = 1.0
    weight: Annotated[float, Between(0, 1)] = 0.5
    smooth: Annotated[float, Between(1e-6)] = 1.0

    card = Card(
        paper="Salehi et al., Tversky loss function for image segmentation, MLMI 2017",
        neutral={"weight": 0.0},
        strong={"weight": 1.0, "gamma": 2.0},
        ranges={"weight": Range(0.1, 0.9), "beta": Range(0.3, 0.9)},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("segmentation",),
        why={
            "reconstruction": "it measures how far regions of classes overlap, and a picture is given back without "
            "classes",
        },
        after=("dice",),
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Judge the scores in this way."""
        return judged(loss, self.criterion) if self.weight else loss

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Scores and targets, N K H W, -> scalar."""
        index = tversky(overlap(task, output, target), self.alpha, self.beta, self.smooth)
        # Above gamma 1 the slope where all is right is infinite; there is nothing to be learnt from there.
        missing = (1 - index).clamp(min=1e-6) ** (1 / self.gamma) if self.gamma > 1 else 1 - index
        return (1 - self.weight) * task.loss(output, target) + self.weight * missing.mean()


def tversky(sums: Overlap, alpha: float, beta: float, smooth: float) -> Tensor:
    """The Tversky index of each class. K."""
    made_up, missed = sums.found - sums.both, sums.there - sums.both
    return (sums.both + smooth) / (sums.both + alpha * made_up + beta * missed + smooth)
