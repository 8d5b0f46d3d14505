"""Spreads the values of each channel evenly over the range."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.tricks._pixels import change_some, levels

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run

LEVELS = 256


@dataclass
class Equalize(Trick):
    """In each picture, with `probability`, every channel's histogram is made as flat as a map of values can make it."""

    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        after=("autocontrast",),
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ the part of the channel's values below v."""
        chosen = run.chosen(self.name, self.probability)
        return batch.changed(image=change_some(batch.image, chosen, lambda image, _: equalize(image)))


def equalize(image: Tensor) -> Tensor:
    """Histogram equalisation of each channel, as PIL does it. N C H W in [0, 1]."""
    n, channels, height, width = image.shape
    histograms = torch.arange(n * channels, device=image.device).view(n, channels, 1, 1) * LEVELS
    # A place in all histograms laid end to end; in 32 bits, which takes less than half the time of 64.
    index = levels(image).int().add_(histograms.int()).flatten()
    counts = index.bincount(minlength=n * channels * LEVELS).view(-1, LEVELS)
    table = equalizing(counts, height * width).div_(255).flatten()
    return table.index_select(0, index).view(image.shape)


def equalizing(counts: Tensor, pixels: int) -> Tensor:
    """What each level becomes, 0 … 255, from how many pixels have it; both M 256.

    A step is the 255th part of the pixels that are not of the brightest level present, in whole pixels; where that is
    none, the levels stay. So PIL has it. In pictures under 256 pixels, where it would do nothing, steps are fractions.
    """
    level = torch.arange(LEVELS, device=counts.device)
    brightest = torch.where(counts > 0, level, 0).amax(1, keepdim=True)
    others = (pixels - counts.gather(1, brightest)).float()
    below = (counts.cumsum(1) - counts).float()
    step = others / 255 if pixels < LEVELS else (others / 255).floor()
    half = step / 2 if pixels < LEVELS else (step / 2).floor()
    spread = ((below + half) / step).floor_().clamp_(max=255)  # whole numbers below 2²³ divide exactly enough
    return torch.where(step > 0, spread, level)
