"""Adam (Kingma & Ba 2015)."""

from dataclasses import dataclass
from typing import Annotated

import torch

from netwright.core.options import Between
from netwright.optim._adam import AdamBase
from netwright.optim._optimizer import Tensors


@dataclass
class Adam(AdamBase):
    """Adam; weight decay, if any, is added to the gradient, as in the paper. For decoupled decay take `adamw`."""

    weight_decay: Annotated[float, Between(0)] = 0.0

    def update(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float, decay: float) -> None:
        """g ← g + λ w, then Adam's step."""
        if decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
        self.adam_(weights, gradients, state, lr)
