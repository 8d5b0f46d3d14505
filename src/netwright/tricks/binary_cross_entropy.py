"""Asks a yes or no about each class by itself, instead of one question about all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged
from netwright.engine.trick import Card, LossFn, Trick
from netwright.nn import losses

if TYPE_CHECKING:
    from netwright.engine.run import Task


@dataclass
class BinaryCrossEntropy(Trick):
    """The mean over classes of binary cross-entropy, one sigmoid each, takes the place of cross-entropy.

    The gradient is about K times as small, so it wants a larger learning rate. Validation goes on measuring the
    cross-entropy of softmax.

    Attributes:
        threshold: if given, targets above it become 1 and others 0: a mixed picture then shows both its classes.
    """

    threshold: Annotated[float, Between(0, 1)] | None = None

    card = Card(
        paper="Wightman et al., ResNet strikes back, arXiv 2110.00476, §3.1",
        strong={"threshold": 0.2},
        treats=(Symptom.LABEL_NOISE,),
        tasks=("classification",),
        after=("logit_adjustment",),
        excludes=("class_weights", "focal"),  # which weigh the terms of a softmax
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Judge the scores in this way."""
        return judged(loss, self.criterion)

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Logits and targets, N K, -> scalar."""
        wanted = target if self.threshold is None else (target > self.threshold).float()
        return losses.binary_cross_entropy(output, wanted).mean()
