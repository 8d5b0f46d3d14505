"""Densely connected networks (Huang, Liu, van der Maaten & Weinberger 2016, arXiv:1608.06993)."""

from typing import Literal

import torch
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant, refuse_layers
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm

BOTTLENECK = 4  # channels of the 1x1 convolution in a layer, in growth rates: the paper's choice everywhere


class DenseLayer(nn.Module):
    """H(x) = convolution(activation(norm(x))), 3x3, of all the maps so far; it makes `growth` new ones."""

    def __init__(
        self, in_channels: int, growth: int, *, norm: NormKind, activation: ActivationKind, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, in_channels)
        self.conv1 = conv(in_channels, growth, 3, norm=norm)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N growth H W."""
        return self.dropout(self.conv1(self.activation(self.norm1(x))))


class BottleneckLayer(nn.Module):
    """As the dense layer, with a 1x1 convolution to four times `growth` before: the B of DenseNet-BC."""

    def __init__(
        self, in_channels: int, growth: int, *, norm: NormKind, activation: ActivationKind, dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, in_channels)
        self.conv1 = conv(in_channels, BOTTLENECK * growth, 1, norm=norm)
        self.norm2 = make_norm(norm, BOTTLENECK * growth)
        self.conv2 = conv(BOTTLENECK * growth, growth, 3, norm=norm)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N growth H W."""
        y = self.dropout(self.conv1(self.activation(self.norm1(x))))
        return self.dropout(self.conv2(self.activation(self.norm2(y))))


class DenseBlock(nn.ModuleDict):
    """x_l = H_l([x_0, x_1, …, x_{l-1}]): each layer sees the input and what all the layers before it made."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C+layers·growth H W."""
        for layer in self.values():
            x = torch.cat([x, layer(x)], 1)
        return x


class Transition(nn.Module):
    """A 1x1 convolution and the mean of each 2x2 square, between two blocks."""

    def __init__(
        self, in_channels: int, channels: int, *, norm: NormKind, activation: ActivationKind, dropout: float
    ) -> None:
        super().__init__()
        self.norm = make_norm(norm, in_channels)
        self.activation = make_activation(activation)
        self.conv = conv(in_channels, channels, 1, norm=norm)
        self.dropout = nn.Dropout(dropout)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/2 W/2."""
        return self.pool(self.dropout(self.conv(self.activation(self.norm(x)))))


class DenseNet(Family):
    """A densely connected network; the paper's for ImageNet by default, with `stem="cifar"` one for small images.

    Args:
        growth: k, the maps that each layer adds.
        layers: dense layers in each block.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation before each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        bottleneck: whether a 1x1 convolution to 4·growth maps comes before each 3x3.
        compression: θ, the share of the maps that a transition keeps; it keeps one at least.
        stem: 7x7 of stride 2 and max-pooling, or one 3x3 of stride 1 for images of 32 to 64 pixels.
        stem_channels: maps that the stem makes.
        dropout: share dropped after each convolution but the first; 0.2 in the paper where images are not augmented.
    """

    head_name = "classifier"

    def __init__(
        self,
        *,
        growth: Count = 32,
        layers: tuple[int, ...] = (6, 12, 24, 16),
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        bottleneck: bool = True,
        compression: Share = 0.5,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        stem_channels: Count = 64,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        refuse_layers(layers, (6, 12, 24, 16))
        make_layer = BottleneckLayer if bottleneck else DenseLayer
        small = stem == "cifar"
        self.stem = stem
        self.blocks = len(layers)
        self.smallest = 2 ** (self.blocks - 1) if small else 2 ** (self.blocks + 1) - 3
        self.features = nn.ModuleDict()
        self.features["conv0"] = conv(in_channels, stem_channels, 3 if small else 7, 1 if small else 2, norm=norm)
        if not small:
            self.features["norm0"] = make_norm(norm, stem_channels)
            self.features["pool0"] = nn.MaxPool2d(3, 2, 1)
        width = stem_channels
        for number, count in enumerate(layers, 1):
            block = DenseBlock()
            for position in range(1, count + 1):
                layer = make_layer(width, growth, norm=norm, activation=activation, dropout=dropout)
                block[f"denselayer{position}"] = layer
                width += growth
            self.features[f"denseblock{number}"] = block
            if number < self.blocks:
                kept = max(1, int(compression * width))
                transition = Transition(width, kept, norm=norm, activation=activation, dropout=dropout)
                self.features[f"transition{number}"] = transition
                width = kept
        self.features[f"norm{self.blocks + 1}"] = make_norm(norm, width)
        self.activation = make_activation(activation)
        self.classifier = make_head(width, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The stem at 1/2 and each block at 1/4, 1/8, …; with the small stem, each block at 1/1, 1/2, ….

        The last one is normalised and activated, as the head wants it.
        """
        x = self.features["conv0"](x)
        maps: list[Tensor] = []
        if self.stem == "imagenet":
            x = self.activation(self.features["norm0"](x))
            maps.append(x)
            x = self.features["pool0"](x)
        for number in range(1, self.blocks + 1):
            x = self.features[f"denseblock{number}"](x)
            maps.append(x)
            if number < self.blocks:
                x = self.features[f"transition{number}"](x)
        maps[-1] = self.activation(self.features[f"norm{self.blocks + 1}"](x))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.classifier(self.stages(x)[-1].mean((2, 3)))


def initialise(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852), which the paper adopts; no bias to begin with."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


# The small ones are the paper's for CIFAR (table 2, which rounds: 1.0, 7.0, 27.2, 0.8, 15.3 and 25.6 M); their names
# count all layers: three blocks of n layers and two transitions, stem and head, so 3n + 4, or 6n + 4 with bottlenecks.
PLAIN = {"bottleneck": False, "compression": 1.0, "stem": "cifar", "stem_channels": 16}
COMPACT = {"stem": "cifar"}

VARIANTS = {
    "densenet121": Variant(params=7_978_856, reference="torchvision/densenet121"),
    "densenet161": Variant(
        params=28_681_000,
        options={"growth": 48, "layers": (6, 12, 36, 24), "stem_channels": 96},
        reference="torchvision/densenet161",
    ),
    "densenet169": Variant(params=14_149_480, options={"layers": (6, 12, 32, 32)}, reference="torchvision/densenet169"),
    "densenet201": Variant(params=20_013_928, options={"layers": (6, 12, 48, 32)}, reference="torchvision/densenet201"),
    "densenet40_k12": Variant(
        params=1_019_722, options={**PLAIN, "growth": 12, "layers": (12, 12, 12)}, image_size=32, classes=10
    ),
    "densenet100_k12": Variant(
        params=6_979_642, options={**PLAIN, "growth": 12, "layers": (32, 32, 32)}, image_size=32, classes=10
    ),
    "densenet100_k24": Variant(
        params=27_249_082, options={**PLAIN, "growth": 24, "layers": (32, 32, 32)}, image_size=32, classes=10
    ),
    "densenetbc100_k12": Variant(
        params=769_162,
        options={**COMPACT, "growth": 12, "layers": (16, 16, 16), "stem_channels": 24},
        image_size=32,
        classes=10,
    ),
    "densenetbc250_k24": Variant(
        params=15_324_406,
        options={**COMPACT, "growth": 24, "layers": (41, 41, 41), "stem_channels": 48},
        image_size=32,
        classes=10,
    ),
    "densenetbc190_k40": Variant(
        params=25_624_430,
        options={**COMPACT, "growth": 40, "layers": (31, 31, 31), "stem_channels": 80},
        image_size=32,
        classes=10,
    ),
}
