"""The weights of a network as matrices of one row for each unit: what penalties and constraints are about."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.conv import (
    _ConvNd,  # pyright: ignore[reportPrivateUsage]  # the one name for convolutions of every kind
    _ConvTransposeNd,  # pyright: ignore[reportPrivateUsage]
)


def kernels(model: nn.Module) -> Iterator[Tensor]:
    """Trained parameters with two or more dimensions: everything but biases, norms and scales."""
    return (w for w in model.parameters() if w.dim() > 1 and w.requires_grad)


def matrices(model: nn.Module) -> Iterator[Tensor]:
    """The trained weights of linear and convolutional layers. Each: groups × outputs × inputs."""
    return (weight.flatten(2) for weight in units(model))


def units(model: nn.Module) -> Iterator[Tensor]:
    """Views of the same weights, to write to: groups × outputs × inputs of one place × places."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | _ConvNd) and layer.weight.requires_grad:
            yield _by_unit(layer)


def _by_unit(layer: nn.Linear | _ConvNd) -> Tensor:
    if isinstance(layer, nn.Linear):
        return layer.weight[None]
    groups = layer.weight.unflatten(0, (layer.groups, -1))  # G O I k k, and G I O k k where transposed
    return groups.transpose(1, 2) if isinstance(layer, _ConvTransposeNd) else groups
