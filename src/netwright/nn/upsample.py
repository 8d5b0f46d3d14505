"""Ways to a larger map: interpolation and convolution, transposed convolution, pixel shuffle."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError

UpsampleKind = Literal["nearest", "bilinear", "transposed", "pixel_shuffle"]


class ResizeConvolution(nn.Module):
    """Interpolation, then a convolution (Odena, Dumoulin & Olah 2016, doi:10.23915/distill.00003).

    With factor f, along each axis:

    - nearest: y[i] = x[⌊i/f⌋]
    - bilinear: y[i] = (1 − t)·x[⌊u⌋] + t·x[⌊u⌋ + 1], where u = (i + ½)/f − ½ within 0 … n − 1, and t = u − ⌊u⌋

    A 1x1 convolution is the same before and after interpolation, whose weights add up to 1; it is done before, on f²
    times fewer pixels.

    Args:
        channels: of the map.
        out_channels: of the larger map.
        mode: of interpolation.
        factor: by which both sides grow.
        kernel: side of the convolution, odd.
    """

    def __init__(
        self, channels: int, out_channels: int, mode: Literal["nearest", "bilinear"], factor: int = 2, kernel: int = 3
    ) -> None:
        super().__init__()
        self.mode, self.factor = mode, factor
        self.conv = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """N channels H W -> N out_channels factor·H factor·W."""
        if self.conv.kernel_size == (1, 1):
            return F.interpolate(self.conv(x), scale_factor=self.factor, mode=self.mode)
        return self.conv(F.interpolate(x, scale_factor=self.factor, mode=self.mode))


class PixelShuffle(nn.Module):
    """A convolution to f² values a pixel, laid out as f x f pixels (Shi et al. 2016, arXiv:1609.05158).

    y[c, f·i + a, f·j + b] = z[c·f² + a·f + b, i, j] with z = conv(x). It begins as ICNR (Aitken et al. 2017,
    arXiv:1707.02937): the f² filters of a channel are equal, so that y is the nearest-neighbour enlargement of a
    convolution.

    Args:
        channels: of the map.
        out_channels: of the larger map.
        factor: by which both sides grow.
        kernel: side of the convolution, odd.
    """

    def __init__(self, channels: int, out_channels: int, factor: int = 2, kernel: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels * factor**2, kernel, padding=kernel // 2)
        self.shuffle = nn.PixelShuffle(factor)
        icnr_(self.conv, factor)

    def forward(self, x: Tensor) -> Tensor:
        """N channels H W -> N out_channels factor·H factor·W."""
        return self.shuffle(self.conv(x))


def transposed(
    channels: int, out_channels: int, *, factor: int = 2, kernel: int | None = None, groups: int = 1, bias: bool = True
) -> nn.ConvTranspose2d:
    """A transposed convolution that makes both sides `factor` times as long, whatever its kernel.

    y[c, m, n] = bias[c] + Σ x[d, i, j]·w[d, c, a, b] over all d and all m = factor·i + a − p, n = factor·j + b − p.
    With p = ⌈(kernel − factor)/2⌉ borders are cut as evenly as they can be. Where the kernel is no multiple of the
    factor, some pixels are the sum of more terms than others.

    Args:
        channels: of the map.
        out_channels: of the larger map.
        factor: by which both sides grow, the stride of the convolution whose transpose this is.
        kernel: side of the kernel; None is the factor, as in U-Net; FCN has twice that.
        groups: of channels that do not see each other.
        bias: whether each channel has one.

    Raises:
        NetwrightError: the kernel is smaller than the factor, which would leave pixels without any value.
    """
    kernel = factor if kernel is None else kernel
    if kernel < factor:
        problem = f"a transposed convolution with kernel {kernel} and stride {factor} leaves pixels empty"
        raise NetwrightError(problem, f"give a kernel of at least {factor}")
    cut = -(-(kernel - factor) // 2)
    added = 2 * cut - (kernel - factor)
    return nn.ConvTranspose2d(
        channels, out_channels, kernel, factor, cut, output_padding=added, groups=groups, bias=bias
    )


def make_upsample(
    kind: UpsampleKind, channels: int, out_channels: int, *, factor: int = 2, kernel: int | None = None
) -> nn.Module:
    """A learned enlargement by name: N channels H W -> N out_channels factor·H factor·W.

    Args:
        kind: "nearest" and "bilinear" are followed by a convolution.
        channels: of the map.
        out_channels: of the larger map.
        factor: by which both sides grow.
        kernel: side of the convolution; None is 3 after interpolation, the factor if it is transposed, 1 before
            pixels are shuffled.

    Raises:
        NetwrightError: a transposed convolution with a kernel smaller than the factor.
    """
    match kind:
        case "nearest" | "bilinear":
            return ResizeConvolution(channels, out_channels, kind, factor, kernel or 3)
        case "transposed":
            return transposed(channels, out_channels, factor=factor, kernel=kernel)
        case "pixel_shuffle":
            return PixelShuffle(channels, out_channels, factor, kernel or 1)


@torch.no_grad()
def icnr_(conv: nn.Conv2d, factor: int) -> None:
    """Give the factor² filters that make one enlarged channel the weights, and the bias, of the first of them."""
    for values in (conv.weight, conv.bias):
        if values is not None:  # pyright: ignore[reportUnnecessaryComparison]
            values.copy_(values[:: factor**2].repeat_interleave(factor**2, 0))


@torch.no_grad()
def bilinear_(layer: nn.ConvTranspose2d, mix: Tensor | None = None) -> None:
    """Let a transposed convolution begin as interpolation of mixed channels (Long et al. 2015, arXiv:1411.4038).

    With a kernel of twice the factor, and an even factor, it is bilinear interpolation but for the outermost pixels,
    half a factor of them, which fade towards zero.

    Args:
        layer: of one group where there is a mix.
        mix: the weight of each channel in each of the larger map, channels out_channels; None keeps channels apart.

    Raises:
        NetwrightError: without a mix, it does not have as many channels as it is given.
    """
    if mix is None and layer.in_channels != layer.out_channels:
        problem = f"interpolation cannot turn {layer.in_channels} channels into {layer.out_channels}"
        raise NetwrightError(problem, "give as many out_channels as channels")
    if mix is None:
        own = layer.in_channels // layer.groups
        mix = torch.eye(own).repeat(layer.groups, 1)
    kernel = bilinear_kernel(layer.kernel_size[0])
    layer.weight.copy_(mix[:, :, None, None] * kernel.to(mix.device))
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        layer.bias.zero_()


def bilinear_kernel(side: int) -> Tensor:
    """The product of a tent along each axis: 1 − |a − centre|/f with f = ⌈side/2⌉, centre (side − 1)/2. side side."""
    centre, half = (side - 1) / 2, (side + 1) // 2
    tent = 1 - (torch.arange(side) - centre).abs() / half
    return tent[:, None] * tent[None, :]
