"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.non_finite import gradient_norm
from netwright.engine.run import Passed
from netwright.engine.trick import Card, GradFn, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Sam(Trick):
    """Climb `rho` along the normalised gradient, take the gradient there, step back. Costs two passes a step."""

    rho: Annotated[float, Between(0, 10)] = 0.05

    card = Card(
        paper="Foret et al., Sharpness-aware minimization, ICLR 2021",
        neutral={"rho": 0.0},
        strong={"rho": 1.0},
        ranges={"rho": Range(0.01, 0.5, log=True)},
        treats=(Symptom.SHARP_MINIMUM, Symptom.OVERFITTING, Symptom.LABEL_NOISE),
        after=("accumulate",),
    )

    def gradient(self, gradient: GradFn) -> GradFn:
        """g(w + ρ g(w) / ‖g(w)‖)."""

        def sharp(batch: "Batch", run: "Run") -> Passed:
            passed = gradient(batch, run)
            if self.rho:
                self._climb(gradient, batch, run)
            return passed  # the loss and output at the weights themselves

        return sharp

    def _climb(self, gradient: GradFn, batch: "Batch", run: "Run") -> None:
        weights: list[Tensor] = [p for p in run.optimizer.parameters if p.grad is not None]
        climbed = [p.grad for p in weights if p.grad is not None]
        here = [p.detach().clone() for p in weights]
        with torch.no_grad():
            scale = self.rho / (float(gradient_norm(climbed)) + 1e-12)
            torch._foreach_add_(weights, climbed, alpha=scale)
        for parameter in weights:
            parameter.grad = None
        gradient(batch, run)
        with torch.no_grad():
            torch._foreach_copy_(weights, here)
