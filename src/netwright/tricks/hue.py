"""Turns colours around the colour circle."""

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._places import COLOURS, before
from netwright.tricks.grayscale import coloured

if TYPE_CHECKING:
    from netwright.engine.run import Run

# Television's luma Y and chroma I, Q (NTSC; FCC §73.682), each as its weights of red, green and blue.
Y = np.array([0.30, 0.59, 0.11])
RED, BLUE = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
YIQ = np.stack([Y, 0.74 * (RED - Y) - 0.27 * (BLUE - Y), 0.48 * (RED - Y) + 0.41 * (BLUE - Y)])


@dataclass
class Hue(Trick):
    """Each picture's chroma (I, Q) is turned by an angle uniform over −degrees … degrees.

    This is linear and keeps the luma. It is not HSV's hue, which is neither; a few degrees are alike in both.
    """

    degrees: Annotated[float, Between(0, 180)] = 15.0

    card = Card(
        paper="Haeberli, Matrix operations for image processing, Grafica Obscura 1993",
        neutral={"degrees": 0.0},
        strong={"degrees": 120.0},
        ranges={"degrees": Range(5, 45)},
        treats=(Symptom.OVERFITTING,),
        after=before("hue", COLOURS),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """(Y, I, Q) ↦ (Y, I cos a − Q sin a, I sin a + Q cos a)."""
        if not (coloured(self.name, colour) and self.degrees):
            return colour
        limit = math.radians(self.degrees)
        return colour.then(turned(run.between(self.name, -limit, limit)))


def turned(angle: Tensor) -> Tensor:
    """The turn of the chroma plane, as a map of red, green and blue. N -> N 3 3."""
    luma, along, across = _parts(angle.device)
    return luma + angle.cos()[:, None, None] * along + angle.sin()[:, None, None] * across


@cache
def _parts(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A turn is luma + cos a · along + sin a · across; on the device once, not once a batch. 3 3 each."""
    back = np.linalg.inv(YIQ)
    parts = np.diag([1.0, 0, 0]), np.diag([0, 1.0, 1.0]), np.array([[0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    luma, along, across = (torch.tensor(back @ part @ YIQ, dtype=torch.float32, device=device) for part in parts)
    return luma, along, across
