"""ConvNeXt, a convolutional network with a transformer's proportions (Liu et al. 2022, arXiv:2201.03545)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.models._family import Classes, Count, Family, Share, Variant, refuse_layers
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import same_padding
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.norm import make_norm

Norm = Literal["channel", "batch", "layer", "instance", "group", "none"]
LayerScale = Annotated[float, Between(0, 1)]
EPS = 1e-6


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each place of a map alone; "layer" elsewhere is over the whole map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        x = x.permute(0, 2, 3, 1)  # N C H W -> N H W C, a view; of the same memory order if x is channels_last
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, EPS).permute(0, 3, 1, 2)


class Permute(nn.Module):
    """Another order of dimensions."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """A view of x."""
        return x.permute(self.order)


@dataclass(frozen=True)
class Style:
    """What all blocks of a network have in common."""

    kernel_size: int
    norm: Norm
    activation: ActivationKind
    skip: bool
    layer_scale: float


class Block(nn.Module):
    """y = x + drop_path(scale · block(x)): a depthwise convolution, a norm, and a perceptron at each place.

    The 1x1 convolutions are linear layers on N H W C, which the authors found faster.
    """

    layer_scale: nn.Parameter | None

    def __init__(self, channels: int, style: Style, drop_path: float) -> None:
        super().__init__()
        kernel_size = style.kernel_size
        spread = nn.Conv2d(channels, channels, kernel_size, padding=same_padding(kernel_size), groups=channels)
        self.block = nn.Sequential(
            spread,
            *norm_and_turn(style.norm, channels),  # N C H W -> N H W C
            nn.Linear(channels, 4 * channels),
            make_activation(style.activation),
            nn.Linear(4 * channels, channels),
            Permute(0, 3, 1, 2),
        )
        scaled = style.skip and style.layer_scale > 0
        self.layer_scale = nn.Parameter(torch.full((channels, 1, 1), style.layer_scale)) if scaled else None
        self.drop_path = DropPath(drop_path) if style.skip else nn.Identity()
        self.skip = style.skip

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        y = self.block(x)
        y = y if self.layer_scale is None else self.layer_scale * y
        return x + self.drop_path(y) if self.skip else y


class ConvNeXt(Family):
    """Four stages of blocks, each after a convolution that halves the map, submodules named as in torchvision.

    Args:
        layers: blocks at each resolution.
        width: channels of the first stage; doubled at each halving.
        kernel_size: of the depthwise convolutions, odd.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: "channel" is the paper's, over the channels of each place, and the head's unless it is "none".
        activation: in the blocks.
        skip: whether blocks add their input; without, their branches are neither scaled down nor dropped.
        layer_scale: what the blocks' branches are multiplied by to begin with, trained a channel; 0 leaves it out.
        dropout: share of the pooled features that is dropped before the last layer.
        drop_path: probability with which training leaves out the last block's branch, rising linearly from 0.
    """

    head_name = "classifier.2"

    def __init__(
        self,
        *,
        layers: tuple[int, ...] = (3, 3, 9, 3),
        width: Count = 96,
        kernel_size: Count = 7,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: Norm = "channel",
        activation: ActivationKind = "gelu",
        skip: bool = True,
        layer_scale: LayerScale = 1e-6,
        dropout: Share = 0.0,
        drop_path: Share = 0.1,
    ) -> None:
        super().__init__()
        refuse_nonsense(layers, kernel_size)
        self.smallest = 2 ** (len(layers) + 1)
        style = Style(kernel_size, norm, activation, skip, layer_scale)
        self.features = nn.Sequential(nn.Sequential(nn.Conv2d(in_channels, width, 4, 4), norm_of(norm, width)))
        channels, block = width, 0
        for index, blocks in enumerate(layers):
            if index > 0:
                halving = nn.Conv2d(channels, 2 * channels, 2, 2)
                self.features.append(nn.Sequential(norm_of(norm, channels), halving))
                channels = 2 * channels
            stage = nn.Sequential()
            for _ in range(blocks):
                stage.append(Block(channels, style, drop_path * block / max(1, sum(layers) - 1)))
                block += 1
            self.features.append(stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        last_norm = nn.Identity() if norm == "none" else ChannelNorm(channels)  # of one place there is no other
        flatten = nn.Sequential(nn.Flatten(), nn.Dropout(dropout))
        self.classifier = nn.Sequential(last_norm, flatten, make_head(channels, classes))
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each stage, at 1/4, 1/8, …."""
        maps: list[Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index % 2 == 1:  # between stages are the stem and the halvings
                maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.classifier(self.avgpool(self.stages(x)[-1]))


def norm_of(norm: Norm, channels: int) -> nn.Module:
    """A normalisation layer. N C H W -> N C H W."""
    return ChannelNorm(channels) if norm == "channel" else make_norm(norm, channels)


def norm_and_turn(norm: Norm, channels: int) -> tuple[nn.Module, nn.Module]:
    """A normalisation layer and a change of order. N C H W -> N H W C."""
    turn = Permute(0, 2, 3, 1)
    return (turn, nn.LayerNorm(channels, EPS)) if norm == "channel" else (make_norm(norm, channels), turn)


def initialise(layer: nn.Module) -> None:
    """Weights from the authors' truncated normal distribution, and no bias to begin with."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def refuse_nonsense(layers: tuple[int, ...], kernel_size: int) -> None:
    """Refuse option values that no network can be built from.

    Raises:
        NetwrightError: no stages, a stage without blocks, or a kernel without a middle.
    """
    refuse_layers(layers, (3, 3, 9, 3))
    if kernel_size % 2 == 0:
        raise NetwrightError(f"kernel_size cannot be {kernel_size}", f"give an odd number, such as {kernel_size + 1}")


VARIANTS = {
    "convnext_tiny": Variant(params=28_589_128, reference="torchvision/convnext_tiny"),
    "convnext_small": Variant(
        params=50_223_688,
        options={"layers": (3, 3, 27, 3), "drop_path": 0.4},
        reference="torchvision/convnext_small",
    ),
    "convnext_base": Variant(
        params=88_591_464,
        options={"layers": (3, 3, 27, 3), "width": 128, "drop_path": 0.5},
        reference="torchvision/convnext_base",
    ),
    "convnext_large": Variant(
        params=197_767_336,
        options={"layers": (3, 3, 27, 3), "width": 192, "drop_path": 0.5},
        reference="torchvision/convnext_large",
    ),
}
