"""Mirrors pictures left to right."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.engine.warp import Warp

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Flip(Trick):
    """Each picture is mirrored with `probability`. Leave it out where left and right mean something (digits, text)."""

    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Krizhevsky, Sutskever & Hinton, ImageNet classification with deep CNNs, NeurIPS 2012",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """x ↦ −x about the picture's centre: exact, by index."""
        mirrored = run.uniform(self.name)[:, 0] < self.probability
        sign = torch.where(mirrored, -1.0, 1.0)
        zero, one = torch.zeros_like(sign), torch.ones_like(sign)
        return warp.linear(sign, zero, zero, one, whole=True)
