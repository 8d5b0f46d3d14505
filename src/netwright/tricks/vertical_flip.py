"""Mirrors pictures top to bottom."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.engine.warp import Warp
from netwright.tricks.flip import mirror

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class VerticalFlip(Trick):
    """Each picture is turned upside down in a mirror with `probability`: for pictures without an up, as from above."""

    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Ciresan et al., Mitosis detection in breast cancer histology images with deep networks, MICCAI 2013",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """y ↦ −y about the picture's centre: exact, by index."""
        return mirror(warp, run.chosen(self.name, self.probability), axis=1)
