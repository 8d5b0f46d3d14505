"""What Adam and AdamW share (Kingma & Ba 2015)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch

from netwright.core.options import Between
from netwright.optim._optimizer import Base, Beta, Tensors


@dataclass
class AdamBase(Base):
    """The options, the state and the step; subclasses say what weight decay does.

    Attributes:
        betas: how long the averages of the gradient and of its square remember.
        epsilon: keeps the step finite where gradients vanish.
    """

    lr: Annotated[float, Between(0)] = 1e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Annotated[float, Between(0)] = 1e-8

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def adam_(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float) -> None:
        """m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  w ← w − lr m̂ / (√v̂ + ε), with m̂, v̂ corrected for bias."""
        first, second = self.inertia(self.betas[0]), self.betas[1]
        mean, square = state["mean"], state["square"]
        torch._foreach_lerp_(mean, gradients, 1 - first)
        torch._foreach_mul_(square, second)
        torch._foreach_addcmul_(square, gradients, gradients, 1 - second)
        scale = list(torch._foreach_sqrt(square))
        torch._foreach_div_(scale, (1 - second**self.steps_) ** 0.5)
        torch._foreach_add_(scale, self.epsilon)
        torch._foreach_addcdiv_(weights, mean, scale, -lr / (1 - first**self.steps_))
