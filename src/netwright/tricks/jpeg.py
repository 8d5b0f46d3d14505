"""Saves pictures as JPEG and reads them back."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import CORRUPTS, SENSOR, change_some, levels

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Jpeg(Trick):
    """Each picture is compressed, with `probability`, as a JPEG file would.

    Attributes:
        quality: the lowest quality on the usual scale from 1 to 100; it is uniform over quality … 100.
        probability: how often.
    """

    quality: Annotated[int, Between(1, 100)] = 40
    probability: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Hendrycks & Dietterich, Benchmarking neural network robustness to common corruptions, ICLR 2019",
        neutral={"probability": 0.0},
        strong={"quality": 1, "probability": 1.0},
        ranges={"quality": Range(20, 80)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=SENSOR,
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ what is left of v in a file."""
        draw = run.uniform(self.name, 2)
        quality = self.quality + (draw[:, 1] * (101 - self.quality)).long()
        chosen = draw[:, 0] < self.probability
        return batch.changed(image=change_some(batch.image, chosen, lambda image, where: jpeg(image, quality[where])))


def jpeg(image: Tensor, quality: Tensor) -> Tensor:
    """Pictures after a JPEG file of `quality` (N, 1 to 100). N C H W in [0, 1], grey or in three colours.

    Raises:
        NetwrightError: the pictures have another number of channels.
    """
    if image.shape[1] not in (1, 3):
        raise NetwrightError(
            f"jpeg cannot hold pictures of {image.shape[1]} channels", "leave it out with --without jpeg"
        )
    stored = levels(image).byte().permute(0, 2, 3, 1).cpu().numpy()
    read = np.stack([_through_file(*pair) for pair in zip(stored, quality.tolist(), strict=True)])
    found = torch.from_numpy(read).to(image.device).view(image.permute(0, 2, 3, 1).shape)
    return found.permute(0, 3, 1, 2).to(image.dtype).div_(255)


def _through_file(picture: np.ndarray, quality: int) -> np.ndarray:
    """One picture of bytes, H W C -> H W C, or H W if it is grey."""
    file = io.BytesIO()
    Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.asarray(opened)
