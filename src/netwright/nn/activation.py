"""Activations by name."""

from typing import Literal

from torch import nn

ActivationKind = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid", "mish", "hardswish"]


def make_activation(name: ActivationKind) -> nn.Module:
    """An activation layer.

    None works in place: that saves no measurable time, and it breaks backward hooks on the layer before.
    """
    match name:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU()
        case "elu":
            return nn.ELU()
        case "gelu":
            return nn.GELU()
        case "silu":
            return nn.SiLU()
        case "tanh":
            return nn.Tanh()
        case "sigmoid":
            return nn.Sigmoid()
        case "mish":
            return nn.Mish()
        case "hardswish":
            return nn.Hardswish()
