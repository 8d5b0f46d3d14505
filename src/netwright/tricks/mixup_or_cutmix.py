"""Blends each picture with another as mixup does, or pastes a box of it in as cutmix does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks.cutmix import drawn_boxes, paste_target
from netwright.tricks.mixup import blend, partners, shares

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class MixupOrCutmix(Trick):
    """For each sample one of the two, chosen at random; partners come from a permutation of the batch.

    Attributes:
        mixup: alpha of mixup's Beta distribution; 0 leaves those samples alone.
        cutmix: alpha of cutmix's.
        switch: how often it is cutmix.
        probability: how often a sample is mixed at all.
    """

    mixup: Annotated[float, Between(0, 100)] = 0.8
    cutmix: Annotated[float, Between(0, 100)] = 1.0
    switch: Annotated[float, Between(0, 1)] = 0.5
    probability: Annotated[float, Between(0, 1)] = 1.0

    card = Card(
        paper="Touvron et al., Training data-efficient image transformers, ICML 2021, §5; both as in timm's Mixup",
        neutral={"probability": 0.0},
        strong={"mixup": 8.0, "cutmix": 8.0},
        ranges={"mixup": Range(0.1, 1.0, log=True), "cutmix": Range(0.2, 2.0, log=True), "switch": Range(0.2, 0.8)},
        treats=(Symptom.OVERFITTING, Symptom.OVERCONFIDENCE, Symptom.LABEL_NOISE),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "a code would have to tell what two pictures show; crop, flip and brightness vary "
            "pictures that stay pictures",
        },
        after=("label_smoothing",),
        excludes=("cutmix", "mixup"),
    )

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Pictures and targets are mixed alike."""
        if not self.probability:
            return batch
        draw, n, device = run.generator(self.name), len(batch), batch.image.device
        image, target = partners(draw, batch)
        cut, mixed = (torch.from_numpy(draw.random(n) < chance) for chance in (self.switch, self.probability))
        weight = shares(draw, self.mixup, n).to(device)
        inside = drawn_boxes(draw, shares(draw, self.cutmix, n).masked_fill(~(cut & mixed), 1.0), batch)
        blended = (mixed & ~cut).to(device)
        return batch.changed(
            image=_either(blended, blend(batch.image, image, weight), torch.where(inside, image, batch.image)),
            target=_either(blended, blend(batch.target, target, weight), paste_target(batch.target, target, inside)),
        )


def _either(chosen: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """`first` where chosen, one choice a sample. N, N …, N … -> N …"""
    return torch.where(chosen.view(-1, *[1] * (first.dim() - 1)), first, second)
