"""Convolutions whose filters are standardised before use (Qiao, Wang, Liu, Shen & Yuille 2019, arXiv:1903.10520)."""

import torch
from torch import Tensor, nn


class StandardConv2d(nn.Conv2d):
    """A convolution that sees each filter with mean 0 and variance 1; its parameters are named as any convolution's.

    `eps` is added to the variance.
    """

    eps = 1e-5

    @classmethod
    def of(cls, layer: nn.Conv2d, eps: float = 1e-5) -> "StandardConv2d":
        """A standardised convolution with another one's parameters, the same objects."""
        shape = (layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.groups)
        with torch.device("meta"):
            new = cls(layer.in_channels, layer.out_channels, *shape, padding_mode=layer.padding_mode)  # pyright: ignore[reportArgumentType]
        new.weight, new.bias, new.eps = layer.weight, layer.bias, eps
        return new.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        """N C H W -> N K H' W'."""
        return self._conv_forward(input, standardised(self.weight, self.eps), self.bias)


def standardised(weight: Tensor, eps: float) -> Tensor:
    """(weight - mean) / √(variance + eps) over each filter. K C … -> the same shape."""
    variance, mean = torch.var_mean(weight, tuple(range(1, weight.ndim)), correction=0, keepdim=True)
    return (weight - mean) * (variance + eps).rsqrt()
