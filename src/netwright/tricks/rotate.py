"""Turns pictures by a random angle."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp
from netwright.tricks._places import PLACES, before

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Rotate(Trick):
    """Each picture is turned about its centre by an angle uniform over −degrees … degrees."""

    degrees: Annotated[float, Between(0, 180)] = 15.0

    card = Card(
        paper="Simard, Steinkraus & Platt, Best practices for convolutional neural networks, ICDAR 2003",
        neutral={"degrees": 0.0},
        strong={"degrees": 45.0},
        ranges={"degrees": Range(3, 30)},
        treats=(Symptom.OVERFITTING,),
        after=before("rotate", PLACES),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """(x, y) ↦ (x cos a − y sin a, x sin a + y cos a)."""
        if not self.degrees:
            return warp
        angle = run.between(self.name, -math.radians(self.degrees), math.radians(self.degrees))
        return warp.linear(angle.cos(), -angle.sin(), angle.sin(), angle.cos())
