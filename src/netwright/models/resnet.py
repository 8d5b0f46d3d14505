"""Residual networks (He, Zhang, Ren & Sun 2015, arXiv:1512.03385), submodules named as in torchvision.

With bottlenecks in groups they are ResNeXt (Xie, Girshick, Dollár, Tu & He 2016, arXiv:1611.05431), with wider ones the
wide residual networks for large images (Zagoruyko & Komodakis 2016, arXiv:1605.07146).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models._family import Classes, Count, Family, Share, Variant, refuse_layers
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common; the last two shape the 3x3 convolution of bottlenecks."""

    norm: NormKind
    activation: ActivationKind
    groups: int = 1
    width_per_group: int = 64

    def width(self, channels: int) -> int:
        """Channels of a bottleneck's 3x3 convolution; `width_per_group` is meant where `channels` is 64."""
        return self.groups * (channels * self.width_per_group // 64)


class BasicBlock(nn.Module):
    """y = activation(branch(x) + shortcut(x)), the branch two 3x3 convolutions; without a shortcut, no sum."""

    expansion = 1
    downsample: nn.Module | None

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None, style: Style) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride, norm=style.norm)
        self.bn1 = make_norm(style.norm, channels)
        self.conv2 = conv(channels, channels, 3, 1, norm=style.norm)
        self.bn2 = make_norm(style.norm, channels)
        self.activation = make_activation(style.activation, inplace=True)
        self.drop_path = nn.Identity() if shortcut is None else DropPath()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        y = self.activation(self.bn1(self.conv1(x)))
        y = self.drop_path(self.bn2(self.conv2(y)))
        if self.downsample is not None:
            y += self.downsample(x)
        return self.activation(y)

    def zero_branch(self) -> None:
        """Make the block start as its shortcut (Goyal et al. 2017, arXiv:1706.02677)."""
        zero(self.bn2, self.conv2)


class Bottleneck(nn.Module):
    """As the basic block, the branch 1x1, 3x3, 1x1; the stride is on the 3x3, as in torchvision (ResNet v1.5)."""

    expansion = 4
    downsample: nn.Module | None

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None, style: Style) -> None:
        super().__init__()
        norm, width, expanded = style.norm, style.width(channels), channels * self.expansion
        self.conv1 = conv(in_channels, width, 1, 1, norm=norm)
        self.bn1 = make_norm(norm, width)
        self.conv2 = conv(width, width, 3, stride, norm=norm, groups=style.groups)
        self.bn2 = make_norm(norm, width)
        self.conv3 = conv(width, expanded, 1, 1, norm=norm)
        self.bn3 = make_norm(norm, expanded)
        self.activation = make_activation(style.activation, inplace=True)
        self.drop_path = nn.Identity() if shortcut is None else DropPath()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 4·channels H/stride W/stride."""
        y = self.activation(self.bn1(self.conv1(x)))
        y = self.activation(self.bn2(self.conv2(y)))
        y = self.drop_path(self.bn3(self.conv3(y)))
        if self.downsample is not None:
            y += self.downsample(x)
        return self.activation(y)

    def zero_branch(self) -> None:
        """Make the block start as its shortcut (Goyal et al. 2017, arXiv:1706.02677)."""
        zero(self.bn3, self.conv3)


class ResNet(Family):
    """A residual network for large images, or with `stem="cifar"` for small ones.

    Args:
        block: two 3x3 convolutions, or the bottleneck of three.
        layers: blocks at each resolution.
        groups: into which the 3x3 convolutions of bottlenecks are cut, ResNeXt's cardinality.
        width_per_group: channels of each group in the first layer's bottlenecks.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation and each sum.
        skip: whether blocks add their input; without, the network is the paper's "plain" one.
        zero_init_residual: whether each block starts as its shortcut.
        dropout: share of the pooled features that is dropped before `fc`.
        stem: 7x7 of stride 2 and max-pooling, or one 3x3 of stride 1 for images of 32 to 64 pixels.
    """

    head_name = "fc"

    def __init__(
        self,
        *,
        block: Literal["basic", "bottleneck"] = "basic",
        layers: tuple[int, ...] = (2, 2, 2, 2),
        groups: Count = 1,
        width_per_group: Count = 64,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        zero_init_residual: bool = False,
        dropout: Share = 0.0,
        stem: Literal["imagenet", "cifar"] = "imagenet",
    ) -> None:
        super().__init__()
        style = Style(norm, activation, groups, width_per_group)
        refuse_layers(layers, (2, 2, 2, 2))
        refuse_nonsense(block, style, skip, zero_init_residual)
        make_block = BasicBlock if block == "basic" else Bottleneck
        small = stem == "cifar"
        self.stem = stem
        self.smallest = 2 ** (len(layers) - 1) * (1 if small else 4)
        self.conv1 = conv(in_channels, 64, 3 if small else 7, 1 if small else 2, norm=norm)
        self.bn1 = make_norm(norm, 64)
        self.activation = make_activation(activation, inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.layer_names = [f"layer{number}" for number in range(1, len(layers) + 1)]
        width = 64
        for index, name in enumerate(self.layer_names):
            blocks = nn.Sequential()
            for position in range(layers[index]):
                stride = 2 if index > 0 and position == 0 else 1
                channels = 64 * 2**index
                shortcut = projection(width, channels * make_block.expansion, stride, norm) if skip else None
                blocks.append(make_block(width, channels, stride, shortcut, style))
                width = channels * make_block.expansion
            self.add_module(name, blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = make_head(width, classes)
        self.apply(initialise)
        if zero_init_residual:
            self.apply(start_as_shortcut)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The stem at 1/2 and each layer at 1/4, 1/8, …; with the small stem, each layer at 1/1, 1/2, …."""
        x = self.activation(self.bn1(self.conv1(x)))
        maps = [x] if self.stem == "imagenet" else []
        x = self.maxpool(x)
        for name in self.layer_names:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1]).flatten(1)
        return self.fc(self.dropout(x))


def projection(in_channels: int, channels: int, stride: int, norm: NormKind) -> nn.Sequential:
    """The paper's option B: the identity where shapes agree, else a 1x1 convolution."""
    if stride == 1 and in_channels == channels:
        return nn.Sequential()
    return nn.Sequential(conv(in_channels, channels, 1, stride, norm=norm), make_norm(norm, channels))


def initialise(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852), scaled by fan-out as torchvision has it."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def zero(norm: nn.Module, convolution: nn.Conv2d) -> None:
    """Silence a branch at its last norm, or at its last convolution where that norm has no weight."""
    weight = norm.weight if isinstance(norm, nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d) else convolution.weight
    nn.init.zeros_(weight)


def start_as_shortcut(layer: nn.Module) -> None:
    """Silence the branch of a residual block; leave anything else alone."""
    if isinstance(layer, BasicBlock | Bottleneck):
        layer.zero_branch()


def refuse_nonsense(block: str, style: Style, skip: bool, zero_init_residual: bool) -> None:
    """Refuse options that do not go together.

    Raises:
        NetwrightError: basic blocks in groups or of another width, or silenced branches that nothing goes around.
    """
    if block == "basic" and (style.groups, style.width_per_group) != (1, 64):
        raise NetwrightError("basic blocks have neither groups nor width_per_group", "choose block='bottleneck'")
    if zero_init_residual and not skip:
        raise NetwrightError(
            "zero_init_residual=True with skip=False lets no signal through", "leave out one of the two options"
        )


VARIANTS = {
    "resnet18": Variant(params=11_689_512, options={"layers": (2, 2, 2, 2)}, reference="torchvision/resnet18"),
    "resnet34": Variant(params=21_797_672, options={"layers": (3, 4, 6, 3)}, reference="torchvision/resnet34"),
    "resnet50": Variant(
        params=25_557_032, options={"block": "bottleneck", "layers": (3, 4, 6, 3)}, reference="torchvision/resnet50"
    ),
    "resnet101": Variant(
        params=44_549_160, options={"block": "bottleneck", "layers": (3, 4, 23, 3)}, reference="torchvision/resnet101"
    ),
    "resnet152": Variant(
        params=60_192_808, options={"block": "bottleneck", "layers": (3, 8, 36, 3)}, reference="torchvision/resnet152"
    ),
    "resnext50_32x4d": Variant(
        params=25_028_904,
        options={"block": "bottleneck", "layers": (3, 4, 6, 3), "groups": 32, "width_per_group": 4},
        reference="torchvision/resnext50_32x4d",
    ),
    "resnext101_32x8d": Variant(
        params=88_791_336,
        options={"block": "bottleneck", "layers": (3, 4, 23, 3), "groups": 32, "width_per_group": 8},
        reference="torchvision/resnext101_32x8d",
    ),
    "resnext101_64x4d": Variant(
        params=83_455_272,
        options={"block": "bottleneck", "layers": (3, 4, 23, 3), "groups": 64, "width_per_group": 4},
        reference="torchvision/resnext101_64x4d",
    ),
    "wide_resnet50_2": Variant(
        params=68_883_240,
        options={"block": "bottleneck", "layers": (3, 4, 6, 3), "width_per_group": 128},
        reference="torchvision/wide_resnet50_2",
    ),
    "wide_resnet101_2": Variant(
        params=126_886_696,
        options={"block": "bottleneck", "layers": (3, 4, 23, 3), "width_per_group": 128},
        reference="torchvision/wide_resnet101_2",
    ),
}
