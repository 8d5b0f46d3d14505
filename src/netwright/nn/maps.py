"""Which of the layers in a row give the last map at a resolution."""

from collections.abc import Iterable

from torch import Tensor, nn


def maps_of(layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """The last map at each resolution: what each layer that shrinks it is given, but for the image, and the result."""
    maps: list[Tensor] = []
    for position, layer in enumerate(layers):
        if position > 0 and shrinks(layer):
            maps.append(x)
        x = layer(x)
    return [*maps, x]


def shrinks(layer: nn.Module) -> bool:
    """Whether a layer has a stride."""
    return isinstance(layer, nn.MaxPool2d | nn.Conv2d) and layer.stride not in (1, (1, 1))


def maps_at(layers: Iterable[nn.Module], places: list[int], x: Tensor) -> list[Tensor]:
    """What the layers at some places give."""
    maps: list[Tensor] = []
    for place, layer in enumerate(layers):
        x = layer(x)
        if place in places:
            maps.append(x)
    return maps


def ends(strides: list[int]) -> list[int]:
    """The places of layers after which the resolution falls, and of the last."""
    return [place for place, stride in enumerate([*strides[1:], 2]) if stride == 2]
