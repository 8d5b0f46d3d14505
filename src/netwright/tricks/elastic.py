"""Bends pictures as if they were drawn on rubber."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp
from netwright.tricks._places import PLACES

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Elastic(Trick):
    """Each pixel moves by `alpha` times smoothed noise that was uniform over −1 … 1.

    Attributes:
        alpha: strength in pixels; smoothing has made the noise some 1 / (6 sigma) small.
        sigma: deviation in pixels of the Gaussian that smooths. The paper's 34 and 4 are for digits of 29 pixels.
    """

    alpha: Annotated[float, Between(0)] = 34.0
    sigma: Annotated[float, Between(0.1)] = 4.0

    card = Card(
        paper="Simard, Steinkraus & Platt, Best practices for convolutional neural networks, ICDAR 2003",
        neutral={"alpha": 0.0},
        strong={"alpha": 20.0, "sigma": 2.0},
        ranges={"alpha": Range(10, 80), "sigma": Range(3, 8)},
        treats=(Symptom.OVERFITTING,),
        after=PLACES,
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """(x, y) ↦ (x, y) + alpha · G ∗ noise."""
        if not self.alpha:
            return warp
        height, width = warp.size
        noise = 2 * run.uniform(self.name, 2 * height * width) - 1
        return warp.bend(self.alpha * smoothed(noise.view(-1, 2, height, width), self.sigma))


def smoothed(field: Tensor, sigma: float) -> Tensor:
    """The field under a Gaussian; outside of it there is nothing. N 2 H W."""
    rows, columns = (_gaussian(length, sigma, field.device) for length in field.shape[2:])
    return rows @ field @ columns


def _gaussian(length: int, sigma: float, device: torch.device) -> Tensor:
    """What each place takes from each: a kernel whose sum is one. L L."""
    place = torch.arange(length, device=device, dtype=torch.float32)
    total = sum(math.exp(-((d / sigma) ** 2) / 2) for d in range(-math.ceil(8 * sigma), math.ceil(8 * sigma) + 1))
    return torch.exp(-(((place[:, None] - place) / sigma) ** 2) / 2) / total
