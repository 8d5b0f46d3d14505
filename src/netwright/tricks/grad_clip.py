"""Shortens gradients that are too long."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class GradClip(Trick):
    """A gradient whose norm over all parameters exceeds `norm` is scaled down to it."""

    norm: Annotated[float, Between(0)] = 1.0

    card = Card(
        paper="Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, ICML 2013",
        neutral={"norm": float("inf")},
        strong={"norm": 0.01},
        treats=(Symptom.EXPLODING_GRADIENTS, Symptom.UNSTABLE_LOSS),
    )

    def before_step(self, run: "Run") -> None:
        """g ← g · min(1, norm / ‖g‖)."""
        if run.gradient_norm > self.norm:
            gradients = [p.grad for p in run.optimizer.parameters if p.grad is not None]
            torch._foreach_mul_(gradients, self.norm / run.gradient_norm)
