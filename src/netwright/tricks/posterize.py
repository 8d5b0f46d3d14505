"""Leaves pictures fewer shades."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.tricks._pixels import CORRUPTS, change_some, levels, per_sample

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Posterize(Trick):
    """Each picture keeps, with `probability`, only the highest `bits` of the eight of each value."""

    bits: Annotated[int, Between(1, 8)] = 4
    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019",
        neutral={"probability": 0.0},
        strong={"bits": 1, "probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=("autocontrast", "equalize"),
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ v with its lowest bits zero."""
        chosen = run.chosen(self.name, self.probability)
        return batch.changed(
            image=change_some(
                batch.image, chosen, lambda image, where: posterize(image, torch.full_like(where, self.bits))
            )
        )


def posterize(image: Tensor, bits: Tensor) -> Tensor:
    """The highest `bits` (N, 0 to 8) of each value's eight. N C H W in [0, 1]."""
    step = per_sample(torch.exp2(8.0 - bits))
    return levels(image).div_(step).floor_().mul_(step).div_(255)
