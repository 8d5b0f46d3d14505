"""Pads pictures and crops them back at a random place: a shift by whole pixels."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Crop(Trick):
    """Each picture is shifted by up to `pad` pixels either way.

    Attributes:
        pad: the largest shift in pixels.
        fill: what comes in from outside: "reflect", "zeros" or "edge". Pictures that are stored larger than the
            network sees them bring their own pixels first.
    """

    pad: Annotated[int, Between(0, 512)] = 4
    fill: Literal["reflect", "zeros", "edge"] = "reflect"

    card = Card(
        paper="He et al., Deep residual learning for image recognition, CVPR 2016, §4.2",
        neutral={"pad": 0},
        strong={"pad": 3},
        ranges={"pad": Range(1, 8)},
        treats=(Symptom.OVERFITTING,),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """x ↦ x + d with d uniform over −pad … pad."""
        shifts = (run.uniform(self.name, 2) * (2 * self.pad + 1)).floor() - self.pad
        return replace(warp, padding=self.fill).shift(shifts[:, 0], shifts[:, 1])
