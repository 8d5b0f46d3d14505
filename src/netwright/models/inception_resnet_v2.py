"""Inception-ResNet-v2, modules that add to their input (Szegedy, Ioffe, Vanhoucke & Alemi 2016, arXiv:1602.07261)."""

from functools import partial

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.googlenet import Branches, Brick
from netwright.models.inception_v4 import initialise, neighbourhood, reduction_a
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import ConvNorm
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind


class ResidualModule(nn.Module):
    """y = activation(x + scale · conv2d(branches(x))); without a scale, activation(conv2d(branches(x))).

    Args:
        channels: of the map.
        branches: what looks at the map; `conv2d`, 1x1 and linear, makes their channels as many as the map's.
        width: channels of all branches together.
        scale: of the branches' result; None leaves the sum out.
        activation: after the sum; None leaves it out.
    """

    def __init__(
        self,
        channels: int,
        branches: list[nn.Module],
        width: int,
        *,
        scale: float | None,
        activation: ActivationKind | None,
    ) -> None:
        super().__init__()
        self.branch_names = [f"branch{number}" for number in range(len(branches))]
        for name, branch in zip(self.branch_names, branches, strict=True):
            self.add_module(name, branch)
        self.conv2d = nn.Conv2d(width, channels, 1)
        self.scale = scale
        self.drop_path = nn.Identity() if scale is None else DropPath()
        self.activation = nn.Identity() if activation is None else make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        y = self.conv2d(torch.cat([self.get_submodule(name)(x) for name in self.branch_names], 1))
        return self.activation(y if self.scale is None else x + self.drop_path(self.scale * y))


class InceptionResNetV2(Family):
    """As the authors' published code and weights: their stem is Inception-v3's, their widths 320, 1088 and 2080.

    The paper's figures show Inception-v4's stem and widths of 384, 1154 and 2048, of 5, 10 and 5 modules each.

    Args:
        modules: how many for 35x35, 17x17 and 8x8 maps; one more follows the last ones.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution but those before a sum; with none, convolutions get a bias.
        activation: after each normalisation and each sum.
        skip: whether modules add their input; without, nothing is scaled either.
        scales: factor of what the modules add, for 35x35, 17x17 and 8x8 maps; the paper has 0.1 to 0.3, for stability.
        dropout: share of the pooled features that is dropped before `classif`.
    """

    head_name = "classif"
    smallest = 75

    def __init__(
        self,
        *,
        modules: tuple[Count, Count, Count] = (10, 20, 9),
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        scales: tuple[Share, Share, Share] = (0.17, 0.1, 0.2),
        dropout: Share = 0.2,
    ) -> None:
        super().__init__()
        refuse_nonsense(scales)
        brick = partial(ConvNorm, norm=norm, activation=activation)
        many_a, many_b, many_c = modules
        scale_a, scale_b, scale_c = scales if skip else (None, None, None)
        self.conv2d_1a = brick(in_channels, 32, 3, 2, padding=0)
        self.conv2d_2a = brick(32, 32, 3, padding=0)
        self.conv2d_2b = brick(32, 64, 3)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = brick(64, 80, 1)
        self.conv2d_4a = brick(80, 192, 3, padding=0)
        self.maxpool_5a = nn.MaxPool2d(3, 2)
        self.mixed_5b = mixed_5b(brick)
        self.repeat = nn.Sequential(*(module_a(brick, scale=scale_a, activation=activation) for _ in range(many_a)))
        self.mixed_6a = reduction_a(320, (256, 256, 384, 384), brick)
        self.repeat_1 = nn.Sequential(*(module_b(brick, scale=scale_b, activation=activation) for _ in range(many_b)))
        self.mixed_7a = reduction_b(brick)
        self.repeat_2 = nn.Sequential(*(module_c(brick, scale=scale_c, activation=activation) for _ in range(many_c)))
        self.block8 = module_c(brick, scale=1.0 if skip else None, activation=None)
        self.conv2d_7b = brick(2080, 1536, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classif = make_head(1536, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each part's last map: 147x147, 71x71, 35x35, 17x17 and 8x8 for a 299x299 image."""
        half = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        quarter = self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(half)))
        eighth = self.repeat(self.mixed_5b(self.maxpool_5a(quarter)))
        sixteenth = self.repeat_1(self.mixed_6a(eighth))
        last = self.conv2d_7b(self.block8(self.repeat_2(self.mixed_7a(sixteenth))))
        return [half, quarter, eighth, sixteenth, last]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1]).flatten(1)
        return self.classif(self.dropout(x))


def mixed_5b(brick: Brick) -> Branches:
    """The one module at 35x35 that adds nothing to its input: N 192 35 35 -> N 320 35 35."""
    return Branches(
        {
            "branch0": brick(192, 96, 1),
            "branch1": nn.Sequential(brick(192, 48, 1), brick(48, 64, 5)),
            "branch2": nn.Sequential(brick(192, 64, 1), brick(64, 96, 3), brick(96, 96, 3)),
            "branch3": nn.Sequential(neighbourhood(), brick(192, 64, 1)),
        }
    )


def module_a(brick: Brick, *, scale: float | None, activation: ActivationKind | None) -> ResidualModule:
    """Inception-ResNet-A (figure 16), for 35x35 maps."""
    one = brick(320, 32, 1)
    two = nn.Sequential(brick(320, 32, 1), brick(32, 32, 3))
    three = nn.Sequential(brick(320, 32, 1), brick(32, 48, 3), brick(48, 64, 3))
    return ResidualModule(320, [one, two, three], 128, scale=scale, activation=activation)


def module_b(brick: Brick, *, scale: float | None, activation: ActivationKind | None) -> ResidualModule:
    """Inception-ResNet-B (figure 17), for 17x17 maps."""
    factorised = nn.Sequential(brick(1088, 128, 1), brick(128, 160, (1, 7)), brick(160, 192, (7, 1)))
    return ResidualModule(1088, [brick(1088, 192, 1), factorised], 384, scale=scale, activation=activation)


def reduction_b(brick: Brick) -> Branches:
    """Figure 18: N 1088 17 17 -> N 2080 8 8."""
    double = nn.Sequential(brick(1088, 256, 1), brick(256, 288, 3), brick(288, 320, 3, 2, padding=0))
    return Branches(
        {
            "branch0": nn.Sequential(brick(1088, 256, 1), brick(256, 384, 3, 2, padding=0)),
            "branch1": nn.Sequential(brick(1088, 256, 1), brick(256, 288, 3, 2, padding=0)),
            "branch2": double,
            "branch3": nn.MaxPool2d(3, 2),
        }
    )


def module_c(brick: Brick, *, scale: float | None, activation: ActivationKind | None) -> ResidualModule:
    """Inception-ResNet-C (figure 19), for 8x8 maps."""
    factorised = nn.Sequential(brick(2080, 192, 1), brick(192, 224, (1, 3)), brick(224, 256, (3, 1)))
    return ResidualModule(2080, [brick(2080, 192, 1), factorised], 448, scale=scale, activation=activation)


def refuse_nonsense(scales: tuple[float, float, float]) -> None:
    """Refuse scales that silence their modules.

    Raises:
        NetwrightError: a scale of 0.
    """
    if 0 in scales:
        raise NetwrightError(f"scales={scales!r} would leave modules without effect", "give values above 0, up to 1")


VARIANTS = {"inception_resnet_v2": Variant(params=55_843_464, image_size=299, reference="timm/inception_resnet_v2")}
