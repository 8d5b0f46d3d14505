"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

from dataclasses import dataclass
from typing import Annotated

import torch

from netwright.core.options import Between
from netwright.optim._adam import adam_
from netwright.optim._optimizer import Base, Tensors


@dataclass
class Adamw(Base):
    """AdamW; weights shrink by lr · weight_decay at each step, whatever their gradient."""

    lr: Annotated[float, Between(0)] = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: Annotated[float, Between(0)] = 1e-8
    weight_decay: Annotated[float, Between(0)] = 0.01

    slots = ("mean", "square")

    def update(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float, decay: float) -> None:
        """w ← (1 − lr λ) w, then Adam's step."""
        if decay:
            torch._foreach_mul_(weights, 1 - lr * decay)
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
