"""What tricks on pixels share: bytes, and changing only the pictures that drew a change."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from netwright.engine.trick import TaskName

# Pixel tricks act in the order in which a picture comes about: the scene's tones, the lens, the sensor, the file; and
# what covers part of a picture comes last. A card says after which tricks its own acts, present or not.
TONES = ("augmix", "autocontrast", "equalize", "posterize", "randaugment", "solarize", "trivial_augment")
LENS = (*TONES, "blur", "sharpen")
SENSOR = (*LENS, "noise", "salt_and_pepper")
FILE = (*SENSOR, "jpeg")
CORRUPTS: Mapping[TaskName, str] = {
    "reconstruction": "pictures change before they become the target, so that the network would learn to give back "
    "what was spoilt; denoise changes only what it sees",
}


def levels(image: Tensor) -> Tensor:
    """Values in [0, 1] as the nearest of 256 levels, 0 … 255; still floats, and a tensor of its own."""
    # Plane by plane in memory: minima and histograms of planes take several times as long where channels alternate.
    return (image.contiguous() * 255).round_().clamp_(0, 255)  # a user's own pictures may lie outside


def per_sample(value: Tensor) -> Tensor:
    """N -> N 1 1 1."""
    return value.view(-1, 1, 1, 1)


def between(first: Tensor, end: Tensor, length: int) -> Tensor:
    """Which of `length` indices lie in [first, end). N, N -> N length, bool."""
    index = torch.arange(length, device=first.device)
    return (first[:, None] <= index) & (index < end[:, None])


def crossing(rows: Tensor, columns: Tensor) -> Tensor:
    """Where chosen rows and chosen columns meet. N H, N W -> N 1 H W, bool."""
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def change_some(image: Tensor, chosen: Tensor, change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`change(pictures, where)` for the pictures that are `chosen`, N bool; the others are not computed. N C H W."""
    where = chosen.nonzero()[:, 0]
    return image.index_copy(0, where, change(image[where], where)) if len(where) else image
