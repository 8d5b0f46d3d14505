"""Shows the bright parts of pictures as negatives."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.tricks._pixels import CORRUPTS, change_some, per_sample

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Solarize(Trick):
    """In each picture, with `probability`, every value from `threshold` up is inverted."""

    threshold: Annotated[float, Between(0, 1)] = 0.5
    probability: Annotated[float, Between(0, 1)] = 0.2

    card = Card(
        paper="Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=("autocontrast", "equalize"),
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ 1 − v where v ≥ threshold."""
        chosen = run.chosen(self.name, self.probability)
        threshold = torch.full_like(chosen, self.threshold, dtype=batch.image.dtype)
        return batch.changed(
            image=change_some(batch.image, chosen, lambda image, where: solarize(image, threshold[where]))
        )


def solarize(image: Tensor, threshold: Tensor) -> Tensor:
    """1 − v for values whose nearest byte reaches 255 · `threshold` (N). N C H W in [0, 1]."""
    # Halfway below that byte: so rounding, here or of a byte's 255th parts, cannot push a value across.
    least = ((threshold * 255).ceil() - 0.5) / 255
    return torch.where(image >= per_sample(least), 1 - image, image)
