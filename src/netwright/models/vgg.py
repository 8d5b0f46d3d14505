"""VGG networks: 3x3 convolutions, pooled between blocks (Simonyan & Zisserman 2014, arXiv:1409.1556)."""

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Annotated, Literal

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.resnet_cifar import option_a
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import norm_layers
from netwright.nn.head import make_head
from netwright.nn.maps import maps_of
from netwright.nn.norm import NormKind

WIDEST = 512


class VGG(Family):
    """Blocks of 3x3 convolutions, each pooled to half its size, submodules named as in torchvision.

    Args:
        blocks: how often the map is halved; each block has twice the channels of the one before, up to 512.
        layers: convolutions in each block, or in every block where it is one number.
        width: channels of the first block.
        head: `dense` layers over the last map, or nothing but a global average `pool`.
        hidden: units of each dense layer; the paper's two have 4096.
        side: of the map that dense layers see, to which another one is averaged or repeated; the paper's is 7.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution.
        activation: after each convolution and each hidden dense layer.
        dropout: share of each hidden dense layer that is dropped, or of the pooled features.
        skip: whether a block's input is added to what its last convolution gives, before the activation; the first
            block's is what its first convolution gives. Channels that the input lacks are zero (He et al. 2015,
            arXiv:1512.03385, option A), so that no parameter is added.
    """

    def __init__(
        self,
        *,
        blocks: Count = 5,
        layers: Count | tuple[Count, ...] = (2, 2, 3, 3, 3),
        width: Annotated[int, Between(1, WIDEST)] = 64,
        head: Literal["dense", "pool"] = "dense",
        hidden: tuple[Count, ...] = (4096, 4096),
        side: Count = 7,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "none",
        activation: ActivationKind = "relu",
        dropout: Share = 0.5,
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.smallest = 2**blocks
        self.features = nn.Sequential()
        channels = in_channels
        for index, convolutions in enumerate(layers_of_blocks(layers, blocks)):
            before, channels = channels, min(width * 2**index, WIDEST)
            bricks: list[nn.Sequential] = []
            for position in range(convolutions):
                start = before if position == 0 else channels
                convolution = nn.Conv2d(start, channels, 3, padding=1)  # with a bias even before a norm, as torchvision
                bricks.append(nn.Sequential(convolution, *norm_layers(norm, channels), make_activation(activation)))
            self.features.extend(shortened(bricks, before, channels, stem=index == 0) if skip else in_a_row(bricks))
            self.features.append(nn.MaxPool2d(2))
        self.avgpool = nn.AdaptiveAvgPool2d(side if head == "dense" else 1)
        layers_of_head: list[nn.Module] = [nn.Dropout(dropout)]
        features = channels
        if head == "dense":
            features = channels * side**2
            layers_of_head = dense_layers(features, hidden=hidden, activation=activation, dropout=dropout)
            features = [features, *hidden][-1]
        self.classifier = nn.Sequential(*layers_of_head, make_head(features, classes))
        self.head_name = f"classifier.{len(layers_of_head)}"
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each block before its pooling, at 1/1, 1/2, 1/4, …, and the last one after it."""
        return maps_of(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1])  # N C h w -> N C side side, or N C 1 1
        return self.classifier(x.flatten(1))


class Shortcut(nn.Module):
    """activation(branch(x) + x), where x is given the channels that it lacks."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.branch, self.shortcut, self.activation = branch, shortcut, activation

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H W."""
        return self.activation(self.branch(x) + self.shortcut(x))


def in_a_row(bricks: Iterable[Iterable[nn.Module]]) -> list[nn.Module]:
    """The layers of bricks one after the other."""
    return [*chain.from_iterable(bricks)]


def shortened(bricks: Sequence[nn.Sequential], before: int, channels: int, *, stem: bool) -> list[nn.Module]:
    """The layers of one block with a shortcut around its convolutions; a stem begins behind the first of them.

    Args:
        bricks: of each convolution the layers that belong to it, its activation the last.
        before: channels that come in.
        channels: that go out.
        stem: whether images come in, which are not added to features.
    """
    first, rest = in_a_row(bricks[:stem]), in_a_row(bricks[stem:])
    if not rest:
        return first
    *branch, activation = rest
    return [*first, Shortcut(nn.Sequential(*branch), option_a(channels if stem else before, channels, 1), activation)]


def dense_layers(
    features: int, *, hidden: tuple[int, ...] = (4096, 4096), activation: ActivationKind, dropout: float
) -> list[nn.Module]:
    """The hidden layers between the last map and the scores, each with what follows it. N F -> N hidden[-1]."""
    layers: list[nn.Module] = []
    for before, after in pairwise((features, *hidden)):
        layers += [nn.Linear(before, after), make_activation(activation), nn.Dropout(dropout)]
    return layers


def layers_of_blocks(layers: int | tuple[int, ...], blocks: int) -> tuple[int, ...]:
    """The number of convolutions in each block.

    Raises:
        NetwrightError: numbers for more or fewer blocks than there are, or a block of nothing.
    """
    each = (layers,) * blocks if isinstance(layers, int) else tuple(layers)
    if len(each) != blocks:
        fix = f"give blocks={len(each)} as well" if each else f"give one number, or {blocks}"
        raise NetwrightError(f"layers={layers!r} has numbers for {len(each)} blocks, and there are {blocks}", fix)
    if min(each) < 1:
        raise NetwrightError(f"layers cannot be {layers!r}", "give whole numbers of at least 1: layers=(1, 1, 2)")
    return each


def initialise(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852), dense layers of deviation 0.01, as in torchvision.

    The paper starts from deviation 0.01 everywhere, and its deeper networks from layers of the trained shallowest.
    """
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
    if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


# The paper's columns A, B, D and E; its table 2 rounds their parameters: 133, 133, 138 and 144 M. `vgg` is ours: the
# same rules at the size of small images.
VARIANTS = {
    "vgg": Variant(
        params=289_194,
        options={"blocks": 3, "layers": 2, "width": 32, "head": "pool", "norm": "batch", "dropout": 0.0},
        image_size=32,
        classes=10,
    ),
    "vgg11": Variant(params=132_863_336, options={"layers": (1, 1, 2, 2, 2)}, reference="torchvision/vgg11"),
    "vgg13": Variant(params=133_047_848, options={"layers": (2, 2, 2, 2, 2)}, reference="torchvision/vgg13"),
    "vgg16": Variant(params=138_357_544, options={"layers": (2, 2, 3, 3, 3)}, reference="torchvision/vgg16"),
    "vgg19": Variant(params=143_667_240, options={"layers": (2, 2, 4, 4, 4)}, reference="torchvision/vgg19"),
    "vgg11_bn": Variant(
        params=132_868_840, options={"layers": (1, 1, 2, 2, 2), "norm": "batch"}, reference="torchvision/vgg11_bn"
    ),
    "vgg13_bn": Variant(
        params=133_053_736, options={"layers": (2, 2, 2, 2, 2), "norm": "batch"}, reference="torchvision/vgg13_bn"
    ),
    "vgg16_bn": Variant(
        params=138_365_992, options={"layers": (2, 2, 3, 3, 3), "norm": "batch"}, reference="torchvision/vgg16_bn"
    ),
    "vgg19_bn": Variant(
        params=143_678_248, options={"layers": (2, 2, 4, 4, 4), "norm": "batch"}, reference="torchvision/vgg19_bn"
    ),
}
