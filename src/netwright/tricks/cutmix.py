"""Trains on pictures with a box pasted in from another, and on targets mixed by its area."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import between, crossing
from netwright.tricks.mixup import blend, partners, shares

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Cutmix(Trick):
    """A box of 1 − λ of the picture comes from another, with λ ~ Beta(alpha, alpha) for each sample.

    Its centre is uniform over the picture. What falls outside is cut off, and the target is mixed by the pixels that
    were pasted in fact; a target for each pixel is pasted with its picture.

    Given together with `mixup`, the two act one after the other; `mixup_or_cutmix` chooses one for each sample.
    """

    alpha: Annotated[float, Between(0, 100)] = 1.0

    card = Card(
        paper="Yun et al., CutMix: Regularization strategy to train strong classifiers, ICCV 2019",
        neutral={"alpha": 0.0},
        strong={"alpha": 8.0},
        ranges={"alpha": Range(0.2, 2.0, log=True)},
        treats=(Symptom.OVERFITTING, Symptom.OVERCONFIDENCE),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "a code would have to tell what two pictures show and where one ends; crop, flip and "
            "brightness vary pictures that stay pictures",
        },
        after=("label_smoothing",),
    )

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Pictures and targets exchange the same box."""
        if not self.alpha:
            return batch
        draw = run.generator(self.name)
        weight = shares(draw, self.alpha, len(batch))
        image, target = partners(draw, batch)
        inside = drawn_boxes(draw, weight, batch)
        return batch.changed(
            image=torch.where(inside, image, batch.image), target=paste_target(batch.target, target, inside)
        )


def drawn_boxes(draw: np.random.Generator, weight: Tensor, batch: "Batch") -> Tensor:
    """Where each picture is pasted over, for what it is to keep. N -> N 1 H W, true inside."""
    height, width = batch.image.shape[2:]
    centre = torch.from_numpy(draw.integers(0, (height, width), (len(batch), 2)))
    edges = boxes(weight, centre, height, width).to(batch.image.device)
    rows, columns = between(edges[:, 0], edges[:, 1], height), between(edges[:, 2], edges[:, 3], width)
    return crossing(rows, columns)


def boxes(weight: Tensor, centre: Tensor, height: int, width: int) -> Tensor:
    """Top, bottom, left and right, ends exclusive, of boxes that leave `weight` uncovered. N, N 2 -> N 4, int64."""
    size = torch.tensor([height, width])
    length = ((1 - weight.double()).sqrt()[:, None] * size).long()
    first, end = (centre - length // 2).clamp(min=0), torch.minimum(centre + (length + 1) // 2, size)
    return torch.stack([first, end], 2).flatten(1)


def paste_target(target: Tensor, other: Tensor, inside: Tensor) -> Tensor:
    """Targets of pictures into which `other` came where `inside`, N 1 H W: by area, N K, or in place, N K H W."""
    if target.dim() == 4:
        return torch.where(inside, other, target)
    kept = 1 - inside.float().mean((1, 2, 3))
    # Where nothing was pasted the other may be unknown (NaN), and blending would spread that.
    return torch.where(kept[:, None] < 1, blend(target, other, kept), target)
