"""Leaves out residual branches at random, so that a network trains as many shallower ones."""

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.drop_path import DropPath


@dataclass
class StochasticDepth(Trick):
    """In training the l-th of L branches is left out with probability l/L · rate, else multiplied to make up for it.

    Each picture has its own draw, where the paper has one for a batch and multiplies at test instead. Any rates that
    the network has itself are replaced.

    Attributes:
        rate: how likely the last branch is left out; the paper has 0.5 for 110 layers.
    """

    rate: Annotated[float, Between(0, 1)] = 0.2

    card = Card(
        paper="Huang et al., Deep networks with stochastic depth, ECCV 2016",
        neutral={"rate": 0.0},
        strong={"rate": 0.9},
        ranges={"rate": Range(0.05, 0.5)},
        treats=(Symptom.OVERFITTING, Symptom.VANISHING_GRADIENTS),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Give each branch its probability."""
        if not self.rate:
            return module
        branches = [layer for layer in module.modules() if isinstance(layer, DropPath)]
        if not branches:
            raise NetwrightError(
                f"{type(module).__name__} has no residual branches that could be left out",
                "choose a residual network (resnet18, mobilenet_v2, convnext_tiny, …); ask a timm model for it as an "
                f"option: timm/NAME(drop_path_rate={self.rate:g}); end the branches of your own network with a "
                "netwright.nn.drop_path.DropPath; or leave it out: --without stochastic_depth",
            )
        for branch, probability in zip(branches, linear_decay(len(branches), self.rate), strict=True):
            branch.probability = probability
        return module


def linear_decay(branches: int, rate: float) -> list[float]:
    """The paper's equation 4: how likely each branch is left out, from the first to the last."""
    return [rate * (number + 1) / branches for number in range(branches)]
