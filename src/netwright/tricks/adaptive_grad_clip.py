"""Shortens gradients that are long beside the weights they change."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.ends import head_parameters

if TYPE_CHECKING:
    from netwright.engine.run import Run

SHORTEST = 1e-6  # gradients below this are not divided by their length


@dataclass
class AdaptiveGradClip(Trick):
    """Unit by unit, a gradient longer than `clip` times the unit's weights is scaled down to that; heads are spared.

    A unit is a row of a matrix, a kernel's output channel, or a whole vector. Weights shorter than `epsilon` count as
    so long, or those that begin at zero would stay there.
    """

    clip: Annotated[float, Between(0)] = 0.01
    epsilon: Annotated[float, Between(0)] = 1e-3

    card = Card(
        paper="Brock et al., High-performance large-scale image recognition without normalization, ICML 2021",
        neutral={"clip": float("inf")},
        strong={"clip": 0.001},
        ranges={"clip": Range(0.002, 0.1, log=True)},
        treats=(Symptom.EXPLODING_GRADIENTS, Symptom.UNSTABLE_LOSS),
        excludes=("grad_clip",),
    )

    def start(self, run: "Run") -> None:
        """Find what is to be clipped."""
        heads = head_parameters(run.model)
        pairs = [pair for group in run.optimizer.groups for pair in group.parameters]
        self.clipped = [parameter for name, parameter in pairs if name not in heads]

    @torch.no_grad()
    def before_step(self, run: "Run") -> None:
        """g ← g · min(1, clip · ‖w‖ / ‖g‖) for each unit."""
        for parameter in self.clipped:
            if parameter.grad is not None:
                longest = self.clip * unit_norm(parameter).clamp(min=self.epsilon)
                parameter.grad.mul_((longest / unit_norm(parameter.grad).clamp(min=SHORTEST)).clamp(max=1))


def unit_norm(weight: Tensor) -> Tensor:
    """The length of each unit's weights, O I … -> O 1 …; of a vector as a whole."""
    one = weight.dim() <= 1
    return torch.linalg.vector_norm(weight, dim=None if one else tuple(range(1, weight.dim())), keepdim=not one)
