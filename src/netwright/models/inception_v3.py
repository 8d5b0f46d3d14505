"""Inception-v3, convolutions factorised (Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2015, arXiv:1512.00567)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.googlenet import Brick, initialise_brick
from netwright.nn.activation import ActivationKind
from netwright.nn.conv import ConvNorm
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind
from netwright.nn.output import Outputs


class InceptionA(nn.Module):
    """Figure 5, for 35x35 maps: one of two 5x5 convolutions is two of 3x3."""

    def __init__(self, in_channels: int, pooled: int, brick: Brick) -> None:
        super().__init__()
        self.branch1x1 = brick(in_channels, 64, 1)
        self.branch5x5_1 = brick(in_channels, 48, 1)
        self.branch5x5_2 = brick(48, 64, 5)
        self.branch3x3dbl_1 = brick(in_channels, 64, 1)
        self.branch3x3dbl_2 = brick(64, 96, 3)
        self.branch3x3dbl_3 = brick(96, 96, 3)
        self.branch_pool = brick(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 224+pooled H W."""
        large = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), large, double, self.branch_pool(neighbourhood(x))], 1)


class InceptionB(nn.Module):
    """Figure 10, from 35x35 to 17x17: convolutions of stride 2 beside the pooling, so that neither is a bottleneck."""

    def __init__(self, in_channels: int, brick: Brick) -> None:
        super().__init__()
        self.branch3x3 = brick(in_channels, 384, 3, 2, padding=0)
        self.branch3x3dbl_1 = brick(in_channels, 64, 1)
        self.branch3x3dbl_2 = brick(64, 96, 3)
        self.branch3x3dbl_3 = brick(96, 96, 3, 2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 480+C (H-1)/2 (W-1)/2."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    """Figure 6, for 17x17 maps: each 7x7 convolution is a 1x7 and a 7x1."""

    def __init__(self, in_channels: int, inner: int, brick: Brick) -> None:
        super().__init__()
        self.branch1x1 = brick(in_channels, 192, 1)
        self.branch7x7_1 = brick(in_channels, inner, 1)
        self.branch7x7_2 = brick(inner, inner, (1, 7))
        self.branch7x7_3 = brick(inner, 192, (7, 1))
        self.branch7x7dbl_1 = brick(in_channels, inner, 1)
        self.branch7x7dbl_2 = brick(inner, inner, (7, 1))
        self.branch7x7dbl_3 = brick(inner, inner, (1, 7))
        self.branch7x7dbl_4 = brick(inner, inner, (7, 1))
        self.branch7x7dbl_5 = brick(inner, 192, (1, 7))
        self.branch_pool = brick(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 768 H W."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(neighbourhood(x))], 1)


class InceptionD(nn.Module):
    """From 17x17 to 8x8: as before, with a 7x7 convolution, factorised, before one of the two of stride 2."""

    def __init__(self, in_channels: int, brick: Brick) -> None:
        super().__init__()
        self.branch3x3_1 = brick(in_channels, 192, 1)
        self.branch3x3_2 = brick(192, 320, 3, 2, padding=0)
        self.branch7x7x3_1 = brick(in_channels, 192, 1)
        self.branch7x7x3_2 = brick(192, 192, (1, 7))
        self.branch7x7x3_3 = brick(192, 192, (7, 1))
        self.branch7x7x3_4 = brick(192, 192, 3, 2, padding=0)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 512+C (H-1)/2 (W-1)/2."""
        single = self.branch3x3_2(self.branch3x3_1(x))
        factorised = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([single, self.branch7x7x3_4(factorised), F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    """Figure 7, for 8x8 maps: 1x3 and 3x1 side by side, for many features where the map is small."""

    def __init__(self, in_channels: int, brick: Brick) -> None:
        super().__init__()
        self.branch1x1 = brick(in_channels, 320, 1)
        self.branch3x3_1 = brick(in_channels, 384, 1)
        self.branch3x3_2a = brick(384, 384, (1, 3))
        self.branch3x3_2b = brick(384, 384, (3, 1))
        self.branch3x3dbl_1 = brick(in_channels, 448, 1)
        self.branch3x3dbl_2 = brick(448, 384, 3)
        self.branch3x3dbl_3a = brick(384, 384, (1, 3))
        self.branch3x3dbl_3b = brick(384, 384, (3, 1))
        self.branch_pool = brick(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N 2048 H W."""
        y = self.branch3x3_1(x)
        single = [self.branch3x3_2a(y), self.branch3x3_2b(y)]
        y = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        double = [self.branch3x3dbl_3a(y), self.branch3x3dbl_3b(y)]
        return torch.cat([self.branch1x1(x), *single, *double, self.branch_pool(neighbourhood(x))], 1)


class AuxiliaryHead(nn.Module):
    """Class scores from the 17x17 map, by a 1x1 and a 5x5 convolution."""

    def __init__(self, in_channels: int, classes: int, norm: NormKind, activation: ActivationKind) -> None:
        super().__init__()
        # The 5x5 leaves one pixel, whose instance norm would be its own bias whatever the image.
        last_norm: NormKind = "none" if norm == "instance" else norm
        self.conv0 = ConvNorm(in_channels, 128, 1, norm=norm, activation=activation)
        self.conv1 = ConvNorm(128, 768, 5, padding=0, norm=last_norm, activation=activation)
        self.fc = make_head(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        # The two windows need a side of 17, which images of 299 give. Repeating the pixels of a smaller map to that
        # side keeps its content and the weights' meaning; torchvision fails there, and is unchanged from 17 on.
        height, width = x.shape[-2:]
        x = F.interpolate(x, (max(height, 17), max(width, 17)))
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))  # N C 17 17 -> N 128 5 5 -> N 768 1 1
        return self.fc(x.mean((2, 3)))


class InceptionV3(Family):
    """A stem without padding, then Inception modules for 35x35, 17x17 and 8x8 maps.

    Args:
        classes: number of class scores; with none there is no auxiliary head either.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        dropout: share of the pooled features that is dropped before `fc`.
        aux: whether there is an auxiliary head, which speaks in training alone.
    """

    head_name = "fc"
    auxiliary_names = ("AuxLogits",)
    smallest = 75

    def __init__(
        self,
        *,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        dropout: Share = 0.5,  # torchvision's; the paper does not say
        aux: bool = True,
    ) -> None:
        super().__init__()
        brick = partial(ConvNorm, norm=norm, activation=activation)
        self.Conv2d_1a_3x3 = brick(in_channels, 32, 3, 2, padding=0)
        self.Conv2d_2a_3x3 = brick(32, 32, 3, padding=0)
        self.Conv2d_2b_3x3 = brick(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = brick(64, 80, 1)
        self.Conv2d_4a_3x3 = brick(80, 192, 3, padding=0)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.Mixed_5b = InceptionA(192, 32, brick)
        self.Mixed_5c = InceptionA(256, 64, brick)
        self.Mixed_5d = InceptionA(288, 64, brick)
        self.Mixed_6a = InceptionB(288, brick)
        self.Mixed_6b = InceptionC(768, 128, brick)
        self.Mixed_6c = InceptionC(768, 160, brick)
        self.Mixed_6d = InceptionC(768, 160, brick)
        self.Mixed_6e = InceptionC(768, 192, brick)
        self.AuxLogits = AuxiliaryHead(768, classes, norm, activation) if aux and classes > 0 else None
        self.Mixed_7a = InceptionD(768, brick)
        self.Mixed_7b = InceptionE(1280, brick)
        self.Mixed_7c = InceptionE(2048, brick)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = make_head(2048, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each part's last map: 147x147, 71x71, 35x35, 17x17 and 8x8 for a 299x299 image."""
        half = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        quarter = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(half)))
        eighth = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(quarter))))
        sixteenth = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(eighth)))
        sixteenth = self.Mixed_6e(self.Mixed_6d(sixteenth))
        last = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(sixteenth)))
        return [half, quarter, eighth, sixteenth, last]

    def forward(self, x: Tensor) -> Tensor | Outputs:
        """Class scores: N C H W -> N K; in training those of `AuxLogits` too."""
        maps = self.stages(x)
        scores = self.fc(self.dropout(self.avgpool(maps[-1]).flatten(1)))
        if not self.training or self.AuxLogits is None:
            return scores
        return Outputs(scores, (self.AuxLogits(maps[-2]),))


def neighbourhood(x: Tensor) -> Tensor:
    """The mean of each pixel and its eight neighbours, zeros beyond the edge counted in: N C H W -> N C H W."""
    return F.avg_pool2d(x, 3, 1, 1)


def initialise(layer: nn.Module) -> None:
    """Weights normal with torchvision's deviations, less in the auxiliary head; its bounds of ±2 cut off nothing."""
    match layer:
        case nn.Linear():
            nn.init.normal_(layer.weight, std=0.1)
        case ConvNorm():
            initialise_brick(layer, 0.1)
        case AuxiliaryHead():
            # The authors' 0.01; torchvision asks for it too, but of the brick: its convolution has 0.1.
            initialise_brick(layer.conv1, 0.01)
            nn.init.normal_(layer.fc.get_parameter("weight"), std=0.001)
        case _:
            pass


# With its auxiliary head; 23,834,568 of them are the network's own.
VARIANTS = {"inception_v3": Variant(params=27_161_264, image_size=299, reference="torchvision/inception_v3")}
