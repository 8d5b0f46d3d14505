"""EfficientNet and EfficientNetV2, scaled in width, depth and image size (Tan & Le 2019, 2021, arXiv:1905.11946).

The second version (arXiv:2104.00298) has full convolutions instead of depthwise ones where maps are large.
"""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal, NamedTuple

from torch import Tensor, nn

from netwright.core.options import Between
from netwright.models._family import Classes, Count, Family, Multiplier, Share, Variant
from netwright.nn.activation import ActivationKind
from netwright.nn.conv import Size, conv_norm, multiple_of_eight
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.init import keep_scale
from netwright.nn.maps import ends, maps_at
from netwright.nn.norm import NormKind
from netwright.nn.squeeze_excite import SqueezeExcite

Epsilon = Annotated[float, Between(0, 1)]


class Stage(NamedTuple):
    """A row of the papers' tables: blocks of one shape, the first of them with the stride."""

    expansion: int
    kernel_size: int
    stride: int
    channels: int
    blocks: int
    fused: bool = False


BASES = {
    "b0": (
        Stage(1, 3, 1, 16, 1),
        Stage(6, 3, 2, 24, 2),
        Stage(6, 5, 2, 40, 2),
        Stage(6, 3, 2, 80, 3),
        Stage(6, 5, 1, 112, 3),
        Stage(6, 5, 2, 192, 4),
        Stage(6, 3, 1, 320, 1),
    ),
    "v2_s": (
        Stage(1, 3, 1, 24, 2, fused=True),
        Stage(4, 3, 2, 48, 4, fused=True),
        Stage(4, 3, 2, 64, 4, fused=True),
        Stage(4, 3, 2, 128, 6),
        Stage(6, 3, 1, 160, 9),
        Stage(6, 3, 2, 256, 15),
    ),
    "v2_m": (
        Stage(1, 3, 1, 24, 3, fused=True),
        Stage(4, 3, 2, 48, 5, fused=True),
        Stage(4, 3, 2, 80, 5, fused=True),
        Stage(4, 3, 2, 160, 7),
        Stage(6, 3, 1, 176, 14),
        Stage(6, 3, 2, 304, 18),
        Stage(6, 3, 1, 512, 5),
    ),
    "v2_l": (
        Stage(1, 3, 1, 32, 4, fused=True),
        Stage(4, 3, 2, 64, 7, fused=True),
        Stage(4, 3, 2, 96, 7, fused=True),
        Stage(4, 3, 2, 192, 10),
        Stage(6, 3, 1, 224, 19),
        Stage(6, 3, 2, 384, 25),
        Stage(6, 3, 1, 640, 7),
    ),
}
STEMS = {"b0": 32, "v2_s": 24, "v2_m": 24, "v2_l": 32}
LAST = 1280


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common."""

    norm: NormKind
    activation: ActivationKind
    squeeze_excite: bool
    eps: float
    momentum: float

    def brick(
        self,
        in_channels: int,
        channels: int,
        kernel_size: Size,
        stride: int = 1,
        *,
        activated: bool = True,
        groups: int = 1,
    ) -> nn.Sequential:
        """Convolution, norm and, unless it ends a block, activation."""
        activation = self.activation if activated else None
        return conv_norm(
            in_channels,
            channels,
            kernel_size,
            stride,
            norm=self.norm,
            activation=activation,
            groups=groups,
            eps=self.eps,
            momentum=self.momentum,
        )


class Residual(nn.Module):
    """y = x + drop_path(block(x)), or block(x) alone."""

    def __init__(self, block: nn.Sequential, *, adds: bool, drop_path: float) -> None:
        super().__init__()
        self.block = block
        self.adds = adds
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        return x + self.drop_path(self.block(x)) if self.adds else self.block(x)


class EfficientNet(Family):
    """Stages of inverted residuals between two convolutions, submodules named as in torchvision.

    Args:
        base: the network that is scaled: the first version's smallest, or one of the second version's.
        width: multiplies the channels of every layer, rounded to multiples of eight.
        depth: multiplies the blocks of every stage, rounded up.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation but a block's last, and inside squeeze-and-excitation.
        skip: whether blocks add their input; without, none is dropped either.
        squeeze_excite: whether blocks with depthwise convolutions weigh their channels by squeeze-and-excitation.
        dropout: share of the pooled features that is dropped before the last layer.
        drop_path: probability with which training leaves out a block's branch, rising linearly from 0 to almost this.
        norm_eps: added to the variance by every norm.
        norm_momentum: share of the newest batch in the running statistics of batch normalisation.
    """

    head_name = "classifier.1"
    smallest = 32

    def __init__(
        self,
        *,
        base: Literal["b0", "v2_s", "v2_m", "v2_l"] = "b0",
        width: Multiplier = 1.0,
        depth: Multiplier = 1.0,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "silu",
        skip: bool = True,
        squeeze_excite: bool = True,
        dropout: Share = 0.2,
        drop_path: Share = 0.2,
        norm_eps: Epsilon = 1e-5,  # torchvision's up to b4; the authors have 1e-3 everywhere
        norm_momentum: Share = 0.1,
    ) -> None:
        super().__init__()
        style = Style(norm, activation, squeeze_excite, norm_eps, norm_momentum)
        stages = [scaled(stage, width, depth) for stage in BASES[base]]
        before, last = multiple_of_eight(STEMS[base] * width), multiple_of_eight(LAST * width)
        blocks, block = sum(stage.blocks for stage in stages), 0
        self.features = nn.Sequential(style.brick(in_channels, before, 3, 2))
        for stage in stages:
            made = nn.Sequential()
            for position in range(stage.blocks):
                stride = stage.stride if position == 0 else 1
                adds = skip and stride == 1 and before == stage.channels
                branch = make_branch(before, stage, stride, style)
                made.append(Residual(branch, adds=adds, drop_path=drop_path * block / blocks))
                before, block = stage.channels, block + 1
            self.features.append(made)
        self.features.append(style.brick(before, last, 1))
        self.ends = ends([2, *(stage.stride for stage in stages), 1])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), make_head(last, classes))
        self.apply(initialise)
        if norm == "none":
            self.apply(keep_scale)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last stage at 1/2, 1/4, 1/8 and 1/16, and the last convolution, at 1/32."""
        return maps_at(self.features, self.ends, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.classifier(self.avgpool(self.stages(x)[-1]).flatten(1))


def scaled(stage: Stage, width: float, depth: float) -> Stage:
    """A stage with more channels and blocks (the first paper's compound scaling)."""
    return stage._replace(channels=multiple_of_eight(stage.channels * width), blocks=ceil(stage.blocks * depth))


def make_branch(in_channels: int, stage: Stage, stride: int, style: Style) -> nn.Sequential:
    """A block without its sum. N C H W -> N channels H/stride W/stride."""
    make = fused_mbconv if stage.fused else mbconv
    return make(in_channels, stage, stride, style)


def mbconv(in_channels: int, stage: Stage, stride: int, style: Style) -> nn.Sequential:
    """1x1 to more channels, one kernel on each alone, a gate, 1x1 back (MobileNetV2's block with a gate)."""
    wide = in_channels * stage.expansion
    branch = nn.Sequential()
    if stage.expansion > 1:
        branch.append(style.brick(in_channels, wide, 1))
    branch.append(style.brick(wide, wide, stage.kernel_size, stride, groups=wide))
    if style.squeeze_excite:
        branch.append(SqueezeExcite(wide, max(1, in_channels // 4), activation=style.activation))
    return branch.append(style.brick(wide, stage.channels, 1, activated=False))


def fused_mbconv(in_channels: int, stage: Stage, stride: int, style: Style) -> nn.Sequential:
    """The same with one full convolution for the first two, and no gate; without expansion it is all there is."""
    wide = in_channels * stage.expansion
    if stage.expansion == 1:
        return nn.Sequential(style.brick(in_channels, stage.channels, stage.kernel_size, stride))
    return nn.Sequential(
        style.brick(in_channels, wide, stage.kernel_size, stride),
        style.brick(wide, stage.channels, 1, activated=False),
    )


def initialise(layer: nn.Module) -> None:
    """As torchvision: convolutions as He et al. 2015 by fan-out, the head uniform in ±1/sqrt(classes)."""
    match layer:
        case nn.Conv2d():
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        case nn.Linear():
            bound = layer.out_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound)
        case _:
            return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


# Image sizes are the papers'; torchvision's weights were trained and measured at others (288 pixels for b2).
AUTHORS_NORM = {"norm_eps": 1e-3, "norm_momentum": 0.01}
VARIANTS = {
    "efficientnet_b0": Variant(params=5_288_548, reference="torchvision/efficientnet_b0"),
    "efficientnet_b1": Variant(
        params=7_794_184, options={"depth": 1.1}, image_size=240, reference="torchvision/efficientnet_b1"
    ),
    "efficientnet_b2": Variant(
        params=9_109_994,
        options={"width": 1.1, "depth": 1.2, "dropout": 0.3},
        image_size=260,
        reference="torchvision/efficientnet_b2",
    ),
    "efficientnet_b3": Variant(
        params=12_233_232,
        options={"width": 1.2, "depth": 1.4, "dropout": 0.3},
        image_size=300,
        reference="torchvision/efficientnet_b3",
    ),
    "efficientnet_b4": Variant(
        params=19_341_616,
        options={"width": 1.4, "depth": 1.8, "dropout": 0.4},
        image_size=380,
        reference="torchvision/efficientnet_b4",
    ),
    "efficientnet_b5": Variant(
        params=30_389_784,
        options={"width": 1.6, "depth": 2.2, "dropout": 0.4, **AUTHORS_NORM},
        image_size=456,
        reference="torchvision/efficientnet_b5",
    ),
    "efficientnet_b6": Variant(
        params=43_040_704,
        options={"width": 1.8, "depth": 2.6, "dropout": 0.5, **AUTHORS_NORM},
        image_size=528,
        reference="torchvision/efficientnet_b6",
    ),
    "efficientnet_b7": Variant(
        params=66_347_960,
        options={"width": 2.0, "depth": 3.1, "dropout": 0.5, **AUTHORS_NORM},
        image_size=600,
        reference="torchvision/efficientnet_b7",
    ),
    "efficientnet_v2_s": Variant(
        params=21_458_488,
        options={"base": "v2_s", "norm_eps": 1e-3},
        image_size=384,
        reference="torchvision/efficientnet_v2_s",
    ),
    "efficientnet_v2_m": Variant(
        params=54_139_356,
        options={"base": "v2_m", "dropout": 0.3, "norm_eps": 1e-3},
        image_size=480,
        reference="torchvision/efficientnet_v2_m",
    ),
    "efficientnet_v2_l": Variant(
        params=118_515_272,
        options={"base": "v2_l", "dropout": 0.4, "norm_eps": 1e-3},
        image_size=480,
        reference="torchvision/efficientnet_v2_l",
    ),
}
