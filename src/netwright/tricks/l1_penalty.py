"""Adds the size of the weights to the loss, which draws many of them to zero."""

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
class L1Penalty(Penalty):
    """loss + strength · Σ |w| over weight matrices and kernels; biases and norms are left alone."""

    strength: Annotated[float, Between(0)] = 1e-5

    card = Card(
        paper="Tibshirani, Regression shrinkage and selection via the lasso, J. R. Statist. Soc. B 1996",
        neutral={"strength": 0.0},
        strong={"strength": 0.1},
        ranges={"strength": Range(1e-7, 1e-3, log=True)},
        treats=(Symptom.OVERFITTING,),
        after=AFTER,
    )

    def measure(self, output: Any, run: "Run") -> Tensor:
        """Σ |w|."""
        return sizes(run.model)


def sizes(model: nn.Module) -> Tensor:
    """Σ |w| over parameters with two or more dimensions, a scalar."""
    return torch.stack([w.abs().sum() for w in kernels(model)]).sum()
