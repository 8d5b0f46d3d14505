"""Drops parts of what passes a place in a network, in training only, as a hook that can be copied with its network."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class Dropper(ABC):
    """A hook before or after a layer. It has no parameters, so a network's weights keep their names."""

    @abstractmethod
    def dropped(self, x: Tensor) -> Tensor:
        """What is left of x. The shape stays."""

    def __call__(self, layer: nn.Module, given: tuple[Any, ...], output: Tensor | None = None) -> Any:
        """What the layer shall be given, or what it shall have given; None leaves it as it is."""
        if not layer.training:
            return None
        return (self.dropped(given[0]), *given[1:]) if output is None else self.dropped(output)
