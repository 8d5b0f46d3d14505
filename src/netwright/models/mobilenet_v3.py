"""MobileNetV3, found by search for phones, with gates and hard swish (Howard et al. 2019, arXiv:1905.02244)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Multiplier, Share, Variant
from netwright.models.mobilenet_v2 import initialise
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import Size, conv_norm, multiple_of_eight
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.init import keep_scale
from netwright.nn.maps import ends, maps_at
from netwright.nn.norm import NormKind
from netwright.nn.squeeze_excite import SqueezeExcite


class Row(NamedTuple):
    """A row of the paper's tables 1 and 2, one block."""

    kernel_size: int
    wide: int
    channels: int
    gated: bool
    deep: bool
    stride: int


LARGE = (
    Row(3, 16, 16, gated=False, deep=False, stride=1),
    Row(3, 64, 24, gated=False, deep=False, stride=2),
    Row(3, 72, 24, gated=False, deep=False, stride=1),
    Row(5, 72, 40, gated=True, deep=False, stride=2),
    Row(5, 120, 40, gated=True, deep=False, stride=1),
    Row(5, 120, 40, gated=True, deep=False, stride=1),
    Row(3, 240, 80, gated=False, deep=True, stride=2),
    Row(3, 200, 80, gated=False, deep=True, stride=1),
    Row(3, 184, 80, gated=False, deep=True, stride=1),
    Row(3, 184, 80, gated=False, deep=True, stride=1),
    Row(3, 480, 112, gated=True, deep=True, stride=1),
    Row(3, 672, 112, gated=True, deep=True, stride=1),
    Row(5, 672, 160, gated=True, deep=True, stride=2),
    Row(5, 960, 160, gated=True, deep=True, stride=1),
    Row(5, 960, 160, gated=True, deep=True, stride=1),
)
SMALL = (
    Row(3, 16, 16, gated=True, deep=False, stride=2),
    Row(3, 72, 24, gated=False, deep=False, stride=2),
    Row(3, 88, 24, gated=False, deep=False, stride=1),
    Row(5, 96, 40, gated=True, deep=True, stride=2),
    Row(5, 240, 40, gated=True, deep=True, stride=1),
    Row(5, 240, 40, gated=True, deep=True, stride=1),
    Row(5, 120, 48, gated=True, deep=True, stride=1),
    Row(5, 144, 48, gated=True, deep=True, stride=1),
    Row(5, 288, 96, gated=True, deep=True, stride=2),
    Row(5, 576, 96, gated=True, deep=True, stride=1),
    Row(5, 576, 96, gated=True, deep=True, stride=1),
)
FEATURES = {"large": 1280, "small": 1024}


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common."""

    norm: NormKind
    activation: ActivationKind
    shallow_activation: ActivationKind
    skip: bool
    squeeze_excite: bool

    def brick(
        self,
        in_channels: int,
        channels: int,
        kernel_size: Size,
        stride: int = 1,
        *,
        activation: ActivationKind | None,
        groups: int = 1,
    ) -> nn.Sequential:
        """Convolution, norm and activation, the norm's constants those of torchvision."""
        return conv_norm(
            in_channels,
            channels,
            kernel_size,
            stride,
            norm=self.norm,
            activation=activation,
            groups=groups,
            eps=1e-3,
            momentum=0.01,
        )


class InvertedResidual(nn.Module):
    """y = x + branch(x) where shapes agree: 1x1 to more channels, one kernel on each alone, a gate, 1x1 back."""

    def __init__(self, in_channels: int, wide: int, channels: int, row: Row, style: Style) -> None:
        super().__init__()
        activation = style.activation if row.deep else style.shallow_activation
        self.block = nn.Sequential()
        if wide != in_channels:
            self.block.append(style.brick(in_channels, wide, 1, activation=activation))
        self.block.append(style.brick(wide, wide, row.kernel_size, row.stride, activation=activation, groups=wide))
        if row.gated and style.squeeze_excite:
            self.block.append(SqueezeExcite(wide, multiple_of_eight(wide // 4), gate="hardsigmoid"))
        self.block.append(style.brick(wide, channels, 1, activation=None))
        self.adds = style.skip and row.stride == 1 and in_channels == channels
        self.drop_path = DropPath() if self.adds else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        return x + self.drop_path(self.block(x)) if self.adds else self.block(x)


class MobileNetV3(Family):
    """A stack of inverted residuals between two convolutions, submodules named as in torchvision.

    Args:
        size: which of the paper's two networks.
        width: multiplies the channels of every layer, rounded to multiples of eight; below 1, not the last's.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: in the stem, and from 1/16 of the resolution on.
        shallow_activation: in the blocks between, where maps are large and a costly activation is felt.
        skip: whether blocks add their input.
        squeeze_excite: whether the blocks that the paper chose weigh their channels by squeeze-and-excitation.
        dropout: share of the features that is dropped before the last layer.
    """

    head_name = "classifier.3"
    smallest = 32

    def __init__(
        self,
        *,
        size: Literal["small", "large"] = "large",
        width: Multiplier = 1.0,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "hardswish",
        shallow_activation: ActivationKind = "relu",
        skip: bool = True,
        squeeze_excite: bool = True,
        dropout: Share = 0.2,
    ) -> None:
        super().__init__()
        rows = LARGE if size == "large" else SMALL
        style = Style(norm, activation, shallow_activation, skip, squeeze_excite)
        nominal, before = 16, multiple_of_eight(16 * width)
        features = multiple_of_eight(FEATURES[size] * max(1.0, width))
        self.features = nn.Sequential(style.brick(in_channels, before, 3, 2, activation=activation))
        for row in rows:
            wide = multiple_of_eight(row.wide / nominal * before)  # as the authors; torchvision has row.wide * width
            channels = multiple_of_eight(row.channels * width)
            self.features.append(InvertedResidual(before, wide, channels, row, style))
            nominal, before = row.channels, channels
        self.features.append(style.brick(before, 6 * before, 1, activation=activation))
        self.ends = ends([2, *(row.stride for row in rows), 1])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * before, features),
            make_activation(activation),
            nn.Dropout(dropout),
            make_head(features, classes),
        )
        self.apply(initialise)
        if norm == "none":
            self.apply(keep_scale)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The stem or last block at 1/2, the last block at 1/4, 1/8 and 1/16, and the last convolution, at 1/32."""
        return maps_at(self.features, self.ends, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.classifier(self.avgpool(self.stages(x)[-1]).flatten(1))


VARIANTS = {
    "mobilenet_v3_large": Variant(
        params=5_483_032, options={"size": "large"}, reference="torchvision/mobilenet_v3_large"
    ),
    "mobilenet_v3_small": Variant(
        params=2_542_856, options={"size": "small"}, reference="torchvision/mobilenet_v3_small"
    ),
}
