"""The update that Adam and AdamW share (Kingma & Ba 2015)."""

import torch

from netwright.optim._optimizer import Tensors


def adam_(
    weights: Tensors,
    gradients: Tensors,
    mean: Tensors,
    square: Tensors,
    *,
    lr: float,
    betas: tuple[float, float],
    epsilon: float,
    steps: int,
) -> None:
    """m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  w ← w − lr m̂ / (√v̂ + ε), with m̂, v̂ corrected for bias."""
    first, second = betas
    torch._foreach_lerp_(mean, gradients, 1 - first)
    torch._foreach_mul_(square, second)
    torch._foreach_addcmul_(square, gradients, gradients, 1 - second)
    scale = list(torch._foreach_sqrt(square))
    torch._foreach_div_(scale, (1 - second**steps) ** 0.5)
    torch._foreach_add_(scale, epsilon)
    torch._foreach_addcdiv_(weights, mean, scale, -lr / (1 - first**steps))
