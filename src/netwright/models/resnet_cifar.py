"""Residual networks for 32x32 images (He, Zhang, Ren & Sun 2015, section 4.2, arXiv:1512.03385)."""

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.resnet import BasicBlock, Style
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm


class PaddedShortcut(nn.Module):
    """The paper's option A, without parameters: every second pixel, and channels of zeros to make up the number."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (channels - in_channels) // 2
        self.after = channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


class ResNetCifar(Family):
    """A residual network of 6n+2 layers.

    Args:
        blocks: n, the residual blocks at each of the three resolutions.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation and each sum.
        skip: whether blocks add their input; without, the network is the paper's "plain" one.
        width: channels at full resolution; doubled at each halving.
        dropout: share of the pooled features that is dropped before `linear`.
    """

    head_name = "linear"
    smallest = 4

    def __init__(
        self,
        *,
        blocks: Count = 3,
        classes: Classes = 10,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        width: Count = 16,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, 3, norm=norm)
        self.bn1 = make_norm(norm, width)
        self.activation = make_activation(activation, inplace=True)
        style = Style(norm, activation)

        def layer(before: int, channels: int, first_stride: int) -> nn.Sequential:
            made = nn.Sequential()
            for position in range(blocks):
                start, stride = (before, first_stride) if position == 0 else (channels, 1)
                shortcut = option_a(start, channels, stride) if skip else None
                made.append(BasicBlock(start, channels, stride, shortcut, style))
            return made

        self.layer1 = layer(width, width, 1)
        self.layer2 = layer(width, 2 * width, 2)
        self.layer3 = layer(2 * width, 4 * width, 2)
        self.dropout = nn.Dropout(dropout)
        self.linear = make_head(4 * width, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The three layers, at 1/1, 1/2 and 1/4."""
        full = self.layer1(self.activation(self.bn1(self.conv1(x))))
        half = self.layer2(full)
        return [full, half, self.layer3(half)]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.stages(x)[-1].mean((2, 3))
        return self.linear(self.dropout(x))


def option_a(in_channels: int, channels: int, stride: int) -> nn.Module:
    """The shortcut between two shapes, the identity where they agree."""
    return nn.Identity() if in_channels == channels else PaddedShortcut(in_channels, channels, stride)


def initialise(layer: nn.Module) -> None:
    """Weights as He et al. 2015 (arXiv:1502.01852), which the paper adopts; no bias to begin with."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


# All trainable parameters, norms and biases included; the paper's table 6 rounds them: 0.27, 0.46, 0.66, 0.85, 1.7 M.
VARIANTS = {
    "resnet20": Variant(params=269_722, options={"blocks": 3}, image_size=32, classes=10),
    "resnet32": Variant(params=464_154, options={"blocks": 5}, image_size=32, classes=10),
    "resnet44": Variant(params=658_586, options={"blocks": 7}, image_size=32, classes=10),
    "resnet56": Variant(params=853_018, options={"blocks": 9}, image_size=32, classes=10),
    "resnet110": Variant(params=1_727_962, options={"blocks": 18}, image_size=32, classes=10),
}
