"""Pyramidal residual networks, every block a little wider (Han, Kim & Kim 2016, arXiv:1610.02915)."""

from math import floor
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.resnet import Style, initialise
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm

BLOCKS = {  # of the networks for large images, at each resolution, by block and depth
    "basic": {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)},
    "bottleneck": {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)},
}


class PaddedShortcut(nn.Module):
    """The identity; each 2x2 square's mean where the branch has stride 2; and zeros for the channels it adds."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.added = added
        # The means of an odd side's last row and column are over what is there, as the branch rounds upwards too.
        self.pool = nn.AvgPool2d(2, stride, ceil_mode=True) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C+added H/stride W/stride."""
        return F.pad(self.pool(x), (0, 0, 0, 0, 0, self.added))


class BasicBlock(nn.Module):
    """y = branch(x) + shortcut(x), the branch norm, 3x3, norm, activation, 3x3, norm; without a shortcut, no sum."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None, style: Style) -> None:
        super().__init__()
        self.bn1 = make_norm(style.norm, in_channels)
        self.conv1 = conv(in_channels, channels, 3, stride, norm=style.norm)
        self.bn2 = make_norm(style.norm, channels)
        self.conv2 = conv(channels, channels, 3, norm=style.norm)
        self.bn3 = make_norm(style.norm, channels)
        self.activation = make_activation(style.activation)
        self.drop_path = nn.Identity() if shortcut is None else DropPath()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        y = self.bn2(self.conv1(self.bn1(x)))
        y = self.bn3(self.conv2(self.activation(y)))
        return y if self.downsample is None else self.drop_path(y) + self.downsample(x)


class Bottleneck(nn.Module):
    """As the basic block, the branch norm, 1x1, norm, activation, 3x3, norm, activation, 1x1, norm."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: nn.Module | None, style: Style) -> None:
        super().__init__()
        self.bn1 = make_norm(style.norm, in_channels)
        self.conv1 = conv(in_channels, channels, 1, norm=style.norm)
        self.bn2 = make_norm(style.norm, channels)
        self.conv2 = conv(channels, channels, 3, stride, norm=style.norm)
        self.bn3 = make_norm(style.norm, channels)
        self.conv3 = conv(channels, channels * self.expansion, 1, norm=style.norm)
        self.bn4 = make_norm(style.norm, channels * self.expansion)
        self.activation = make_activation(style.activation)
        self.drop_path = nn.Identity() if shortcut is None else DropPath()
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 4·channels H/stride W/stride."""
        y = self.bn2(self.conv1(self.bn1(x)))
        y = self.bn3(self.conv2(self.activation(y)))
        y = self.bn4(self.conv3(self.activation(y)))
        return y if self.downsample is None else self.drop_path(y) + self.downsample(x)


class PyramidNet(Family):
    """A residual network whose channels grow with every block instead of doubling where the resolution halves.

    Submodules are named as in the authors' PyTorch code. The last map is normalised and activated, as the head sees
    it; those before it are the bare sums.

    Args:
        depth: layers: 6n+2 of basic blocks or 9n+2 of bottlenecks, or for large images 18, 34, 50, 101, 152 or 200.
        alpha: channels that the first to the last block add, or with multiplicative widening multiply by.
        block: two 3x3 convolutions, or the bottleneck of three, which gives four times as many channels.
        widening: whether each block adds as many channels as the one before, or multiplies by as much.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation before and after each convolution; with none, convolutions get a bias.
        activation: between the convolutions of a block and before the head.
        skip: whether blocks add their input.
        dropout: share of the pooled features that is dropped before `fc`.
        stem: 7x7 of stride 2 and max-pooling, or one 3x3 of stride 1 for images of 32 to 64 pixels.
    """

    head_name = "fc"

    def __init__(
        self,
        *,
        depth: Count = 110,
        alpha: Annotated[float, Between(0)] = 48.0,
        block: Literal["basic", "bottleneck"] = "basic",
        widening: Literal["additive", "multiplicative"] = "additive",
        classes: Classes = 10,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        dropout: Share = 0.0,
        stem: Literal["cifar", "imagenet"] = "cifar",
    ) -> None:
        super().__init__()
        small = stem == "cifar"
        layers = small_layers(depth, block) if small else large_layers(depth, block)
        make_block = BasicBlock if block == "basic" else Bottleneck
        style, before = Style(norm, activation), 16 if small else 64
        channels = iter(widths(before, alpha, sum(layers), widening))
        self.small = small
        self.smallest = 4 if small else 32
        self.conv1 = conv(in_channels, before, 3 if small else 7, 1 if small else 2, norm=norm)
        self.bn1 = make_norm(norm, before)
        self.activation = make_activation(activation)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer_names = [f"layer{number}" for number in range(1, len(layers) + 1)]
        for index, name in enumerate(self.layer_names):
            blocks = nn.Sequential()
            for position in range(layers[index]):
                stride, width = 2 if index > 0 and position == 0 else 1, next(channels)
                after = width * make_block.expansion
                shortcut = PaddedShortcut(after - before, stride) if skip else None
                blocks.append(make_block(before, width, stride, shortcut, style))
                before = after
            self.add_module(name, blocks)
        self.bn_final = make_norm(norm, before)
        self.dropout = nn.Dropout(dropout)
        self.fc = make_head(before, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The layers at 1/1, 1/2 and 1/4; with the large stem, that at 1/2 and the layers at 1/4, 1/8, …."""
        x = self.bn1(self.conv1(x))
        maps: list[Tensor] = []
        if not self.small:  # only large images are activated before the first block
            maps = [self.activation(x)]
            x = self.maxpool(maps[0])
        for name in self.layer_names:
            x = self.get_submodule(name)(x)
            maps.append(x)
        return [*maps[:-1], self.activation(self.bn_final(x))]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.stages(x)[-1].mean((2, 3))
        return self.fc(self.dropout(x))


def widths(first: int, alpha: float, blocks: int, widening: str) -> list[int]:
    """Channels of each block: the paper's equations 2 and 3, rounded to the nearest as the authors' code does.

    The paper's text rounds down, but its bottlenecks' numbers of parameters are those of widths rounded so.

    Raises:
        NetwrightError: multiplicative widening that narrows.
    """
    if widening == "multiplicative" and alpha < 1:
        raise NetwrightError(f"alpha cannot be {alpha:g} with widening='multiplicative'", "give a number of at least 1")
    shares = [number / blocks for number in range(1, blocks + 1)]
    exact = [first + alpha * share if widening == "additive" else first * alpha**share for share in shares]
    return [floor(width + 0.5) for width in exact]


def small_layers(depth: int, block: str) -> tuple[int, ...]:
    """Blocks at each resolution for small images.

    Raises:
        NetwrightError: no number of blocks makes this depth.
    """
    each = 6 if block == "basic" else 9
    blocks, rest = divmod(depth - 2, each)
    if rest or blocks < 1:
        nearest = each * max(1, round((depth - 2) / each)) + 2
        raise NetwrightError(f"depth cannot be {depth} with block='{block}'", f"it is {each}n+2: depth={nearest}")
    return (blocks, blocks, blocks)


def large_layers(depth: int, block: str) -> tuple[int, ...]:
    """Blocks at each resolution for large images.

    Raises:
        NetwrightError: there is no such network.
    """
    known = BLOCKS[block]
    if depth not in known:
        fix = f"choose one of {', '.join(map(str, known))}, or the other block"
        raise NetwrightError(f"depth cannot be {depth} with block='{block}' and stem='imagenet'", fix)
    return known[depth]


# All trainable parameters, norms and biases included. The paper counts the weights of convolutions and head alone, and
# gives 10 classes to the small ones: 27.0, 26.6 and 26.0 M of small bottlenecks, 62.1 and 116.4 M of large networks, as
# here. Its 1.7 and 3.8 M of basic blocks are those of widths rounded down (here 1.76 and 3.89 M); its 28.3 M, where no
# width needs rounding, fits no way of counting (here 28.44 M).
VARIANTS = {
    "pyramidnet110_a48": Variant(params=1_772_706, options={"depth": 110, "alpha": 48.0}, image_size=32, classes=10),
    "pyramidnet110_a84": Variant(params=3_904_446, options={"depth": 110, "alpha": 84.0}, image_size=32, classes=10),
    "pyramidnet110_a270": Variant(params=28_485_477, options={"depth": 110, "alpha": 270.0}, image_size=32, classes=10),
    "pyramidnet164_a270": Variant(
        params=27_216_021,
        options={"depth": 164, "alpha": 270.0, "block": "bottleneck"},
        image_size=32,
        classes=10,
    ),
    "pyramidnet200_a240": Variant(
        params=26_752_702,
        options={"depth": 200, "alpha": 240.0, "block": "bottleneck"},
        image_size=32,
        classes=10,
    ),
    "pyramidnet272_a200": Variant(
        params=26_210_842,
        options={"depth": 272, "alpha": 200.0, "block": "bottleneck"},
        image_size=32,
        classes=10,
    ),
    "pyramidnet101_a360": Variant(
        params=42_455_070, options={"depth": 101, "alpha": 360.0, "block": "bottleneck", "stem": "imagenet"}
    ),
    "pyramidnet200_a300": Variant(
        params=62_368_168, options={"depth": 200, "alpha": 300.0, "block": "bottleneck", "stem": "imagenet"}
    ),
    "pyramidnet200_a450": Variant(  # trained with dropout
        params=116_775_213,
        options={"depth": 200, "alpha": 450.0, "block": "bottleneck", "stem": "imagenet", "dropout": 0.5},
    ),
}
