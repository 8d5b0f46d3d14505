"""Shows a random part of each picture, stretched to full size."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp
from netwright.tricks._places import PLACES, before

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class ResizedCrop(Trick):
    """A box with a random area, aspect and place is cut out and resized.

    Attributes:
        smallest: the least part of the stored picture's area.
        aspect: the largest ratio of the sides, either way.
    """

    smallest: Annotated[float, Between(0.01, 1)] = 0.35
    aspect: Annotated[float, Between(1, 4)] = 1.333

    card = Card(
        paper="Szegedy et al., Going deeper with convolutions, CVPR 2015, §6",
        strong={"smallest": 0.1},
        ranges={"smallest": Range(0.08, 0.8)},
        treats=(Symptom.OVERFITTING,),
        after=before("resized_crop", PLACES),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """x ↦ s x + d: the box lies inside the stored picture."""
        area, shape, across, down = run.uniform(self.name, 4).unbind(1)
        scale = (self.smallest + (1 - self.smallest) * area).sqrt()
        ratio = torch.exp((2 * shape - 1) * math.log(self.aspect) / 2).clamp(scale, 1 / scale)  # neither side above 1
        width, height = (scale * ratio).clamp(max=1.0), (scale / ratio).clamp(max=1.0)  # parts of the source's sides
        x = (across - 0.5) * (1 - width) * warp.source[1] + _centring(warp, 1)
        y = (down - 0.5) * (1 - height) * warp.source[0] + _centring(warp, 0)
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        rows = [
            [width * (warp.source[1] / warp.size[1]), zero, x],
            [zero, height * (warp.source[0] / warp.size[0]), y],
            [zero, zero, one],
        ]
        return warp.then(torch.stack([torch.stack(row, 1) for row in rows], 1))


def _centring(warp: Warp, side: int) -> Tensor:
    """Undoes the half pixel by which the central crop sits aside where the sizes differ by an odd number. N."""
    return 0.5 * ((warp.source[side] - warp.size[side]) % 2) * warp.matrix[:, 1 - side, 1 - side]
