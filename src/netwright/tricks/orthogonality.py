"""Draws the filters of each layer to unit length and right angles."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range
from netwright.nn.matrices import matrices
from netwright.tricks._penalty import AFTER, Penalty

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Orthogonality(Penalty):
    """loss + strength · Σ ‖WᵀW − I‖² over the weight matrices of convolutions and linear layers.

    WWᵀ is taken where it is the smaller: the two penalties differ by a constant, so this is also the paper's
    double-sided form, and zero can be reached.
    """

    strength: Annotated[float, Between(0)] = 1e-4

    card = Card(
        paper="Bansal, Chen & Wang, Can we gain more from orthogonality regularizations?, NeurIPS 2018, §3.1",
        neutral={"strength": 0.0},
        strong={"strength": 0.1},
        ranges={"strength": Range(1e-6, 1e-2, log=True)},
        treats=(Symptom.EXPLODING_GRADIENTS, Symptom.VANISHING_GRADIENTS, Symptom.OVERFITTING),
        after=AFTER,
    )

    def measure(self, output: Any, run: "Run") -> Tensor | float:
        """Σ ‖WᵀW − I‖²."""
        return skews(run.model)


def skews(model: nn.Module) -> Tensor | float:
    """Σ ‖WᵀW − I‖² over the layers' weights, a scalar."""
    return sum((skew(w) for w in matrices(model)), 0.0)


def skew(matrix: Tensor) -> Tensor:
    """How far the shorter sides of matrices are from orthonormal: Σ (w·w′ − [w = w′])². … R C -> scalar."""
    sides = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    return (sides @ sides.mT - torch.eye(sides.shape[-2], device=sides.device)).square().sum()
