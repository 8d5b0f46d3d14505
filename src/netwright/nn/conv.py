"""A convolution with its normalisation and activation: the brick of most families."""

from typing import Any

from torch import Tensor, nn

from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.norm import NormKind, make_norm

Size = int | tuple[int, int]


def same_padding(kernel_size: Size, dilation: int = 1) -> tuple[int, int]:
    """Zeros on each side that keep the size of a map under an odd kernel of stride 1."""
    height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return dilation * (height - 1) // 2, dilation * (width - 1) // 2


def conv(
    in_channels: int,
    channels: int,
    kernel_size: Size,
    stride: int = 1,
    *,
    norm: NormKind,
    padding: Size | None = None,
    groups: int = 1,
    dilation: int = 1,
) -> nn.Conv2d:
    """A convolution that keeps the size but for its stride, unless told its padding; a norm makes its bias needless."""
    around = same_padding(kernel_size, dilation) if padding is None else padding
    options: dict[str, Any] = {"groups": groups, "dilation": dilation, "bias": norm == "none"}
    return nn.Conv2d(in_channels, channels, kernel_size, stride, around, **options)


def conv_norm(
    in_channels: int,
    channels: int,
    kernel_size: Size,
    stride: int = 1,
    *,
    norm: NormKind,
    activation: ActivationKind | None,
    padding: Size | None = None,
    groups: int = 1,
    dilation: int = 1,
    eps: float = 1e-5,
    momentum: float = 0.1,
) -> nn.Sequential:
    """Convolution, norm and activation as one `Sequential`, numbered as torchvision's; None leaves the last out."""
    brick = nn.Sequential(
        conv(in_channels, channels, kernel_size, stride, norm=norm, padding=padding, groups=groups, dilation=dilation),
        make_norm(norm, channels, eps=eps, momentum=momentum),
    )
    return brick if activation is None else brick.append(make_activation(activation, inplace=True))


class ConvNorm(nn.Module):
    """Convolution, norm and activation, with the names `conv` and `bn` that the Inception networks' weights have."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: Size,
        stride: int = 1,
        *,
        norm: NormKind,
        activation: ActivationKind,
        padding: Size | None = None,
        eps: float = 1e-3,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, kernel_size, stride, norm=norm, padding=padding)
        self.bn = make_norm(norm, channels, eps=eps, momentum=momentum)
        self.activation = make_activation(activation, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        return self.activation(self.bn(self.conv(x)))


def conv_layers(
    in_channels: int,
    channels: int,
    kernel_size: int,
    stride: int = 1,
    *,
    norm: NormKind,
    activation: ActivationKind,
    padding: Size | None = None,
) -> list[nn.Module]:
    """Convolution, norm and activation, to be numbered in a row with others; no norm takes no number."""
    convolution = conv(in_channels, channels, kernel_size, stride, norm=norm, padding=padding)
    return [convolution, *norm_layers(norm, channels), make_activation(activation)]


def norm_layers(norm: NormKind, channels: int) -> list[nn.Module]:
    """One norm, or none at all."""
    return [] if norm == "none" else [make_norm(norm, channels)]


def multiple_of_eight(channels: float) -> int:
    """The nearest multiple of eight, or the next where that would take away more than a tenth."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest
