"""SqueezeNet, AlexNet's accuracy in a fiftieth of its size (Iandola et al. 2016, arXiv:1602.07360)."""

from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv, conv_layers
from netwright.nn.maps import maps_of
from netwright.nn.norm import NormKind, make_norm

Proportion = Annotated[float, Between(0.01, 0.99)]


class Fire(nn.Module):
    """y = [expand1x1(s), expand3x3(s)] with s = squeeze(x), each activated; with a skip, x + y."""

    def __init__(
        self,
        in_channels: int,
        squeezed: int,
        channels1x1: int,
        channels3x3: int,
        *,
        norm: NormKind,
        activation: ActivationKind,
        skip: bool,
    ) -> None:
        super().__init__()
        self.squeeze = conv(in_channels, squeezed, 1, norm=norm)
        self.squeeze_norm = make_norm(norm, squeezed)
        self.expand1x1 = conv(squeezed, channels1x1, 1, norm=norm)
        self.expand3x3 = conv(squeezed, channels3x3, 3, norm=norm)
        self.expand_norm = make_norm(norm, channels1x1 + channels3x3)
        self.activation = make_activation(activation)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels1x1+channels3x3 H W."""
        s = self.activation(self.squeeze_norm(self.squeeze(x)))
        y = torch.cat([self.expand1x1(s), self.expand3x3(s)], 1)
        y = self.activation(self.expand_norm(y))
        return x + y if self.skip else y


class Layout(NamedTuple):
    """What the two versions differ in: the stem, and the fire modules that pooling follows."""

    channels: int
    kernel_size: int
    pooled: tuple[int, ...]
    smallest: int


LAYOUTS = {
    "1.0": Layout(channels=96, kernel_size=7, pooled=(4, 8), smallest=21),
    "1.1": Layout(channels=64, kernel_size=3, pooled=(3, 5), smallest=17),
}


class SqueezeNet(Family):
    """Eight fire modules between two convolutions, submodules named as in torchvision.

    Args:
        version: 1.0 is the paper's; 1.1, the authors' own revision, computes less than half as much.
        classes: number of class scores.
        in_channels: channels of the images.
        squeeze_ratio: channels of a squeeze layer for each channel of the expand layers after it.
        share_3x3: share of the expand layers' channels that are 3x3 convolutions, the others being 1x1.
        norm: normalisation after each convolution but the last; with none, convolutions get a bias.
        activation: after each convolution but the last.
        skip: whether fire modules that keep the number of channels add their input, the paper's "simple bypass".
        rectify_scores: whether scores are rectified before they are averaged, as in the paper; classes whose scores
            are negative everywhere then no longer learn, which can stop all of them where there are few.
        dropout: share of the last map that is dropped before the last convolution.
    """

    head_name = "classifier.1"

    def __init__(
        self,
        *,
        version: Literal["1.0", "1.1"] = "1.0",
        classes: Classes = 1000,
        in_channels: Count = 3,
        squeeze_ratio: Proportion = 0.125,
        share_3x3: Proportion = 0.5,
        norm: NormKind = "none",
        activation: ActivationKind = "relu",
        skip: bool = False,
        rectify_scores: bool = True,
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        layout = LAYOUTS[version]
        self.smallest = layout.smallest
        channels = layout.channels
        stem = conv_layers(in_channels, channels, layout.kernel_size, 2, norm=norm, activation=activation, padding=0)
        self.features = nn.Sequential(*stem, nn.MaxPool2d(3, 2, ceil_mode=True))
        for number in range(2, 10):  # the stem is the paper's first layer
            before, channels = channels, 128 * (number // 2)
            widths = fire_widths(channels, squeeze_ratio, share_3x3)
            bypass = skip and before == channels
            self.features.append(Fire(before, *widths, norm=norm, activation=activation, skip=bypass))
            if number in layout.pooled:
                self.features.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.apply(initialise)
        head = scoring_convolution(channels, classes)
        rectifier = nn.ReLU() if classes and rectify_scores else nn.Identity()
        self.classifier = nn.Sequential(nn.Dropout(dropout), head, rectifier, nn.AdaptiveAvgPool2d(1))

    def maps(self, x: Tensor) -> list[Tensor]:
        """What precedes each pooling, a little under 1/2, 1/4 and 1/8, and the last fire module, at 1/16."""
        return maps_of(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.stages(x)[-1]
        return self.classifier(x).flatten(1)  # N 512 h w -> N K


def fire_widths(channels: int, squeeze_ratio: float, share_3x3: float) -> tuple[int, int, int]:
    """Channels of a fire module's squeeze, 1x1 and 3x3 convolutions (section 5.1)."""
    channels3x3 = round(share_3x3 * channels)
    return round(squeeze_ratio * channels), channels - channels3x3, channels3x3


def scoring_convolution(channels: int, classes: int) -> nn.Module:
    """A 1x1 convolution from features to class scores at each place; without classes, nothing."""
    if not classes:
        return nn.Identity()
    head = nn.Conv2d(channels, classes, 1)
    initialise(head)
    nn.init.normal_(head.weight, std=0.01)
    return head


def initialise(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852), drawn uniformly as in torchvision; no bias to begin with."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


VARIANTS = {
    "squeezenet1_0": Variant(params=1_248_424, reference="torchvision/squeezenet1_0"),
    "squeezenet1_1": Variant(params=1_235_496, options={"version": "1.1"}, reference="torchvision/squeezenet1_1"),
}
