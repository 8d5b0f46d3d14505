"""Slants pictures sideways and upwards."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp
from netwright.tricks._places import PLACES, before

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Shear(Trick):
    """Each picture is sheared along x and along y by angles uniform over −degrees … degrees; its area stays."""

    degrees: Annotated[float, Between(0, 60)] = 10.0

    card = Card(
        paper="Simard, Steinkraus & Platt, Best practices for convolutional neural networks, ICDAR 2003",
        neutral={"degrees": 0.0},
        strong={"degrees": 30.0},
        ranges={"degrees": Range(3, 25)},
        treats=(Symptom.OVERFITTING,),
        after=before("shear", PLACES),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """x ↦ x + y tan a after y ↦ y + x tan b."""
        if not self.degrees:
            return warp
        angles = (2 * run.uniform(self.name, 2) - 1) * math.radians(self.degrees)
        across, down = angles.tan().unbind(1)
        return warp.linear(1 + across * down, across, down, torch.ones_like(across))
