"""The network of the CIFAR-10 speed record of 2024 (Jordan, 94 % on CIFAR-10 in 3.29 seconds, arXiv:2404.00498)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Multiplier, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm

# The paper's statistics look at the last few batches only: what 0.6 of a batch's own leaves.
NEWEST = 0.4
TEMPERATURE = 9.0  # the scores are divided by it


class Group(nn.Module):
    """Two convolutions, the first of which is pooled before its norm: half of the paper's work is saved so."""

    def __init__(self, in_channels: int, channels: int, norm: NormKind, activation: ActivationKind) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, norm=norm)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = make_norm(norm, channels, momentum=NEWEST)
        self.conv2 = conv(channels, channels, 3, norm=norm)
        self.norm2 = make_norm(norm, channels, momentum=NEWEST)
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/2 W/2."""
        x = self.activation(self.norm1(self.pool(self.conv1(x))))
        return self.activation(self.norm2(self.conv2(x)))


class Airbench(Family):
    """Three groups of two convolutions behind a small one, which `--with whitening` sets from the pictures.

    Against the paper, norms keep a trained scale and the last layer a bias. Convolutions start as the identity of as
    many channels as there are (Dirac), the rest as torch draws them.

    Args:
        classes: number of class scores.
        in_channels: channels of the images.
        width: multiplies the channels of the three groups.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        dropout: share of the pooled features that is dropped before the head.
    """

    head_name = "head"
    smallest = 9

    def __init__(
        self,
        *,
        classes: Classes = 10,
        in_channels: Count = 3,
        width: Multiplier = 1.0,
        norm: NormKind = "batch",
        activation: ActivationKind = "gelu",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        first = 2 * in_channels * 2 * 2  # each direction of a patch of 2x2 pixels, and its opposite
        channels = [first, *(max(8, round(each * width)) for each in (64, 256, 256))]
        self.whiten = nn.Conv2d(in_channels, first, 2)
        self.activation = make_activation(activation)
        self.group1, self.group2, self.group3 = (
            Group(before, after, norm, activation) for before, after in pairwise(channels)
        )
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = make_head(channels[-1], classes)
        self.temperature = TEMPERATURE if classes else 1.0  # an embedding has none
        for group in (self.group1, self.group2, self.group3):
            begin_as_identity(group.conv1.weight)
            begin_as_identity(group.conv2.weight)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The three groups, at 1/2, 1/4 and 1/8."""
        half = self.group1(self.activation(self.whiten(x)))
        quarter = self.group2(half)
        return [half, quarter, self.group3(quarter)]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.head(self.dropout(self.pool(self.stages(x)[-1]).flatten(1))) / self.temperature


@torch.no_grad()
def begin_as_identity(weight: Tensor) -> None:
    """The first output channels pass the input channels on; K C 3 3."""
    nn.init.dirac_(weight[: weight.shape[1]])


# The paper: 1.97 M.
VARIANTS = {"airbench94": Variant(params=1_972_802, image_size=32, classes=10)}
