"""Inception-v4, uniform modules at each resolution (Szegedy, Ioffe, Vanhoucke & Alemi 2016, arXiv:1602.07261)."""

from functools import partial

import torch
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.googlenet import Branches, Brick
from netwright.nn.activation import ActivationKind
from netwright.nn.conv import ConvNorm
from netwright.nn.head import make_head
from netwright.nn.maps import maps_at
from netwright.nn.norm import NormKind


class InceptionC(nn.Module):
    """Figure 6, for 8x8 maps: two of the four branches end in a 1x3 and a 3x1 side by side."""

    def __init__(self, brick: Brick) -> None:
        super().__init__()
        self.branch0 = brick(1536, 256, 1)
        self.branch1_0 = brick(1536, 384, 1)
        self.branch1_1a = brick(384, 256, (1, 3))
        self.branch1_1b = brick(384, 256, (3, 1))
        self.branch2_0 = brick(1536, 384, 1)
        self.branch2_1 = brick(384, 448, (3, 1))
        self.branch2_2 = brick(448, 512, (1, 3))
        self.branch2_3a = brick(512, 256, (1, 3))
        self.branch2_3b = brick(512, 256, (3, 1))
        self.branch3 = nn.Sequential(neighbourhood(), brick(1536, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        """N 1536 H W -> N 1536 H W."""
        y = self.branch1_0(x)
        single = [self.branch1_1a(y), self.branch1_1b(y)]
        y = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        double = [self.branch2_3a(y), self.branch2_3b(y)]
        return torch.cat([self.branch0(x), *single, *double, self.branch3(x)], 1)


class InceptionV4(Family):
    """A branching stem without padding, then alike modules for 35x35, 17x17 and 8x8 maps.

    Args:
        modules: how many for 35x35, 17x17 and 8x8 maps.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        dropout: share of the pooled features that is dropped before `last_linear`.
    """

    head_name = "last_linear"
    smallest = 75

    def __init__(
        self,
        *,
        modules: tuple[Count, Count, Count] = (4, 7, 3),
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        dropout: Share = 0.2,
    ) -> None:
        super().__init__()
        brick = partial(ConvNorm, norm=norm, activation=activation)
        many_a, many_b, many_c = modules
        half = [brick(in_channels, 32, 3, 2, padding=0), brick(32, 32, 3, padding=0), brick(32, 64, 3)]
        quarter = [mixed_3a(brick), mixed_4a(brick)]
        eighth = [mixed_5a(brick), *(inception_a(brick) for _ in range(many_a))]
        sixteenth = [reduction_a(384, (192, 224, 256, 384), brick), *(inception_b(brick) for _ in range(many_b))]
        last = [reduction_b(brick), *(InceptionC(brick) for _ in range(many_c))]
        parts = [half, quarter, eighth, sixteenth, last]
        self.features = nn.Sequential(*(layer for part in parts for layer in part))
        self.ends = [sum(map(len, parts[: number + 1])) - 1 for number in range(len(parts))]
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = make_head(1536, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each part's last map: 147x147, 71x71, 35x35, 17x17 and 8x8 for a 299x299 image."""
        return maps_at(self.features, self.ends, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1]).flatten(1)
        return self.last_linear(self.dropout(x))


def neighbourhood() -> nn.AvgPool2d:
    """The mean of each pixel and those of its eight neighbours that are there."""
    return nn.AvgPool2d(3, 1, 1, count_include_pad=False)


def mixed_3a(brick: Brick) -> Branches:
    """N 64 147 147 -> N 160 73 73."""
    return Branches({"maxpool": nn.MaxPool2d(3, 2), "conv": brick(64, 96, 3, 2, padding=0)})


def mixed_4a(brick: Brick) -> Branches:
    """N 160 73 73 -> N 192 71 71."""
    return Branches(
        {
            "branch0": nn.Sequential(brick(160, 64, 1), brick(64, 96, 3, padding=0)),
            "branch1": nn.Sequential(
                brick(160, 64, 1), brick(64, 64, (1, 7)), brick(64, 64, (7, 1)), brick(64, 96, 3, padding=0)
            ),
        }
    )


def mixed_5a(brick: Brick) -> Branches:
    """N 192 71 71 -> N 384 35 35."""
    return Branches({"conv": brick(192, 192, 3, 2, padding=0), "maxpool": nn.MaxPool2d(3, 2)})


def inception_a(brick: Brick) -> Branches:
    """Figure 4: N 384 35 35 -> N 384 35 35."""
    return Branches(
        {
            "branch0": brick(384, 96, 1),
            "branch1": nn.Sequential(brick(384, 64, 1), brick(64, 96, 3)),
            "branch2": nn.Sequential(brick(384, 64, 1), brick(64, 96, 3), brick(96, 96, 3)),
            "branch3": nn.Sequential(neighbourhood(), brick(384, 96, 1)),
        }
    )


def reduction_a(in_channels: int, widths: tuple[int, int, int, int], brick: Brick) -> Branches:
    """Figure 7, with table 1's k, l, m and n: N C 35 35 -> N C+m+n 17 17."""
    squeezed, middle, deep, wide = widths  # k, l, m and n
    threefold = brick(in_channels, squeezed, 1), brick(squeezed, middle, 3), brick(middle, deep, 3, 2, padding=0)
    return Branches(
        {
            "branch0": brick(in_channels, wide, 3, 2, padding=0),
            "branch1": nn.Sequential(*threefold),
            "branch2": nn.MaxPool2d(3, 2),
        }
    )


def inception_b(brick: Brick) -> Branches:
    """Figure 5: N 1024 17 17 -> N 1024 17 17."""
    single = [brick(1024, 192, 1), brick(192, 224, (1, 7)), brick(224, 256, (7, 1))]
    double = [brick(1024, 192, 1), brick(192, 192, (7, 1)), brick(192, 224, (1, 7))]
    double += [brick(224, 224, (7, 1)), brick(224, 256, (1, 7))]
    return Branches(
        {
            "branch0": brick(1024, 384, 1),
            "branch1": nn.Sequential(*single),
            "branch2": nn.Sequential(*double),
            "branch3": nn.Sequential(neighbourhood(), brick(1024, 128, 1)),
        }
    )


def reduction_b(brick: Brick) -> Branches:
    """Figure 8: N 1024 17 17 -> N 1536 8 8."""
    factorised = [brick(1024, 256, 1), brick(256, 256, (1, 7)), brick(256, 320, (7, 1))]
    return Branches(
        {
            "branch0": nn.Sequential(brick(1024, 192, 1), brick(192, 192, 3, 2, padding=0)),
            "branch1": nn.Sequential(*factorised, brick(320, 320, 3, 2, padding=0)),
            "branch2": nn.MaxPool2d(3, 2),
        }
    )


def initialise(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852), as the authors' published code; timm has torch's defaults."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


VARIANTS = {"inception_v4": Variant(params=42_679_816, image_size=299, reference="timm/inception_v4")}
