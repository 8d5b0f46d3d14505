"""Mirrors pictures left to right."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

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
        return mirror(warp, run.chosen(self.name, self.probability), axis=0)


def mirror(warp: Warp, chosen: Tensor, *, axis: int) -> Warp:
    """x ↦ −x (axis 0) or y ↦ −y (axis 1) where `chosen`, N, says so."""
    sign = torch.where(chosen, -1.0, 1.0)
    zero, one = torch.zeros_like(sign), torch.ones_like(sign)
    across, down = (sign, one) if axis == 0 else (one, sign)
    return warp.linear(across, zero, zero, down, whole=True)
