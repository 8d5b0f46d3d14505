"""Takes a few steps ahead, then goes only part of the way."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Lookahead(Trick):
    """After every `k` updates slow ← slow + alpha · (fast − slow), and the weights go on from there.

    The optimiser's momentum is kept. What is evaluated are the weights as they are.
    """

    k: Annotated[int, Between(1, 10_000)] = 5
    alpha: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Zhang et al., Lookahead optimizer: k steps forward, 1 step back, NeurIPS 2019",
        neutral={"alpha": 1.0},
        strong={"k": 2, "alpha": 0.1},
        ranges={"k": Range(3, 20), "alpha": Range(0.2, 0.8)},
        treats=(Symptom.UNSTABLE_LOSS, Symptom.NOISY_WEIGHTS),
    )

    def start(self, run: "Run") -> None:
        """The slow weights begin where the weights are."""
        self.slow_ = [parameter.detach().clone() for parameter in run.optimizer.parameters]

    @torch.no_grad()
    def after_step(self, run: "Run") -> None:
        """Every `k` updates, move the slow weights and return to them."""
        if run.step % self.k == 0:
            weights: list[Tensor] = [*run.optimizer.parameters]
            torch._foreach_lerp_(self.slow_, weights, self.alpha)
            torch._foreach_copy_(weights, self.slow_)
