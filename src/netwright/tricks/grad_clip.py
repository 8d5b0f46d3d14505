"""Shortens gradients that are too long."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run

NORM = 1.0


@dataclass
class GradClip(Trick):
    """A gradient whose norm over all parameters exceeds `norm` is scaled down to it; then entries are cut at ±`value`.

    What is not given does nothing; if neither is, the norm is 1.
    """

    norm: Annotated[float, Between(0)] | None = None
    value: Annotated[float, Between(0)] | None = None

    card = Card(
        paper="Pascanu, Mikolov & Bengio, On the difficulty of training recurrent neural networks, ICML 2013",
        neutral={"norm": float("inf")},
        strong={"norm": 0.01},
        ranges={"norm": Range(0.1, 10.0, log=True, without="without a number it clips at a norm of its own")},
        treats=(Symptom.EXPLODING_GRADIENTS, Symptom.UNSTABLE_LOSS),
    )

    def before_step(self, run: "Run") -> None:
        """g ← g · min(1, norm / ‖g‖), then each entry within ±value."""
        norm = NORM if self.norm is None and self.value is None else self.norm
        gradients = [p.grad for p in run.optimizer.parameters if p.grad is not None]
        if norm is not None and run.gradient_norm > norm:
            torch._foreach_mul_(gradients, norm / run.gradient_norm)
        if self.value is not None:
            torch._foreach_clamp_min_(gradients, -self.value)
            torch._foreach_clamp_max_(gradients, self.value)
