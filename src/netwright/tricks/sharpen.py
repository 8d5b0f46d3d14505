"""Sharpens or softens pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.tricks._pixels import CORRUPTS, TONES, change_some, per_sample

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Sharpen(Trick):
    """A picture's distance from its smoothed self is multiplied, with `probability`, by a factor.

    The factor is uniform over 1 − strength, or 0 if that is less, … 1 + strength: below 1 it softens.
    """

    strength: Annotated[float, Between(0, 5)] = 0.9
    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Cubuk et al., AutoAugment: Learning augmentation strategies from data, CVPR 2019",
        neutral={"probability": 0.0},
        strong={"strength": 5.0, "probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=(*TONES, "blur"),
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ s + f (v − s) with s the smoothed picture."""
        draw = run.uniform(self.name, 2)
        least = max(0.0, 1 - self.strength)
        factor = least + (1 + self.strength - least) * draw[:, 1]
        chosen = draw[:, 0] < self.probability
        return batch.changed(image=change_some(batch.image, chosen, lambda image, where: sharpen(image, factor[where])))


def sharpen(image: Tensor, factor: Tensor) -> Tensor:
    """s + `factor` (v − s), clamped, where s is v smoothed by a 3 × 3 kernel of ones with a five in its centre.

    The outermost pixels stay. `factor` is N, pictures are N C H W in [0, 1].
    """
    if min(image.shape[2:]) < 3:
        return image
    columns = image[..., :-2] + image[..., 1:-1]
    columns += image[..., 2:]
    change = columns[..., :-2, :] + columns[..., 1:-1, :]
    change += columns[..., 2:, :]  # the sum over 3 × 3 pixels
    inner = image[..., 1:-1, 1:-1]
    change -= inner * 9  # 13 (s − v), as s = (sum + 4 v) / 13
    change *= per_sample((1 - factor) / 13)
    out = image.clone()
    out[..., 1:-1, 1:-1] += change
    return out.clamp_(0, 1)
