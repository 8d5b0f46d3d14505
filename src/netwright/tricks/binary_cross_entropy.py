"""Asks a yes or no about each class by itself, instead of one question about all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged, several
from netwright.engine.trick import Card, LossFn, Trick
from netwright.nn import losses

if TYPE_CHECKING:
    from netwright.engine.run import Task


@dataclass
class BinaryCrossEntropy(Trick):
    """The mean over classes of binary cross-entropy, one sigmoid each, takes the place of cross-entropy.

    The gradient is about K times as small, so it wants a larger learning rate. Validation goes on measuring the
    cross-entropy of softmax. Of masks it is the mean over labelled pixels, each by its weight.

    Attributes:
        threshold: if given, targets above it become 1 and others 0: a mixed picture then shows both its classes.
    """

    threshold: Annotated[float, Between(0, 1)] | None = None

    card = Card(
        paper="Wightman et al., ResNet strikes back, arXiv 2110.00476, §3.1",
        strong={"threshold": 0.2},
        treats=(Symptom.LABEL_NOISE,),
        tasks=("classification", "segmentation"),
        why={
            "multi_label": "it is that task's own loss",
            "reconstruction": "an autoencoder's loss follows from its observation model, and --model "
            "\"vae(observation='bernoulli')\" has this one",
        },
        after=("dice", "logit_adjustment", "tversky"),  # which ask for the loss beneath them, and this one is the last
        excludes=("class_weights", "focal"),  # which weigh the terms of a softmax
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Judge the scores in this way."""
        return judged(loss, self.criterion)

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Logits and targets, N K …, -> scalar.

        Raises:
            NetwrightError: the classes of the masks overlap, where this is the loss already.
        """
        if several(task):
            raise NetwrightError(
                "binary_cross_entropy does not apply to classes that overlap: it is their loss already",
                "leave it out: --without binary_cross_entropy",
            )
        if target.dim() > 2:
            return self._of_pixels(output, target)
        return losses.binary_cross_entropy(output, self._wanted(target)).mean()

    def _wanted(self, target: Tensor) -> Tensor:
        return target if self.threshold is None else (target > self.threshold).float()

    def _of_pixels(self, output: Tensor, target: Tensor) -> Tensor:
        """Σ weight · loss over the number of labelled pixels; a pixel's weight is its target's sum. N K H W."""
        weight = target.sum(1)
        wanted = self._wanted(target / torch.where(weight > 0, weight, 1.0)[:, None])
        each = losses.binary_cross_entropy(output, wanted) * weight
        return each.sum() / (weight > 0).sum().clamp(min=1)
