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
        tasks=("classification",),
        after=("bn_refresh", "dropout", "early_stopping", "ema", "swa"),
        structure=True,
    )

    def predictor(self, module: nn.Module) -> nn.Module:
        """Wrap the network."""
        return Views(module, flip=self.flip, shift=self.shift) if self.flip or self.shift else module


class Views(nn.Module):
    """A classifier that looks at each picture more than once. N C H W -> N K log-probabilities."""

    def __init__(self, module: nn.Module, *, flip: bool, shift: int) -> None:
        super().__init__()
        self.module = module
        self.flip = flip
        self.shift = shift

    def forward(self, image: Tensor) -> Tensor:
        """The mean over views, normalised."""
        seen = torch.stack([self.module(view).float().log_softmax(1) for view in self.views(image)])
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
