"""Parts of a network that stand still for a while."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(parameters: Iterable[nn.Parameter], layers: Iterable[nn.Module]) -> Generator[None]:
    """For a while, parameters take no gradient, and layers behave as in evaluation; what they hold goes by itself."""
    held = [parameter for parameter in parameters if parameter.requires_grad]
    before = [(layer, layer.training) for layer in layers]
    try:
        for parameter in held:
            parameter.requires_grad_(False)
        for layer, _ in before:
            layer.training = False
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
        for layer, training in before:
            layer.training = training
