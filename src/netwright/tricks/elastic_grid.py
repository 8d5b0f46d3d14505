"""Bends pictures by a few random vectors on a coarse grid, as deformable tissue does."""

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

SHARPNESS = -0.75  # of the cubic kernel: its slope at distance 1, as image libraries have it


@dataclass
class ElasticGrid(Trick):
    """Vectors drawn on a grid × grid of points, from corner to corner, move the pixels; between points it is bicubic.

    Attributes:
        grid: points along each side.
        sigma: deviation of a vector's two components, in pixels. The paper's 10 is for crops of 572 pixels; where it is
            no longer small beside the distance of two points, pictures fold.
    """

    grid: Annotated[int, Between(2, 64)] = 3
    sigma: Annotated[float, Between(0)] = 10.0

    card = Card(
        paper="Ronneberger, Fischer & Brox, U-Net: Convolutional networks for biomedical image segmentation, "
        "MICCAI 2015, §3.1",
        neutral={"sigma": 0.0},
        strong={"sigma": 2.0},
        ranges={"grid": Range(2, 6), "sigma": Range(2, 20)},
        treats=(Symptom.OVERFITTING,),
        after=PLACES,
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """(x, y) ↦ (x, y) + sigma · Σ k(x − i) k(y − j) nᵢⱼ, with n standard normal."""
        if not self.sigma:
            return warp
        vectors = self.sigma * run.normal(self.name, 2 * self.grid**2)
        return warp.bend(spread(vectors.view(-1, 2, self.grid, self.grid), warp.size))


def spread(vectors: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic interpolation of values on a grid whose outer points are the corner pixels. N 2 g g -> N 2 H W."""
    rows, columns = (_shares(length, vectors.shape[2], vectors.device) for length in size)
    return rows @ vectors @ columns.T


def _shares(length: int, grid: int, device: torch.device) -> Tensor:
    """What each of `length` pixels takes from each of `grid` points; beyond the last these go on. length grid."""
    place = torch.linspace(0, grid - 1, length, device=device) if length > 1 else torch.tensor([(grid - 1) / 2])
    points = torch.arange(-2, grid + 2, device=device)  # the kernel reaches no further than two
    weights = cubic(place.to(device)[:, None] - points)
    return torch.zeros(length, grid, device=device).index_add_(1, points.clamp(0, grid - 1), weights)


def cubic(distance: Tensor) -> Tensor:
    """Keys' kernel: (a + 2)|d|³ − (a + 3)d² + 1 up to 1, a(|d|³ − 5d² + 8|d| − 4) up to 2, and 0. Any shape."""
    d, a = distance.abs(), SHARPNESS
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = (((d - 5) * d + 8) * d - 4) * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))
