"""Adds the length of each filter to the loss, which draws whole filters to zero."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range
from netwright.nn.matrices import matrices
from netwright.tricks._penalty import AFTER, Penalty

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class GroupLasso(Penalty):
    """loss + strength · Σ √size · ‖w‖ over the filters of convolutions and the rows of linear layers."""

    strength: Annotated[float, Between(0)] = 1e-5

    card = Card(
        paper="Yuan & Lin, J. R. Statist. Soc. B 2006; Wen et al., Learning structured sparsity, NeurIPS 2016",
        neutral={"strength": 0.0},
        strong={"strength": 0.1},
        ranges={"strength": Range(1e-7, 1e-3, log=True)},
        treats=(Symptom.OVERFITTING,),
        after=AFTER,
    )

    def measure(self, output: Any, run: "Run") -> Tensor | float:
        """Σ √size · ‖w‖."""
        return lengths(run.model)


def lengths(model: nn.Module) -> Tensor | float:
    """Σ √size · ‖w‖ over what comes into each unit, a scalar. The slope of a filter that is zero is taken as zero."""
    return sum((math.sqrt(w.shape[2]) * w.norm(dim=2).sum() for w in matrices(model)), 0.0)
