"""Adds the size of the weights to the loss, which draws many of them to zero."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, LossFn, Trick
from netwright.nn.matrices import kernels

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class L1Penalty(Trick):
    """loss + strength · Σ |w| over weight matrices and kernels; biases and norms are left alone."""

    strength: Annotated[float, Between(0)] = 1e-5

    card = Card(
        paper="Tibshirani, Regression shrinkage and selection via the lasso, J. R. Statist. Soc. B 1996",
        neutral={"strength": 0.0},
        strong={"strength": 0.1},
        treats=(Symptom.OVERFITTING,),
        after=("auxiliary_heads",),  # which asks for the loss once a head, and weights are to be counted once
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""

        def penalised(output: Any, batch: "Batch", run: "Run") -> Tensor:
            return loss(output, batch, run) + self.strength * sizes(run.model)

        return penalised if self.strength else loss


def sizes(model: nn.Module) -> Tensor:
    """Σ |w| over parameters with two or more dimensions, a scalar."""
    return torch.stack([w.abs().sum() for w in kernels(model)]).sum()
