"""Residual attention networks: features times one plus a soft mask (Wang et al. 2017, arXiv:1704.06904)."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm

MaskKind = Literal["residual", "naive", "none"]
GateKind = Literal["mixed", "channel", "spatial"]


@dataclass(frozen=True)
class Style:
    """What all parts of a network have in common."""

    norm: NormKind
    activation: ActivationKind
    skip: bool
    mask: MaskKind
    gate: GateKind


class PreActivation(nn.Sequential):
    """Norm, activation and convolution."""

    def __init__(self, in_channels: int, channels: int, kernel_size: int, stride: int, style: Style) -> None:
        super().__init__(
            make_norm(style.norm, in_channels),
            make_activation(style.activation),
            conv(in_channels, channels, kernel_size, stride, norm=style.norm),
        )


class ResidualUnit(nn.Module):
    """y = branch(x) + x, the branch norm, activation and convolution thrice: 1x1, 3x3, 1x1 (He et al. 2016).

    Where shapes differ, a 1x1 convolution of the first norm's activation takes the place of x.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, style: Style) -> None:
        super().__init__()
        width = channels // 4
        self.norm = make_norm(style.norm, in_channels)
        self.activation = make_activation(style.activation)
        self.conv1 = conv(in_channels, width, 1, norm=style.norm)
        self.conv2 = PreActivation(width, width, 3, stride, style)
        self.conv3 = PreActivation(width, channels, 1, 1, style)
        self.drop_path = DropPath() if style.skip else nn.Identity()
        self.skip = style.skip
        same = stride == 1 and in_channels == channels
        self.projection = None if same or not style.skip else conv(in_channels, channels, 1, stride, norm=style.norm)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        z = self.activation(self.norm(x))
        y = self.conv3(self.conv2(self.conv1(z)))
        if not self.skip:
            return y
        return self.drop_path(y) + (x if self.projection is None else self.projection(z))


class Hourglass(nn.Module):
    """The mask branch's way down and up again: pooled, one unit, whatever lies below, one unit, enlarged.

    Args:
        channels: of every map.
        depth: how often the map is halved.
        style: of all units.
    """

    def __init__(self, channels: int, depth: int, style: Style) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.down = ResidualUnit(channels, channels, 1, style)
        self.across = self.below = None
        if depth > 1:
            self.across = ResidualUnit(channels, channels, 1, style)
            self.below = Hourglass(channels, depth - 1, style)
        self.up = ResidualUnit(channels, channels, 1, style)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        y = self.down(self.pool(x))
        if self.across is not None and self.below is not None:
            y = self.across(y) + self.below(y)
        return enlarge(self.up(y), x)


class MaskBranch(nn.Module):
    """M(x): an hourglass, two 1x1 convolutions and a gate."""

    def __init__(self, channels: int, depth: int, style: Style) -> None:
        super().__init__()
        self.gate: GateKind = style.gate
        self.hourglass = Hourglass(channels, depth, style)
        self.linear1 = PreActivation(channels, channels, 1, 1, style)
        self.linear2 = PreActivation(channels, channels, 1, 1, style)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        return open_gate(self.linear2(self.linear1(self.hourglass(x))), self.gate)


class AttentionModule(nn.Module):
    """One unit, then H = (1 + M) · T, then one unit: p = 1. The trunk T is two units (t = 2), M has r = 1.

    Args:
        channels: of every map.
        depth: how often the mask branch halves the map.
        style: of all units.
    """

    def __init__(self, channels: int, depth: int, style: Style) -> None:
        super().__init__()
        self.kind = style.mask
        self.before = ResidualUnit(channels, channels, 1, style)
        self.trunk = nn.Sequential(*(ResidualUnit(channels, channels, 1, style) for _ in range(2)))
        self.mask = None if style.mask == "none" else MaskBranch(channels, depth, style)
        self.after = ResidualUnit(channels, channels, 1, style)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        x = self.before(x)
        features = self.trunk(x)
        if self.mask is not None:
            mask = self.mask(x)
            features = features * (1 + mask if self.kind == "residual" else mask)
        return self.after(features)


class ResidualAttention(Family):
    """A pre-activation residual network with attention modules at all resolutions but the last.

    Args:
        modules: attention modules at each resolution but the last.
        width: channels of the stem; a resolution's units have 4, 8, 16, … times as many.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation before each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        skip: whether residual units add their input.
        mask: features times (1 + mask), times the mask alone (the paper's "naive" attention), or without mask branches.
        gate: what makes the mask: a sigmoid of each value ("mixed"), division by the Euclidean length over all channels
            ("channel"), or a sigmoid of each map brought to mean 0 and variance 1 ("spatial").
        stem: 7x7 of stride 2 and max-pooling, or one 3x3 of stride 1 for images of 32 to 64 pixels.
        dropout: share of the pooled features that is dropped before `fc`.
    """

    head_name = "fc"

    def __init__(
        self,
        *,
        modules: tuple[Count, ...] = (1, 1, 1),
        width: Count = 64,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        mask: MaskKind = "residual",
        gate: GateKind = "mixed",
        stem: Literal["imagenet", "cifar"] = "imagenet",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        refuse_nonsense(modules)
        style = Style(norm, activation, skip, mask, gate)
        small = stem == "cifar"
        self.small = small
        self.smallest = 2 ** len(modules) * (1 if small else 4)
        self.conv1 = conv(in_channels, width, 3 if small else 7, 1 if small else 2, norm=norm)
        self.norm1 = make_norm(norm, width)
        self.activation = make_activation(activation)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.layers = nn.ModuleList()
        before = width
        for index, count in enumerate(modules):
            channels = 4 * width * 2**index
            depth = len(modules) - index  # every mask branch goes down to the same resolution
            layer = nn.Sequential(ResidualUnit(before, channels, 1 if index == 0 else 2, style))
            layer.extend([AttentionModule(channels, depth, style) for _ in range(count)])
            self.layers.append(layer)
            before = channels
        units = [ResidualUnit(before, 2 * before, 2, style)]
        units += [ResidualUnit(2 * before, 2 * before, 1, style) for _ in range(2)]
        self.layers.append(nn.Sequential(*units))
        self.norm2 = make_norm(norm, 2 * before)
        self.last_activation = make_activation(activation)
        self.dropout = nn.Dropout(dropout)
        self.fc = make_head(2 * before, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The stem at 1/2 and the layers at 1/4, 1/8, …; with the small stem, the layers at 1/1, 1/2, ….

        The last one is normalised and activated, as the head wants it.
        """
        x = self.activation(self.norm1(self.conv1(x)))
        maps = [] if self.small else [x]
        x = self.maxpool(x)
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        maps[-1] = self.last_activation(self.norm2(x))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.stages(x)[-1].mean((2, 3))
        return self.fc(self.dropout(x))


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear interpolation to the size of another map, corner on corner as in the authors' Caffe."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


def open_gate(x: Tensor, kind: GateKind) -> Tensor:
    """The mask from what the mask branch says (section 3.2). N C H W -> N C H W."""
    match kind:
        case "mixed":
            return torch.sigmoid(x)
        case "channel":
            return F.normalize(x, dim=1)
        case "spatial":
            variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
            return torch.sigmoid((x - mean) * torch.rsqrt(variance + 1e-5))


def initialise(layer: nn.Module) -> None:
    """Weights as He et al. 2015 (arXiv:1502.01852), which the paper adopts; no bias to begin with."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
    if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
        nn.init.zeros_(layer.bias)


def refuse_nonsense(modules: tuple[int, ...]) -> None:
    """Refuse numbers of modules that no network can be built from.

    Raises:
        NetwrightError: no resolution has any.
    """
    if not modules:
        raise NetwrightError("modules cannot be ()", "give one number a resolution: modules=(1, 1, 1)")


# The structure is that of the authors' prototxt files, but for their hyperbolic tangent where the paper has a sigmoid.
# The paper's table rounds to 31.9 M, which includes the norms' running statistics, and to 51.3 M, which the files do
# not come to either: the convolutions and the head of Attention-92 alone are 52.3 M.
VARIANTS = {
    "attention56": Variant(params=31_810_728),
    "attention92": Variant(params=52_466_344, options={"modules": (1, 2, 3)}),
}
