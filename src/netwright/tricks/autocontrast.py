"""Stretches each channel of a picture to the full range."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.tricks._pixels import change_some, levels

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Autocontrast(Trick):
    """In each picture, with `probability`, every channel's darkest value becomes 0 and its brightest 1."""

    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ (v − low) / (high − low)."""
        chosen = run.chosen(self.name, self.probability)
        return batch.changed(image=change_some(batch.image, chosen, lambda image, _: autocontrast(image)))


def autocontrast(image: Tensor) -> Tensor:
    """(v − low) / (high − low) in each channel, cut to bytes; a channel of one value stays. N C H W in [0, 1]."""
    level = levels(image)
    low, high = level.amin((2, 3), keepdim=True), level.amax((2, 3), keepdim=True)
    flat = low == high
    scale = ((high - low) * (1 / 255)).masked_fill_(flat, 1)
    return level.sub_(low.masked_fill_(flat, 0)).div_(scale).clamp_(max=255).floor_().div_(255)
