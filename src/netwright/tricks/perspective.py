"""Shows pictures as if seen from the side."""

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
class Perspective(Trick):
    """With `probability`, each corner moves inwards by a random part of the picture's half sides.

    Attributes:
        distortion: the largest part; above 0.47, what lies behind the horizon could come into view, upside down.
        probability: how often.
    """

    distortion: Annotated[float, Between(0, 0.47)] = 0.3
    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="RandomPerspective of torchvision; Heckbert, Fundamentals of texture mapping and image warping, 1989",
        neutral={"distortion": 0.0},
        strong={"distortion": 0.45, "probability": 1.0},
        ranges={"distortion": Range(0.1, 0.45)},
        treats=(Symptom.OVERFITTING,),
        after=before("perspective", PLACES),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """The homography that takes the moved corners back to the picture's own."""
        if not (self.distortion and self.probability):
            return warp
        draws = run.uniform(self.name, 9)
        chosen = draws[:, 8:] < self.probability
        across, down = (self.distortion * chosen * draws[:, :8]).chunk(2, 1)
        return warp.then(straightened(across, down, warp.size))


def straightened(across: Tensor, down: Tensor, size: tuple[int, int]) -> Tensor:
    """The map from a quadrangle to the picture around it.

    Args:
        across: how far each corner stands inwards along x, in half widths; N 4: clockwise from the upper left one.
        down: the same along y, in half heights.
        size: height and width in pixels.

    Returns:
        N 3 3, in pixels from the picture's centre.
    """
    one = torch.ones_like(across[:, 0])
    u, v = torch.stack([-one, one, one, -one], 1), torch.stack([-one, -one, one, one], 1)
    unit = homography(u * (1 - across), v * (1 - down), u, v)  # in half sides: well conditioned
    side = torch.stack([one * (size[1] / 2), one * (size[0] / 2), one], 1)
    return side[:, :, None] * unit / side[:, None, :]


def homography(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The projective map that takes four points (x, y) to (u, v). Each N 4 -> N 3 3."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    for_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], 2)
    for_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], 2)
    equations, wanted = torch.cat([for_u, for_v], 1), torch.cat([u, v], 1)
    solution = torch.linalg.solve_ex(equations, wanted)[0]  # unlike solve, it does not wait for a GPU to report
    return torch.cat([solution, one[:, :1]], 1).view(-1, 3, 3)
