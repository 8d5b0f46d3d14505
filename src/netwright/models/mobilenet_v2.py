"""MobileNetV2, inverted residuals with linear bottlenecks (Sandler et al. 2018, arXiv:1801.04381)."""

from dataclasses import dataclass

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Multiplier, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv, conv_norm, multiple_of_eight
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.init import keep_scale
from netwright.nn.maps import ends, maps_at
from netwright.nn.norm import NormKind, make_norm

# Table 2: channels, blocks and first stride at each step; the first step does not expand.
STEPS = ((16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common."""

    norm: NormKind
    activation: ActivationKind
    skip: bool
    linear: bool


class InvertedResidual(nn.Module):
    """y = x + branch(x) where shapes agree: 1x1 to many channels, 3x3 on each alone, 1x1 back to few."""

    def __init__(self, in_channels: int, channels: int, stride: int, expansion: int, style: Style) -> None:
        super().__init__()
        norm, activation = style.norm, style.activation
        wide = in_channels * expansion
        self.conv = nn.Sequential()
        if expansion > 1:
            self.conv.append(conv_norm(in_channels, wide, 1, norm=norm, activation=activation))
        self.conv.append(conv_norm(wide, wide, 3, stride, norm=norm, activation=activation, groups=wide))
        self.conv.extend([conv(wide, channels, 1, norm=norm), make_norm(norm, channels)])
        if not style.linear:
            self.conv.append(make_activation(activation))
        self.adds = style.skip and stride == 1 and in_channels == channels
        self.drop_path = DropPath() if self.adds else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        return x + self.drop_path(self.conv(x)) if self.adds else self.conv(x)


class MobileNetV2(Family):
    """A stack of inverted residuals between two convolutions, submodules named as in torchvision.

    Args:
        width: multiplies the channels of every layer, rounded to multiples of eight; below 1, the last keeps its 1280.
        expansion: how many times more channels a block has inside.
        linear: whether blocks end without an activation, which would lose information where channels are few.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation but a block's last.
        skip: whether blocks add their input.
        dropout: share of the pooled features that is dropped before the last layer.
    """

    head_name = "classifier.1"
    smallest = 32

    def __init__(
        self,
        *,
        width: Multiplier = 1.0,
        expansion: Count = 6,
        linear: bool = True,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu6",
        skip: bool = True,
        dropout: Share = 0.2,
    ) -> None:
        super().__init__()
        style = Style(norm, activation, skip, linear)
        before, last = multiple_of_eight(32 * width), multiple_of_eight(1280 * max(1.0, width))
        strides = [2]
        self.features = nn.Sequential(conv_norm(in_channels, before, 3, 2, norm=norm, activation=activation))
        for step, (base, blocks, first_stride) in enumerate(STEPS):
            channels = multiple_of_eight(base * width)
            for position in range(blocks):
                strides.append(first_stride if position == 0 else 1)
                block = InvertedResidual(before, channels, strides[-1], expansion if step else 1, style)
                self.features.append(block)
                before = channels
        self.features.append(conv_norm(before, last, 1, norm=norm, activation=activation))
        self.ends = ends([*strides, 1])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), make_head(last, classes))
        self.apply(initialise)
        if norm == "none":
            self.apply(keep_scale)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last block at 1/2, 1/4, 1/8 and 1/16, and the last convolution, at 1/32."""
        return maps_at(self.features, self.ends, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.classifier(self.avgpool(self.stages(x)[-1]).flatten(1))


def initialise(layer: nn.Module) -> None:
    """As torchvision: convolutions as He et al. 2015 by fan-out, linear layers a narrow normal, no bias to begin with.

    torch's fan-out of a depthwise convolution is that of all its channels, so that these start small.
    """
    match layer:
        case nn.Conv2d():
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        case nn.Linear():
            nn.init.normal_(layer.weight, std=0.01)
        case _:
            return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


VARIANTS = {"mobilenet_v2": Variant(params=3_504_872, reference="torchvision/mobilenet_v2")}
