"""Predicts from several views of each picture."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.engine.trick import Card, Trick


@dataclass
class TestTimeAugmentation(Trick):
    """Averages log-probabilities over the picture, its mirror image, and both shifted by `shift` pixels.

    Of a network for masks, what each view gives is turned back before it is averaged, and a pixel is judged by the
    views that showed it.

    Attributes:
        flip: also look at the mirror image.
        shift: if above zero, also look `shift` pixels up-left and down-right.
    """

    flip: bool = True
    shift: Annotated[int, Between(0, 64)] = 0

    __test__ = False  # pytest takes every class whose name begins so for its own

    card = Card(
        paper="Krizhevsky, Sutskever & Hinton, ImageNet classification with deep CNNs, NeurIPS 2012, §4.1",
        neutral={"flip": False, "shift": 0},
        strong={"flip": True, "shift": 2},
        tasks=("classification", "segmentation"),
        why={
            "multi_label": "it averages what a softmax gives, and labels that do not exclude each other have none",
            "reconstruction": "it averages scores, and the mean of several views' reconstructions would be a blur",
        },
        after=("bn_refresh", "dropout", "early_stopping", "ema", "swa"),
        structure=True,
    )

    def predictor(self, module: nn.Module) -> nn.Module:
        """Wrap the network."""
        return Views(module, flip=self.flip, shift=self.shift) if self.flip or self.shift else module


class Views(nn.Module):
    """A network that looks at each picture more than once. N C H W -> N K log-probabilities, or N K H W scores."""

    def __init__(self, module: nn.Module, *, flip: bool, shift: int) -> None:
        super().__init__()
        self.module = module
        self.flip = flip
        self.shift = shift

    def forward(self, image: Tensor) -> Tensor:
        """The mean over views: of one score a class normalised, of masks as it is."""
        given = [self.module(view).float() for view in self.views(image)]
        if given[0].dim() > 2:
            return self.in_place(given)
        seen = torch.stack([scores.log_softmax(1) for scores in given])
        return seen.mean(0).log_softmax(1)

    def views(self, image: Tensor) -> list[Tensor]:
        """The picture, moved and mirrored."""
        moved = [image]
        if self.shift:
            pad = [self.shift] * 4
            wide = nn.functional.pad(image, pad, mode="replicate")
            height, width = image.shape[2:]
            moved += [wide[:, :, d : d + height, d : d + width] for d in (0, 2 * self.shift)]
        return moved + [view.flip(3) for view in moved] if self.flip else moved

    def in_place(self, given: list[Tensor]) -> Tensor:
        """The mean of what the views gave, each pixel where the picture has it. Each N K H W -> N K H W.

        A mean of scores is one of log-probabilities, but for what all classes of a pixel have in common, and with
        classes that overlap one of log odds.
        """
        looked = (0, -self.shift, self.shift) if self.shift else (0,)  # where from the picture's, right and down
        if self.flip:
            given = given[: len(looked)] + [scores.flip(3) for scores in given[len(looked) :]]
        total, views = torch.zeros_like(given[0]), given[0].new_zeros(given[0].shape[2:])
        for scores, by in zip(given, looked * 2, strict=False):
            rows, columns = (_overlap(side, by) for side in scores.shape[2:])
            total[:, :, rows[0], columns[0]] += scores[:, :, rows[1], columns[1]]
            views[rows[0], columns[0]] += 1
        return total / views


def _overlap(side: int, by: int) -> tuple[slice, slice]:
    """Which pixels of a picture a view shows that looks `by` pixels further, and which of its own these are."""
    seen = max(0, side - abs(by))
    return slice(max(0, by), max(0, by) + seen), slice(max(0, -by), max(0, -by) + seen)
