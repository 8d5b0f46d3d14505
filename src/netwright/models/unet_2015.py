"""The original U-Net, whose output is smaller than its input (Ronneberger, Fischer & Brox 2015, arXiv:1505.04597)."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Share, Variant
from netwright.models._segmenter import Segmenter
from netwright.models.unet import fitted, initialise
from netwright.nn.activation import ActivationKind
from netwright.nn.conv import conv_norm
from netwright.nn.norm import NormKind
from netwright.nn.upsample import transposed

LEVELS = 5
STRIDE = 2 ** (LEVELS - 1)
CONTEXT = 92  # pixels at each side that get no scores: 572 − 388 = 2·92
NARROWING = 60  # without padding, sides of 16k + 60 pixels pass; they give 16k − 124, which is 16·(k − 4) − 60
DROPPED = 2  # pairs of convolutions at the end of the contracting path

Padding = Literal["valid", "same"]


class Contracting(nn.Module):
    """Pairs of 3x3 convolutions with 2x2 pooling in between: maps at 1/1, 1/2, 1/4, 1/8 and 1/16."""

    def __init__(self, in_channels: int, widths: list[int], around: int, dropout: float, **brick: Any) -> None:
        super().__init__()
        self.pairs = nn.ModuleList()
        for level, width in enumerate(widths):
            dropped = dropout if level >= len(widths) - DROPPED else 0.0
            self.pairs.append(pair(in_channels, width, around, **brick).append(nn.Dropout(dropped)))
            in_channels = width
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """N C H W -> [N width H W, N 2·width H/2 W/2, …]; without padding, sides are 4 less at each level."""
        maps: list[Tensor] = []
        for pair in self.pairs:
            maps.append(pair(self.pool(maps[-1]) if maps else x))
        return maps


class Expanding(nn.Module):
    """y = pair([crop(skip), up-convolution(x)])."""

    def __init__(self, channels: int, around: int, **brick: Any) -> None:
        super().__init__()
        self.upsample = transposed(2 * channels, channels)
        self.pair = pair(2 * channels, channels, around, **brick)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """N 2·channels h w and N channels H W -> N channels 2·h 2·w; without padding, sides are 4 less."""
        x = self.upsample(x)
        return self.pair(torch.cat([fitted(skip, x.shape[-2], x.shape[-1]), x], 1))


class UNet2015(Segmenter):
    """The network of the paper's figure 1: 23 convolutions, 18 of them 3x3 without padding.

    Without padding, 572x572 pixels give scores for the 388x388 in the middle. As in the paper's overlap-tile strategy,
    images are mirrored beyond their borders first, so that every pixel gets its scores.

    Args:
        classes: number of class scores a pixel; with none the network gives the features that its head would see.
        in_channels: channels of the images.
        padding: "valid" is the paper's; with "same" convolutions keep the size, so that images need no context.
        width: channels of the first pair of convolutions, twice as many for each halving.
        norm: after each 3x3 convolution; with none, these get a bias.
        activation: after each 3x3 convolution.
        dropout: share of values dropped after the last two pairs of the contracting path.
    """

    def __init__(
        self,
        *,
        classes: Classes = 2,
        in_channels: Count = 1,
        padding: Padding = "valid",
        width: Count = 64,
        norm: NormKind = "none",
        activation: ActivationKind = "relu",
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        self.padding = padding
        self.stride = self.smallest = STRIDE
        around, widths = int(padding == "same"), [width * 2**level for level in range(LEVELS)]
        brick: dict[str, Any] = {"norm": norm, "activation": activation}
        self.encoder = Contracting(in_channels, widths, around, dropout, **brick)
        self.decoder = nn.ModuleList(Expanding(width, around, **brick) for width in reversed(widths[:-1]))
        self.apply(initialise)
        self.head = nn.Conv2d(width, classes, 1) if classes else nn.Identity()
        initialise(self.head)

    def scores(self, x: Tensor) -> Tensor:
        """N C H W -> N K H W; without padding N C H W -> N K H-184 W-184, for sides of 188, 204, … 572, … pixels."""
        *larger, y = self.encoder(x)
        for level, skip in zip(self.decoder, reversed(larger), strict=True):
            y = level(y, skip)
        return self.head(y)

    def padded(self, x: Tensor) -> Tensor:
        """Images with repeated borders; without padding, mirrored ones with the context that their pixels need."""
        return super().padded(x) if self.padding == "same" else with_context(x)


def pair(in_channels: int, channels: int, around: int, *, norm: NormKind, activation: ActivationKind) -> nn.Sequential:
    """Two 3x3 convolutions with norm and activation, with `around` zeros at each side."""
    first = conv_norm(in_channels, channels, 3, norm=norm, activation=activation, padding=around)
    return nn.Sequential(first, conv_norm(channels, channels, 3, norm=norm, activation=activation, padding=around))


def with_context(x: Tensor) -> Tensor:
    """Images mirrored beyond their borders: 92 pixels at the left and the top, at least as many at the other sides.

    N C H W -> N C h w, where h − 184 is the next side from H on that the network can give: 4, 20, … 388, …
    """
    rows, columns = (mirrored(side, x.device) for side in x.shape[-2:])
    return x[..., rows, :][..., columns]


def mirrored(side: int, device: torch.device) -> Tensor:
    """Places of an image's pixels in an image with context: 2 1 0 1 2 3 2 1 for four pixels.

    As often as it takes for images smaller than the context; a single pixel is repeated.
    """
    given = -(-(side + NARROWING) // STRIDE) * STRIDE - NARROWING
    places = torch.arange(-CONTEXT, max(4, given) + CONTEXT, device=device)
    last = side - 1
    return last - ((places % (2 * last) - last).abs()) if last else torch.zeros_like(places)


# Counted from figure 1: 18 convolutions of 3x3 have 28,244,288 values, four of 2x2 2,786,240 and the last one 130.
VARIANTS = {
    "unet_2015": Variant(params=31_030_658, image_size=572, classes=2, in_channels=1, task="segmentation"),
}
