"""Trains on blends of two pictures and of their targets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Mixup(Trick):
    """λ x + (1 − λ) x′ with λ ~ Beta(alpha, alpha) for each sample, its partner from a permutation of the batch.

    Given together with `cutmix`, the two act one after the other; `mixup_or_cutmix` chooses one for each sample.
    """

    alpha: Annotated[float, Between(0, 100)] = 0.2

    card = Card(
        paper="Zhang et al., mixup: Beyond empirical risk minimization, ICLR 2018",
        neutral={"alpha": 0.0},
        strong={"alpha": 8.0},
        ranges={"alpha": Range(0.1, 1.0, log=True)},
        treats=(Symptom.OVERFITTING, Symptom.LABEL_NOISE),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "a code would have to tell what two pictures show, one shining through the other; "
            "crop, flip and brightness vary pictures that stay pictures",
        },
        after=("label_smoothing",),
    )

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Pictures and targets are blended by the same λ."""
        if not self.alpha:
            return batch
        draw = run.generator(self.name)
        weight = shares(draw, self.alpha, len(batch)).to(batch.image.device)
        image, target = partners(draw, batch)
        return batch.changed(image=blend(batch.image, image, weight), target=blend(batch.target, target, weight))


def shares(draw: np.random.Generator, alpha: float, n: int) -> Tensor:
    """How much each sample keeps of itself, λ ~ Beta(alpha, alpha), or all if alpha is 0. N."""
    return torch.from_numpy(draw.beta(alpha, alpha, n)).float() if alpha else torch.ones(n)


def partners(draw: np.random.Generator, batch: "Batch") -> tuple[Tensor, Tensor]:
    """Pictures and targets to mix with: the batch's own in another order. N C H W and N K …"""
    order = torch.from_numpy(draw.permutation(len(batch))).to(batch.image.device)
    return batch.image[order], batch.target[order]


def blend(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """weight · first + (1 − weight) · second, one weight a sample. N … -> N …"""
    return torch.lerp(second, first, weight.view(-1, *[1] * (first.dim() - 1)))
