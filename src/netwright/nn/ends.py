"""Where a network begins and where it ends: its first kernel, and the parameters of its heads."""

from collections.abc import Iterator
from typing import cast

from torch import nn

from netwright.nn.places import Staged


def first_kernel(network: nn.Module) -> str | None:
    """The name of the first parameter that is a matrix or a kernel, in order of registration; None if there is none."""
    return next((name for name, parameter in network.named_parameters() if parameter.dim() > 1), None)


def head_parameters(network: nn.Module) -> frozenset[str]:
    """Names of the weights and biases of the main head and of every linear layer with as many outputs."""
    main = _main_head(network)
    kernels = [parameter for parameter in main.parameters() if parameter.dim() > 1] if main else []
    if main is None or not kernels:
        return frozenset()
    heads = {id(parameter) for parameter in main.parameters()}
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and layer.out_features == kernels[-1].shape[0]:
            heads |= {id(parameter) for parameter in layer.parameters()}
    return frozenset(name for name, parameter in network.named_parameters() if id(parameter) in heads)


def owners(network: nn.Module) -> Iterator[nn.Module]:
    """The modules that have parameters of their own, in order of registration."""
    return (module for module in network.modules() if next(module.parameters(recurse=False), None) is not None)


def _main_head(network: nn.Module) -> nn.Module | None:
    """What a family calls its head; of another network the last layer with a kernel."""
    if isinstance(network, Staged):
        return cast(nn.Module, network).get_submodule(network.head_name)
    layers = [module for module in owners(network) if any(p.dim() > 1 for p in module.parameters(recurse=False))]
    return layers[-1] if layers else None
