"""Shifts pictures by a random part of their size."""

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
class Translate(Trick):
    """Each picture is shifted along x and y by up to `part` of its width and height, not only by whole pixels."""

    part: Annotated[float, Between(0, 1)] = 0.1

    card = Card(
        paper="Simard, Steinkraus & Platt, Best practices for convolutional neural networks, ICDAR 2003",
        neutral={"part": 0.0},
        strong={"part": 0.4},
        ranges={"part": Range(0.03, 0.25)},
        treats=(Symptom.OVERFITTING,),
        after=before("translate", PLACES),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """(x, y) ↦ (x, y) + d with d uniform over ± part · (width, height)."""
        if not self.part:
            return warp
        across, down = ((2 * run.uniform(self.name, 2) - 1) * self.part).unbind(1)
        return warp.shift(across * warp.size[1], down * warp.size[0], whole=False)
