"""Keeps the weights that come into each unit within a ball."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.matrices import units

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class MaxNorm(Trick):
    """After each update, filters of convolutions and rows of linear layers longer than `norm` are scaled down to it."""

    norm: Annotated[float, Between(1e-6)] = 3.0

    card = Card(
        paper="Srivastava et al., Dropout: A simple way to prevent neural networks from overfitting, JMLR 2014, §5.1",
        neutral={"norm": float("inf")},
        strong={"norm": 0.1},
        ranges={"norm": Range(1.0, 10.0, log=True)},
        treats=(Symptom.OVERFITTING, Symptom.EXPLODING_GRADIENTS),
    )

    @torch.no_grad()
    def after_step(self, run: "Run") -> None:
        """w ← w · min(1, norm / ‖w‖)."""
        for weight in units(run.model):
            weight.mul_(scales(weight, self.norm))


def scales(weight: Tensor, norm: float) -> Tensor:
    """What the weights of each unit are to be multiplied by. G O … -> G O 1 …"""
    length = weight.flatten(2).norm(dim=2)
    return (norm / length).clamp(max=1).view(*length.shape, *[1] * (weight.dim() - 2))
