"""Drops squares of feature maps, because what one pixel is robbed of its neighbours still tell."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, GradFn, Range, Trick
from netwright.nn.dropper import Dropper
from netwright.nn.places import stage_ends

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Passed, Run


@dataclass
class DropBlock(Trick):
    """In training squares of each channel are 0, and the rest is multiplied to make up for it.

    Attributes:
        rate: share of pixels dropped at the end of the run, where overlaps are not counted; it rises from 0 linearly.
        size: side of the squares in pixels; no larger than the map.
        stages: at the end of how many of the last stages; in a network of your own, after how many convolutions.
    """

    rate: Annotated[float, Between(0, 1)] = 0.1
    size: Annotated[int, Between(1)] = 7
    stages: Annotated[int, Between(1)] = 2

    card = Card(
        paper="Ghiasi, Lin & Le, DropBlock: a regularization method for convolutional networks, NeurIPS 2018",
        neutral={"rate": 0.0},
        strong={"rate": 0.5, "size": 2},
        ranges={"rate": Range(0.05, 0.3), "size": Range(3, 9)},
        treats=(Symptom.OVERFITTING,),
        after=("norm", "weight_standardisation", "whitening"),  # which exchange layers
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Let squares be dropped at the ends of stages."""
        self.blocks = DropBlocks(0.0, self.size)  # one for all places, so that its rate is set once a step
        for place in stage_ends(module, self.stages) if self.rate else ():
            place.attach(self.blocks)
        return module

    def gradient(self, gradient: GradFn) -> GradFn:
        """Raise the rate as the run goes on."""

        def scheduled(batch: "Batch", run: "Run") -> "Passed":
            self.blocks.rate = self.rate * run.progress
            return gradient(batch, run)

        return scheduled if self.rate else gradient


@dataclass
class DropBlocks(Dropper):
    """DropBlock at its present rate."""

    rate: float
    size: int

    def dropped(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        return drop_blocks(x, self.rate, self.size) if self.rate else x


def drop_blocks(x: Tensor, rate: float, size: int) -> Tensor:
    """The paper's algorithm 1, each channel with squares of its own. N C H W -> N C H W."""
    height, width = x.shape[-2:]
    size = min(size, height, width)
    corners = x.new_empty((*x.shape[:2], height - size + 1, width - size + 1))  # of squares that lie inside the map
    corners.bernoulli_(corner_rate(rate, size, height, width))
    kept = 1 - F.max_pool2d(F.pad(corners, [size - 1] * 4), size, stride=1)
    share = kept.mean(dtype=torch.float32).clamp(min=1 / kept.numel())
    return x * kept * share.reciprocal().to(x.dtype)


def corner_rate(rate: float, size: int, height: int, width: int) -> float:
    """The paper's equation 1, γ: how likely a square begins at each pixel where one can."""
    return min(1.0, rate * height * width / size**2 / ((height - size + 1) * (width - size + 1)))
