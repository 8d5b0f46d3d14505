"""Numbers as colours that rise evenly in lightness (van der Walt & Smith's maps, https://bids.github.io/colormap)."""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Bytes = NDArray[np.uint8]
MAP = "inferno"
VEIL = 0.65  # share of the heat's colour where it is greatest


@cache
def table(name: str = MAP) -> Bytes:
    """The 256 colours of a map, 256 3."""
    from matplotlib import colormaps  # takes a tenth of a second, which no training should wait for at its start

    return (colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def scaled(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """What speaks for a class as a share of its greatest value; nothing where nothing does."""
    positive = np.nan_to_num(heat).clip(0)
    most = positive.max(initial=0)
    return positive / most if most > 0 else np.zeros_like(positive)


def coloured(share: NDArray[np.float32], name: str = MAP) -> Bytes:
    """Shares from 0 to 1 as colours, H W -> H W 3."""
    return table(name)[(share.clip(0, 1) * 255).round().astype(np.uint8)]


def overlaid(picture: Bytes, heat: NDArray[np.float32]) -> Bytes:
    """A heat map over its picture turned grey: the hotter, the less of the picture is left. H W C and H W -> H W 3."""
    share = scaled(heat)[..., None]
    grey = rgb(picture).mean(2, keepdims=True).repeat(3, 2)
    veil = VEIL * share**0.5
    mixed = (1 - veil) * grey * 0.85 + veil * coloured(share[..., 0])
    return mixed.round().clip(0, 255).astype(np.uint8)


def rgb(picture: Bytes) -> Bytes:
    """The first channel three times where there are fewer than three, else the first three. H W C -> H W 3."""
    return picture[..., :1].repeat(3, 2) if picture.shape[2] < 3 else picture[..., :3]


def enlarged(map_: Tensor, height: int, width: int) -> Tensor:
    """Maps as large as the picture, bilinear. N h w -> N H W."""
    return F.interpolate(map_[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]


def pixels(value: Tensor) -> Bytes:
    """Values in [0, 1] as bytes, C H W -> H W 3."""
    return rgb((value.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy())


def blurred(image: Tensor, share: float = 1 / 16) -> Tensor:
    """A picture through a Gaussian whose deviation is a share of its longer side. N C H W."""
    sigma = max(0.5, share * max(image.shape[2:]))
    reach = int(3 * sigma)
    x = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    weight = torch.exp(-(x**2) / (2 * sigma**2))
    weight = (weight / weight.sum()).expand(image.shape[1], 1, -1)
    for axis in (2, 3):
        kernel = weight[..., None] if axis == 2 else weight[..., None, :]
        pad = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        image = F.conv2d(F.pad(image, pad, mode="replicate"), kernel, groups=image.shape[1])
    return image
