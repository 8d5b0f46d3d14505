"""Blurs pictures."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import CORRUPTS, TONES, change_some, per_sample

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run

SHARPEST = 0.1  # a standard deviation in pixels that changes nothing visible


@dataclass
class Blur(Trick):
    """Each picture is convolved, with `probability`, with a Gaussian.

    Attributes:
        sigma: the largest standard deviation in pixels; it is uniform over 0.1 … sigma.
        probability: how often.
    """

    sigma: Annotated[float, Between(SHARPEST, 50)] = 2.0
    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020, §A",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        ranges={"sigma": Range(0.5, 4)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=TONES,
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ Σ over the neighbourhood of g v, by rows and by columns."""
        draw = run.uniform(self.name, 2)
        sigma = SHARPEST + (self.sigma - SHARPEST) * draw[:, 1]
        chosen, radius = draw[:, 0] < self.probability, math.ceil(3 * self.sigma)
        return batch.changed(
            image=change_some(batch.image, chosen, lambda image, where: blur(image, sigma[where], radius))
        )


def blur(image: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """A Gaussian of standard deviation `sigma` (N, pixels) cut off after `radius` pixels; mirrors outside. N C H W."""
    distance = torch.arange(radius + 1, device=image.device)
    weights = torch.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    weights = weights / (2 * weights.sum(1, keepdim=True) - 1)  # every distance but 0 is there twice
    return _smooth(_smooth(image, weights, 3), weights, 2)


def _smooth(image: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Σ over t of weights[|t|] v[x + t] along an axis. `weights`: N radius + 1."""
    length, radius = image.shape[axis], weights.shape[1] - 1
    wide = image.index_select(axis, _mirrored(length, radius, image.device))
    out = image * per_sample(weights[:, 0])
    for t in range(1, radius + 1):
        pair = wide.narrow(axis, radius - t, length) + wide.narrow(axis, radius + t, length)
        out += pair.mul_(per_sample(weights[:, t]))
    return out


def _mirrored(length: int, radius: int, device: torch.device) -> Tensor:
    """Indices −radius … length − 1 + radius, mirrored at the first and the last pixel's centre as often as needed."""
    index = torch.arange(-radius, length + radius, device=device)
    period = max(2 * (length - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)
