"""Adds the length of each filter to the loss, which draws whole filters to zero."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, LossFn, Trick
from netwright.nn.matrices import matrices

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class GroupLasso(Trick):
    """loss + strength · Σ √size · ‖w‖ over the filters of convolutions and the rows of linear layers."""

    strength: Annotated[float, Between(0)] = 1e-5

    card = Card(
        paper="Yuan & Lin, J. R. Statist. Soc. B 2006; Wen et al., Learning structured sparsity, NeurIPS 2016",
        neutral={"strength": 0.0},
        strong={"strength": 0.1},
        treats=(Symptom.OVERFITTING,),
        after=("auxiliary_heads",),  # which asks for the loss once a head, and weights are to be counted once
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""

        def penalised(output: Any, batch: "Batch", run: "Run") -> Tensor:
            return loss(output, batch, run) + self.strength * lengths(run.model)

        return penalised if self.strength else loss


def lengths(model: nn.Module) -> Tensor | float:
    """Σ √size · ‖w‖ over what comes into each unit, a scalar. The slope of a filter that is zero is taken as zero."""
    return sum((math.sqrt(w.shape[2]) * w.norm(dim=2).sum() for w in matrices(model)), 0.0)
