"""Drops connections rather than units: each weight of a layer is left out at random."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.places import Layer, heads


@dataclass
class DropConnect(Trick):
    """In training each weight is 0 with probability `rate`, else multiplied by 1/(1 - rate).

    Evaluation uses the weights' mean; the paper draws from a normal distribution about that.

    Attributes:
        rate: share of weights dropped.
        layers: the linear ones, with the head, or convolutions too.
        masks: a batch is cut into so many parts, each with weights of its own. The paper has one an example, and finds
            one a batch too few; each costs a pass through the layer.
    """

    rate: Annotated[float, Between(0, 1)] = 0.2
    layers: Literal["linear", "all"] = "linear"
    masks: Annotated[int, Between(1)] = 16

    card = Card(
        paper="Wan et al., Regularization of neural networks using DropConnect, ICML 2013",
        neutral={"rate": 0.0},
        strong={"rate": 0.5, "layers": "all"},
        ranges={"rate": Range(0.05, 0.5)},
        treats=(Symptom.OVERFITTING,),
        after=("norm", "weight_standardisation", "whitening"),  # which exchange layers
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Let the layers see their weights with gaps."""
        for layer in self.chosen(module) if self.rate else ():
            cast(Any, layer).forward = Gappy(layer, layer.forward, self.rate, self.masks)
        return module

    def chosen(self, module: nn.Module) -> list[Layer]:
        """The layers whose weights are dropped."""
        kinds = (nn.Linear, nn.Conv2d) if self.layers == "all" else nn.Linear
        wanted = [layer for layer in module.modules() if isinstance(layer, kinds)]
        wanted = wanted or heads(module)
        return [layer for layer in wanted if isinstance(layer, Layer)]


@dataclass(eq=False)
class Gappy:
    """A layer's forward pass in which, in training, each part of a batch finds other weights missing.

    It is an object, not a function inside one, so that a copy of the network gets one that is about the copy.
    """

    layer: Layer
    forward: Callable[[Tensor], Tensor]
    rate: float
    masks: int

    def __call__(self, x: Tensor) -> Tensor:
        """As the layer's own. N ... -> N ...."""
        if not self.layer.training:
            return self.forward(x)
        return torch.cat([self.through(part) for part in x.chunk(self.masks)])

    def through(self, x: Tensor) -> Tensor:
        """One part, with one draw of the weights."""
        with lent(self.layer, F.dropout(self.layer.weight, self.rate)):
            return self.forward(x)


@contextmanager
def lent(layer: nn.Module, weight: Tensor) -> Generator[None]:
    """The layer with another weight for a while. Its parameter stays what it is, under its name."""
    parameters: dict[str, Any] = layer._parameters
    own = parameters["weight"]
    parameters["weight"] = weight
    try:
        yield
    finally:
        parameters["weight"] = own
