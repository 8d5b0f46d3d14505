"""Stochastic gradient descent with momentum (Sutskever et al. 2013), Nesterov's by default."""

from dataclasses import dataclass
from typing import Annotated

import torch

from netwright.core.options import Between
from netwright.optim._optimizer import Base, Tensors


@dataclass
class Sgd(Base):
    """SGD; weight decay is added to the gradient. `nesterov=False` is momentum without looking ahead (heavy ball)."""

    lr: Annotated[float, Between(0)] = 0.1
    momentum: Annotated[float, Between(0, 1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Between(0)] = 5e-4

    slots = ("velocity",)

    def update(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float, decay: float) -> None:
        """v ← μ v + g;  w ← w − lr v, or w − lr (g + μ v) with Nesterov."""
        if decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
        velocity, momentum = state["velocity"], self.inertia(self.momentum)
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, gradients)
        change = torch._foreach_add(gradients, velocity, alpha=momentum) if self.nesterov else velocity
        torch._foreach_add_(weights, change, alpha=-lr)
