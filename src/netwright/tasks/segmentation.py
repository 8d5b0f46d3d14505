"""A class for each pixel: cross-entropy over labelled pixels; the intersection over union is the headline."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.nn.losses import binary_cross_entropy_of_pixels, cross_entropy_of_pixels

BAND = 2**21  # pixels that are compared at once


@dataclass(frozen=True)
class Segmentation:
    """A class of `classes` for each pixel. Outputs are logits, N K H W.

    Labels are N H W: class ids, and −1 where a pixel is ignored. In a target, N K H W, an ignored pixel is all zeros,
    and the sum over K of any other is its weight. Ignored pixels count in no loss and no metric. Each picture's `iou`
    and `dice` are means over the classes counted that its truth or its prediction has, and 1 where there are none.

    Attributes:
        classes: how many, the background among them.
        background: class 0 is what is around the things, and not counted in `iou` and `dice`.
        several: a pixel may be of any number of classes. Labels are then N K H W of 1, 0 and −1, a target that is
            unknown is NaN, a class is named where its logit is positive, and every class is counted.
    """

    classes: Annotated[int, Between(1)] = 2
    background: bool = True
    several: bool = False

    name = "segmentation"

    def __post_init__(self) -> None:
        if self.classes < 2 and not self.several:
            raise NetwrightError(
                "segmentation into one class has nothing to decide: every pixel would be of it",
                "count the background as a class, or give several=True for a yes or no of each pixel",
            )

    @property
    def counted(self) -> slice:
        """The classes that means are over."""
        return slice(1 if self.background and not self.several else 0, None)

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """Class ids as probabilities, all zeros where ignored. N H W -> N K H W; several: N K H W, NaN where unknown.

        Raises:
            NetwrightError: labels are not of the task's shape.
        """
        self._require(label)
        if self.several:
            return label.float().masked_fill(label < 0, torch.nan)
        ids = torch.arange(self.classes, device=label.device).view(-1, 1, 1)
        return (label[:, None] == ids).float()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over labelled pixels of −Σ target · log softmax(output), in nats. N K H W, N K H W -> scalar.

        Several: the mean over known targets of binary cross-entropy.
        """
        return (
            binary_cross_entropy_of_pixels(output, target) if self.several else cross_entropy_of_pixels(output, target)
        )

    def metrics(self, output: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Each picture's mean IoU, mean Dice, share of labelled pixels right, and loss. N."""
        self._require(label)
        if self.several:
            counts, known, right = overlaps_of_several(output > 0, label)
            loss = F.binary_cross_entropy_with_logits(output.float(), label.clamp(min=0).float(), reduction="none")
            surprise = (loss * (label >= 0)).flatten(1).sum(1)
        else:
            # As argmax, which takes forty times as long where classes are planes.
            counts, known, right = overlaps(output.max(1).indices, label, self.classes)
            surprise = torch.stack([_surprise(*pair) for pair in _bands(output, label)]).sum(0)
        both, found, there = counts[:, self.counted].unbind(2)
        return {
            "iou": mean_ratio(both, found + there - both),
            "dice": mean_ratio(2 * both, found + there),
            "pixel_accuracy": mean_ratio(right[:, None], known[:, None]),
            "loss": surprise / known.clamp(min=1),
        }

    def _require(self, label: Tensor) -> None:
        """Refuse labels of another shape."""
        if self.several and (label.dim() != 4 or label.shape[1] != self.classes):
            raise NetwrightError(
                f"segmentation with several=True wants labels N {self.classes} H W, and these are {tuple(label.shape)}",
                "give one mask of 0, 1 and -1 (not known) for each class",
            )
        if not self.several and label.dim() != 3:
            raise NetwrightError(
                f"segmentation wants a class id for each pixel, N H W, and these labels are {tuple(label.shape)}",
                "give masks; for one class a picture the task is classification",
            )


def overlaps(found: Tensor, label: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels of each picture and class that are both found and there, found, and there; then labelled, and right.

    Args:
        found: class ids, N H W.
        label: class ids, −1 where ignored, N H W.
        classes: K.

    Returns:
        Integers N K 3, N and N.
    """
    parts = [_overlaps(*pair, classes) for pair in _bands(found, label)]
    counts, known, right = (torch.stack(each).sum(0) for each in zip(*parts, strict=True))
    return counts, known, right


def _overlaps(found: Tensor, label: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    n, cells = len(label), classes * (classes + 1)
    row = torch.where(label < 0, classes, label)  # ignored pixels are counted in a last row, which is then left out
    place = (row * classes + found + torch.arange(n, device=label.device).view(-1, 1, 1) * cells).flatten()
    confusion = torch.bincount(place, minlength=n * cells).view(n, classes + 1, classes)[:, :classes]
    both = confusion.diagonal(dim1=1, dim2=2)
    counts = torch.stack([both, confusion.sum(1), confusion.sum(2)], 2)
    return counts, confusion.sum((1, 2)), both.sum(1)


def _surprise(output: Tensor, label: Tensor) -> Tensor:
    """−log p of the true class, summed over labelled pixels. N K H W, N H W -> N."""
    return F.cross_entropy(output.float(), label, ignore_index=-1, reduction="none").flatten(1).sum(1)


def _bands(scores: Tensor, label: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The same bands of rows of both, so that what is computed of large pictures takes little memory. … H W, N H W."""
    rows = max(1, label.shape[-2] * BAND // max(1, label.numel()))
    return zip(scores.split(rows, -2), label.split(rows, -2), strict=True)


def overlaps_of_several(found: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `overlaps`, for classes that do not exclude each other: true or false and 1, 0, −1, both N K H W."""
    known = label >= 0
    found, there = found & known, label > 0
    counts = torch.stack([part.sum((2, 3)) for part in (found & there, found, there)], 2)
    return counts, known.sum((1, 2, 3)), (known & (found == there)).sum((1, 2, 3))


def mean_ratio(part: Tensor, whole: Tensor) -> Tensor:
    """The mean over classes of part / whole, leaving out those whose whole is 0; 1 where that leaves none. N K -> N."""
    present = whole > 0
    total = (part / whole.clamp(min=1)).sum(1)
    return torch.where(present.any(1), total / present.sum(1).clamp(min=1), 1.0)
