"""Shows an autoencoder corrupted pictures, and asks for the clean ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.corruption import Kind, corrupt
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Denoise(Trick):
    """The network sees pictures that were corrupted; its target is what they were before.

    "perturb" is our reading of pictures whose pixels were disturbed in place: as through frosted glass, each is seen
    where another one near by was.

    Attributes:
        kind: normal noise; pixels that are white or black; pixels that are black, which hide a part of the picture; or
            pixels taken from places near by.
        amount: the noise's standard deviation, of values in [0, 1]; the share of pixels that are lost; or how far the
            places may lie in either direction, as a share of half the picture's shorter side.
    """

    kind: Kind = "gaussian"
    amount: Annotated[float, Between(0, 1)] = 0.25

    card = Card(
        paper="Vincent et al., Extracting and composing robust features with denoising autoencoders, ICML 2008; "
        "Stacked denoising autoencoders, JMLR 2010",
        neutral={"amount": 0.0},
        strong={"amount": 0.8},
        ranges={"amount": Range(0.05, 0.6)},
        treats=(Symptom.OVERFITTING,),
        tasks=("reconstruction",),
        why={
            "classification": "the target is no picture that could be clean; noise, salt_and_pepper and cutout corrupt",
            "multi_label": "the target is no picture that could be clean; noise, salt_and_pepper and cutout corrupt",
            "segmentation": "the target is no picture that could be clean; noise, salt_and_pepper and cutout corrupt",
        },
    )

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """The image only; normalised pictures are put back on the scale that `amount` means, and normalised again."""
        if not self.amount:
            return batch
        mean, std = (torch.tensor(list(each), device=batch.image.device).view(-1, 1, 1) for each in _scale(run))
        draw = run.normal if self.kind == "gaussian" else run.uniform
        seen = corrupt(batch.image * std + mean, self.kind, self.amount, lambda n: draw(self.name, n))
        return batch.changed(image=run.profile.layout((seen - mean) / std))


def _scale(run: "Run") -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(run.normalise.mean), tuple(run.normalise.std)
