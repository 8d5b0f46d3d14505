"""U-Net on any classifier's body (Ronneberger, Fischer & Brox 2015, arXiv:1505.04597)."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models._encoder import Encoder, make_encoder
from netwright.models._family import Classes, Count, Share, Variant
from netwright.models._segmenter import Segmenter
from netwright.nn.activation import ActivationKind
from netwright.nn.conv import conv_norm
from netwright.nn.init import keep_scale
from netwright.nn.norm import NormKind
from netwright.nn.upsample import PixelShuffle, UpsampleKind, bilinear_, icnr_, make_upsample

WIDEST = 16  # decoders get no wider than this many times their width at full resolution

Missing = Literal["left_out", "zeros"]
Start = Literal["bilinear", "random"]


class Level(nn.Module):
    """y = convolutions([upsample(x), skip]): one step to a larger resolution."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        channels: int,
        factor: int,
        *,
        upsample: UpsampleKind,
        start: Start,
        shift: int,
        skip: bool,
        norm: NormKind,
        activation: ActivationKind,
    ) -> None:
        super().__init__()
        kernel = 1  # the two convolutions that follow look around
        if upsample == "transposed":
            kernel = 2 * factor if start == "bilinear" else factor
        self.upsample = make_upsample(upsample, in_channels, channels, factor=factor, kernel=kernel)
        self.shift, self.skip, self.skip_channels = shift, skip, skip_channels
        self.convolutions = nn.Sequential(
            conv_norm(channels + skip_channels, channels, 3, norm=norm, activation=activation),
            conv_norm(channels, channels, 3, norm=norm, activation=activation),
        )

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """N C h w and N S H W, of which only the size counts where there is no skip -> N channels H W."""
        x = fitted(self.upsample(x), like.shape[-2], like.shape[-1], shift=self.shift)
        if self.skip_channels:
            x = torch.cat([x, like if self.skip else torch.zeros_like(like)], 1)
        return self.convolutions(x)


class UNet(Segmenter):
    """A classifier's maps, from the smallest to the largest: each is enlarged and joined with the next by a skip.

    Where the largest map is smaller than the image, one more level without a skip follows.

    Args:
        encoder: the classifier that makes the maps, with its own options: `'vgg16(norm="batch")'`.
        classes: number of class scores a pixel; with none the network gives the features that its head would see.
        in_channels: channels of the images.
        upsample: how maps are enlarged.
        start: of transposed convolutions: "bilinear" begins as interpolation, with kernels of twice the factor, which
            it takes; "random" has kernels as large as the factor, as in the paper, and a checkerboard to unlearn.
        skip: whether the decoder is given the encoder's maps; or which of them, 1 being the largest, as `(1, 2)`.
        missing: what stands for a map that is not given: nothing, so that there are fewer weights; or zeros, so that
            the number of weights is that with all skips. The weights that read zeros have no gradient and no effect.
        width: channels of the decoder at full resolution, twice as many for each halving, up to 16 times as many.
        norm: of the decoder, after each 3x3 convolution; with none, these get a bias.
        activation: of the decoder, after each norm.
        dropout: share of the smallest map that is dropped.

    Raises:
        NetwrightError: an encoder without maps, or skips that it does not have.
    """

    def __init__(
        self,
        *,
        encoder: str = "resnet18",
        classes: Classes = 2,
        in_channels: Count = 3,
        upsample: UpsampleKind = "nearest",
        start: Start = "bilinear",
        skip: bool | tuple[Count, ...] = True,
        missing: Missing = "left_out",
        width: Count = 16,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, in_channels)
        self.stride, self.smallest = self.encoder.strides[-1], self.encoder.smallest
        given = skips(skip, self.encoder)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.ModuleList()
        channels = self.encoder.channels[-1]
        for step in steps(self.encoder):
            read = step.place in given
            skip_channels = step.channels if read or missing == "zeros" else 0
            wide = width * min(step.stride, WIDEST)
            level = Level(
                channels,
                skip_channels,
                wide,
                step.factor,
                upsample=upsample,
                start=start,
                shift=step.shift,
                skip=read,
                norm=norm,
                activation=activation,
            )
            self.decoder.append(level)
            channels = wide
        self.decoder.apply(initialise)
        if start == "bilinear":
            for layer in self.decoder.modules():
                if isinstance(layer, nn.ConvTranspose2d):
                    bilinear_(layer, torch.randn(layer.in_channels, layer.out_channels) / layer.in_channels**0.5)
        self.head = nn.Conv2d(channels, classes, 1) if classes else nn.Identity()

    def scores(self, x: Tensor) -> Tensor:
        """N C H W -> N K H W, sides multiples of `stride`."""
        *larger, y = self.encoder(x)
        y = self.dropout(y)
        for level, like in zip(self.decoder, [*reversed(larger), x], strict=False):  # x, if no map is as large
            y = level(y, like)
        return self.head(y)


class Step(NamedTuple):
    """One level of a decoder: to which map it goes, counted from the largest, 1; to the image itself, 0.

    Attributes:
        place: of the map.
        stride: of the map.
        channels: of the map; the image's are not read.
        factor: by which the sides grow on the way to it.
        shift: by how many values of the map what is enlarged moves to lie on it.
    """

    place: int
    stride: int
    channels: int
    factor: int
    shift: int


def steps(encoder: Encoder) -> list[Step]:
    """The way from the smallest map to the resolution of the image.

    Raises:
        NetwrightError: some map's side is no multiple of the next one's.
    """
    goals = list(zip(range(1, len(encoder.strides)), encoder.strides, encoder.channels, strict=False))[::-1]
    goals += [(0, 1, 0)] if encoder.strides[0] > 1 else []
    shifts = encoder.shifts()
    found: list[Step] = []
    before = encoder.strides[-1]
    for place, stride, channels in goals:
        if before % stride:
            problem = f"this encoder has maps at 1/{stride} and 1/{before}: no whole number leads from one to the other"
            raise NetwrightError(problem, "choose another encoder, such as resnet18")
        found.append(Step(place, stride, channels, before // stride, shifts[place]))
        before = stride
    return found


def skips(wanted: bool | tuple[int, ...], encoder: Encoder) -> set[int]:
    """The places of the maps that a decoder is given, 1 being the largest; the smallest is where it starts.

    Raises:
        NetwrightError: there is no map at such a place.
    """
    every = range(1, len(encoder.strides))
    if isinstance(wanted, bool):
        return set(every) if wanted else set()
    if strangers := [place for place in wanted if place not in every]:
        named = ", ".join(f"{place} (1/{encoder.strides[place - 1]})" for place in every)
        problem = f"skip cannot be {wanted!r}: this encoder has no map {strangers[0]} besides its last"
        raise NetwrightError(problem, f"choose among {named}; or True for all, False for none")
    return set(wanted)


def fitted(x: Tensor, height: int, width: int, *, shift: int | None = None) -> Tensor:
    """A part of maps, N C h w -> N C height width; where they are too small, their borders are repeated.

    Args:
        x: the maps.
        height: of the part.
        width: of the part.
        shift: to which row and column of the part the first of the maps come, negative where they are cut off; None
            keeps the middle, and the larger half of an odd difference falls to the right and the bottom.
    """
    down, right = height - x.shape[-2], width - x.shape[-1]
    if down == right == 0 and not shift:
        return x
    margins = [part for more in (right, down) for part in _margins(more, shift)]
    return F.pad(x, margins, mode="replicate")


def _margins(more: int, shift: int | None) -> tuple[int, int]:
    first = int(more / 2) if shift is None else shift
    return first, more - first


def initialise(layer: nn.Module) -> None:
    """As He et al. 2015 (arXiv:1502.01852) by what reaches a pixel; what is shuffled begins as nearest neighbours."""
    keep_scale(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        taps = (layer.kernel_size[0] / layer.stride[0]) ** 2
        nn.init.normal_(layer.weight, std=(layer.in_channels * taps) ** -0.5)
        if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            nn.init.zeros_(layer.bias)
    if isinstance(layer, PixelShuffle):
        icnr_(layer.conv, layer.shuffle.upscale_factor)


# Counted, as the paper has no such network: resnet18's 11,176,512 without its head, 2,540,976 in the decoder, 34 in the
# head.
VARIANTS = {
    "unet": Variant(params=13_717_522, image_size=256, classes=2, task="segmentation"),
    "encoder_decoder": Variant(
        params=13_717_522, options={"skip": False, "missing": "zeros"}, image_size=256, classes=2, task="segmentation"
    ),
}
