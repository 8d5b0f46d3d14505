"""Activations by name."""

from typing import Literal

from torch import nn

ActivationKind = Literal[
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "tanh", "sigmoid"
]


def make_activation(name: ActivationKind, *, inplace: bool = False) -> nn.Module:
    """An activation layer.

    With `inplace` a ReLU overwrites what it is given, which must then belong to nobody else: a norm's output or a sum.
    That saves some per cent of a step (bench/step.py), at a price: backward hooks on the layer before are refused.
    """
    match name:
        case "relu":
            return nn.ReLU(inplace)
        case "relu6":
            return nn.ReLU6(inplace)
        case "leaky_relu":
            return nn.LeakyReLU()
        case "elu":
            return nn.ELU()
        case "selu":
            return nn.SELU()
        case "gelu":
            return nn.GELU()
        case "silu":
            return nn.SiLU()
        case "mish":
            return nn.Mish()
        case "hardswish":
            return nn.Hardswish()
        case "hardsigmoid":
            return nn.Hardsigmoid()
        case "tanh":
            return nn.Tanh()
        case "sigmoid":
            return nn.Sigmoid()
