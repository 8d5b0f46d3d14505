"""Xception, Inception modules taken to their extreme: separable convolutions (Chollet 2016, arXiv:1610.02357)."""

from dataclasses import dataclass

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.resnet import initialise as initialise_convolution
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common."""

    norm: NormKind
    activation: ActivationKind
    between: ActivationKind | None
    skip: bool

    def separable(self, in_channels: int, channels: int) -> "SeparableConv2d":
        """A separable convolution in this style."""
        return SeparableConv2d(in_channels, channels, self.norm, self.between)


class SeparableConv2d(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution over the channels."""

    def __init__(self, in_channels: int, channels: int, norm: NormKind, between: ActivationKind | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.between = nn.Identity() if between is None else make_activation(between)
        self.pointwise = conv(in_channels, channels, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H W."""
        return self.pointwise(self.between(self.conv1(x)))


class Block(nn.Module):
    """y = rep(x) + skipbn(skip(x)), where `rep` is activation, separable convolution, norm, several times.

    Args:
        widths: channels of the input and of each separable convolution.
        stride: of the max-pooling that ends `rep`; with 1 there is none.
        style: of the network.
        activates: whether `rep` begins with an activation.
    """

    def __init__(self, widths: tuple[int, ...], stride: int, style: Style, *, activates: bool = True) -> None:
        super().__init__()
        self.rep = nn.Sequential()
        for number, channels in enumerate(widths[1:]):
            if activates or number > 0:
                self.rep.append(make_activation(style.activation))
            self.rep.append(style.separable(widths[number], channels))
            self.rep.append(make_norm(style.norm, channels))
        if stride > 1:
            self.rep.append(nn.MaxPool2d(3, stride, 1))
        projects = style.skip and (stride > 1 or widths[0] != widths[-1])
        self.adds = style.skip
        self.drop_path = DropPath() if style.skip else nn.Identity()
        self.skip = conv(widths[0], widths[-1], 1, stride, norm=style.norm) if projects else nn.Identity()
        self.skipbn = make_norm(style.norm, widths[-1]) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        y = self.rep(x)
        return self.drop_path(y) + self.skipbn(self.skip(x)) if self.adds else y


class Xception(Family):
    """The paper's figure 5: entry flow, a middle flow of equal blocks, exit flow.

    Args:
        middle: blocks of the middle flow.
        between: activation between the two parts of a separable convolution; the paper finds none the best.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: before each separable convolution of a block, after each convolution outside blocks.
        skip: whether blocks add their input, which the paper finds essential.
        dropout: share of the pooled features that is dropped before `fc`.
    """

    head_name = "fc"
    smallest = 32

    def __init__(
        self,
        *,
        middle: Count = 8,
        between: ActivationKind | None = None,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        style = Style(norm, activation, between, skip)
        self.conv1 = conv(in_channels, 32, 3, 2, norm=norm, padding=0)
        self.bn1 = make_norm(norm, 32)
        self.conv2 = conv(32, 64, 3, norm=norm, padding=0)
        self.bn2 = make_norm(norm, 64)
        blocks = [Block((64, 128, 128), 2, style, activates=False)]
        blocks += [Block((128, 256, 256), 2, style), Block((256, 728, 728), 2, style)]
        blocks += [Block((728, 728, 728, 728), 1, style) for _ in range(middle)]
        blocks += [Block((728, 728, 1024), 2, style)]
        self.block_names = [f"block{number}" for number in range(1, len(blocks) + 1)]
        for name, block in zip(self.block_names, blocks, strict=True):
            self.add_module(name, block)
        self.halving = (*self.block_names[:3], self.block_names[-1])
        self.conv3 = style.separable(1024, 1536)
        self.bn3 = make_norm(norm, 1536)
        self.conv4 = style.separable(1536, 2048)
        self.bn4 = make_norm(norm, 2048)
        self.activation = make_activation(activation)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = make_head(2048, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """147x147, 74x74, 37x37, 19x19 and 10x10 for a 299x299 image; those of blocks are the bare sums."""
        x = self.activation(self.bn1(self.conv1(x)))
        x = self.activation(self.bn2(self.conv2(x)))
        maps: list[Tensor] = []
        for name in self.block_names:
            if name in self.halving:
                maps.append(x)
            x = self.get_submodule(name)(x)
        x = self.activation(self.bn3(self.conv3(x)))
        return [*maps, self.activation(self.bn4(self.conv4(x)))]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1]).flatten(1)
        return self.fc(self.dropout(x))


def initialise(layer: nn.Module) -> None:
    """Convolutions scaled by fan-out, as timm's; without a norm, those of single channels keep the scale of their map.

    Fan-out counts all channels of a separable convolution's first part, each of which reaches only one: what it gives
    is too small by the square root of their number, which a norm mends.
    """
    initialise_convolution(layer)
    if isinstance(layer, SeparableConv2d) and layer.pointwise.bias is not None:
        nn.init.kaiming_normal_(layer.conv1.weight, nonlinearity="linear")


VARIANTS = {"xception": Variant(params=22_855_952, image_size=299, reference="timm/legacy_xception")}
