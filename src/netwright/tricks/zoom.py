"""Magnifies or shrinks pictures about their centre."""

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
class Zoom(Trick):
    """Each picture is magnified by a factor over 1/ratio … ratio, whose logarithm is uniform."""

    ratio: Annotated[float, Between(1, 10)] = 1.25

    card = Card(
        paper="Ciresan et al., Deep, big, simple neural nets for handwritten digit recognition, Neural Comput. 2010",
        neutral={"ratio": 1.0},
        strong={"ratio": 2.0},
        ranges={"ratio": Range(1.05, 1.6)},
        treats=(Symptom.OVERFITTING,),
        after=before("zoom", PLACES),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """(x, y) ↦ (x, y) / f."""
        if self.ratio == 1:
            return warp
        limit = math.log(self.ratio)
        shrink = run.between(self.name, -limit, limit).neg().exp()
        zero = torch.zeros_like(shrink)
        return warp.linear(shrink, zero, zero, shrink)
