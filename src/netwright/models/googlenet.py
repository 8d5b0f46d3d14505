"""GoogLeNet, the first Inception network (Szegedy, Liu, Jia et al. 2014, arXiv:1409.4842)."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import ConvNorm
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind
from netwright.nn.output import Outputs

Brick = Callable[..., nn.Module]  # ConvNorm with its norm and activation chosen: brick(in_channels, channels, kernel)


class Branches(nn.ModuleDict):
    """Several views of one map: what each branch makes of it, stacked over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N (sum over branches) H W."""
        return torch.cat([branch(x) for branch in self.values()], 1)


class AuxiliaryHead(nn.Module):
    """Class scores from the middle of the network, which bring a gradient there: 1x1 convolution, two linear layers."""

    def __init__(self, in_channels: int, classes: int, brick: Brick, activation: ActivationKind) -> None:
        super().__init__()
        self.conv = brick(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.activation = make_activation(activation)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = make_head(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = F.adaptive_avg_pool2d(x, 4)  # the paper's 5x5 of stride 3 on 14x14, which leaves 4x4 too, shifts a little
        x = self.activation(self.fc1(self.conv(x).flatten(1)))  # N 128 4 4 -> N 2048 -> N 1024
        return self.fc2(self.dropout(x))


class Maps(list[Tensor]):
    """The last map at each resolution, and the maps that the auxiliary heads look at, from shallow to deep."""

    def __init__(self, maps: list[Tensor], seen: tuple[Tensor, Tensor]) -> None:
        super().__init__(maps)
        self.seen = seen


class GoogLeNet(Family):
    """Nine Inception modules, each of 1x1, 3x3 and larger convolutions and a max-pooling side by side.

    Args:
        classes: number of class scores; with none there are no auxiliary heads either.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, as in the paper, convolutions get a bias.
        activation: after each normalisation.
        kernel: of each module's largest convolution: 5 as in the paper, 3 as in torchvision, whose weights have it.
        dropout: share of the pooled features that is dropped before `fc`.
        aux: whether there are two auxiliary heads, which speak in training alone.
    """

    head_name = "fc"
    auxiliary_names = ("aux1", "aux2")
    smallest = 32

    def __init__(
        self,
        *,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        kernel: Literal[3, 5] = 3,
        dropout: Share = 0.4,  # the paper's; torchvision drops 0.2
        aux: bool = True,
    ) -> None:
        super().__init__()
        brick = partial(ConvNorm, norm=norm, activation=activation)
        module = partial(inception, brick=brick, kernel=kernel)
        self.conv1 = brick(in_channels, 64, 7, 2)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = brick(64, 64, 1)
        self.conv3 = brick(64, 192, 3)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        # Table 1 of the paper: "1x1", "3x3 reduce", "3x3", "5x5 reduce", "5x5", "pool proj".
        self.inception3a = module(192, (64, 96, 128, 16, 32, 32))
        self.inception3b = module(256, (128, 128, 192, 32, 96, 64))
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = module(480, (192, 96, 208, 16, 48, 64))
        self.inception4b = module(512, (160, 112, 224, 24, 64, 64))
        self.inception4c = module(512, (128, 128, 256, 24, 64, 64))
        self.inception4d = module(512, (112, 144, 288, 32, 64, 64))
        self.inception4e = module(528, (256, 160, 320, 32, 128, 128))
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)  # the paper has 3x3; on 14x14 both leave 7x7
        self.inception5a = module(832, (256, 160, 320, 32, 128, 128))
        self.inception5b = module(832, (384, 192, 384, 48, 128, 128))
        heard = aux and classes > 0
        self.aux1 = AuxiliaryHead(512, classes, brick, activation) if heard else None
        self.aux2 = AuxiliaryHead(528, classes, brick, activation) if heard else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = make_head(1024, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> Maps:
        """`conv1` at 1/2, `conv3` at 1/4, and the last module at 1/8, 1/16 and 1/32."""
        half = self.conv1(x)
        quarter = self.conv3(self.conv2(self.maxpool1(half)))
        eighth = self.inception3b(self.inception3a(self.maxpool2(quarter)))
        first_seen = self.inception4a(self.maxpool3(eighth))
        second_seen = self.inception4d(self.inception4c(self.inception4b(first_seen)))
        sixteenth = self.inception4e(second_seen)
        last = self.inception5b(self.inception5a(self.maxpool4(sixteenth)))
        return Maps([half, quarter, eighth, sixteenth, last], (first_seen, second_seen))

    def forward(self, x: Tensor) -> Tensor | Outputs:
        """Class scores: N C H W -> N K; in training those of `aux2` and `aux1` too."""
        maps = self.stages(x)
        scores = self.fc(self.dropout(self.avgpool(maps[-1]).flatten(1)))
        if not self.training or self.aux1 is None or self.aux2 is None or not isinstance(maps, Maps):
            return scores
        shallow, deep = maps.seen
        return Outputs(scores, (self.aux2(deep), self.aux1(shallow)))


def inception(in_channels: int, widths: tuple[int, int, int, int, int, int], *, brick: Brick, kernel: int) -> Branches:
    """An Inception module with dimension reductions (figure 2b): 1x1 convolutions before the costly ones."""
    small, reduced3, medium, reduced5, large, pooled = widths
    return Branches(
        {
            "branch1": brick(in_channels, small, 1),
            "branch2": nn.Sequential(brick(in_channels, reduced3, 1), brick(reduced3, medium, 3)),
            "branch3": nn.Sequential(brick(in_channels, reduced5, 1), brick(reduced5, large, kernel)),
            "branch4": nn.Sequential(nn.MaxPool2d(3, 1, 1), brick(in_channels, pooled, 1)),
        }
    )


def initialise(layer: nn.Module) -> None:
    """Weights normal with a deviation of 0.01, as torchvision's: its bounds of ±2 cut off nothing."""
    match layer:
        case nn.Linear():
            nn.init.normal_(layer.weight, std=0.01)
        case ConvNorm():
            initialise_brick(layer, 0.01)
        case _:
            pass


def initialise_brick(brick: ConvNorm, deviation: float) -> None:
    """A convolution normal with that deviation, or as He et al. 2015 where no norm mends the scale of what it gives."""
    if isinstance(brick.bn, nn.Identity):
        nn.init.kaiming_normal_(brick.conv.weight, nonlinearity="relu")
        if brick.conv.bias is not None:
            nn.init.zeros_(brick.conv.bias)
    else:
        nn.init.normal_(brick.conv.weight, std=deviation)


# With its auxiliary heads; 6,624,904 of them are the network's own, the number that torchvision publishes.
VARIANTS = {"googlenet": Variant(params=13_004_888, reference="torchvision/googlenet")}
