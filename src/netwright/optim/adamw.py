"""AdamW: Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

from dataclasses import dataclass
from typing import Annotated

import torch

from netwright.core.options import Between
from netwright.optim._adam import AdamBase
from netwright.optim._optimizer import Tensors


@dataclass
class Adamw(AdamBase):
    """AdamW; weights shrink by lr · weight_decay at each step, whatever their gradient."""

    weight_decay: Annotated[float, Between(0)] = 0.01

    def update(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float, decay: float) -> None:
        """w ← (1 − lr λ) w, then Adam's step."""
        if decay:
            torch._foreach_mul_(weights, 1 - lr * decay)
        self.adam_(weights, gradients, state, lr)
