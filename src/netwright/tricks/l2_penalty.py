"""Adds the squared size of the weights to the loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range
from netwright.nn.matrices import kernels
from netwright.tricks._penalty import AFTER, Penalty

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class L2Penalty(Penalty):
    """loss + strength / 2 · Σ w² over weight matrices and kernels; biases and norms are left alone.

    With SGD its gradient is that of weight decay; with Adam it is not (Loshchilov & Hutter 2019).
    """

    strength: Annotated[float, Between(0)] = 1e-4

    card = Card(
        paper="Krogh & Hertz, A simple weight decay can improve generalization, NeurIPS 1991",
        neutral={"strength": 0.0},
        strong={"strength": 1.0},
        ranges={"strength": Range(1e-6, 1e-2, log=True)},
        treats=(Symptom.OVERFITTING,),
        after=AFTER,
    )

    def measure(self, output: Any, run: "Run") -> Tensor:
        """½ Σ w²."""
        return squares(run.model) / 2


def squares(model: nn.Module) -> Tensor:
    """Σ w² over parameters with two or more dimensions, a scalar."""
    return torch.stack([w.square().sum() for w in kernels(model)]).sum()
