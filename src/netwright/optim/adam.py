"""Adam (Kingma & Ba 2015)."""

from dataclasses import dataclass
from typing import Annotated

import torch

from netwright.core.options import Between
from netwright.optim._adam import adam_
from netwright.optim._optimizer import Base, Tensors


@dataclass
class Adam(Base):
    """Adam; weight decay, if any, is added to the gradient, as in the paper. For decoupled decay take `adamw`."""

    lr: Annotated[float, Between(0)] = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: Annotated[float, Between(0)] = 1e-8
    weight_decay: Annotated[float, Between(0)] = 0.0

    slots = ("mean", "square")

    def update(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float, decay: float) -> None:
        """g ← g + λ w, then Adam's step."""
        if decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
        adam_(
            weights,
            gradients,
            state["mean"],
            state["square"],
            lr=lr,
            betas=self.betas,
            epsilon=self.epsilon,
            steps=self.steps_,
        )
