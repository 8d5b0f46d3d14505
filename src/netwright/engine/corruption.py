"""Pictures that are corrupted on purpose: for networks to learn from, and to test what they have learnt."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError, unknown
from netwright.engine import random

Kind = Literal["gaussian", "salt_and_pepper", "mask", "perturb"]
Draw = Callable[[int], Tensor]  # so many numbers for each picture, N n


def corrupted(pictures: Tensor, kind: str, amount: float, seed: int = 0) -> Tensor:
    """Corrupted pictures to test denoising with: N C H W in [0, 1] -> the same.

    Each is a function of seed, kind, amount and its place among the pictures, and of nothing else. A larger amount of
    the same kind changes the same pixels further, or those and others.

    Args:
        pictures: floats.
        kind: "gaussian", "salt_and_pepper", "mask" or "perturb", as of the trick `denoise`.
        amount: as of the trick.
        seed: of what is drawn.

    Raises:
        NetwrightError: unknown kind, an amount outside [0, 1], or no pictures.
    """
    if kind not in get_args(Kind):
        raise unknown("kind of corruption", kind, get_args(Kind))
    if not 0 <= amount <= 1:
        raise NetwrightError(f"pictures cannot be corrupted by an amount of {amount:g}", "give one between 0 and 1")
    if pictures.dim() != 4 or not pictures.is_floating_point():
        given = f"{str(pictures.dtype).removeprefix('torch.')}, {tuple(pictures.shape)}"
        raise NetwrightError(f"what is to be corrupted is no batch of pictures: {given}", "give floats, N C H W")
    if not amount:
        return pictures.clone()
    places = torch.arange(len(pictures), device=pictures.device)
    source, stream = random.normal if kind == "gaussian" else random.uniform, random.key(seed, "corrupted", kind)
    return corrupt(pictures, kind, amount, lambda n: source(stream, places, n))


def corrupt(image: Tensor, kind: str, amount: float, draw: Draw) -> Tensor:
    """Pictures N C H W in [0, 1] -> the same, corrupted.

    Args:
        image: the pictures.
        kind: one of `Kind`.
        amount: as of `corrupted`.
        draw: gives so many numbers for each picture, N n: standard normal for "gaussian", else uniform in [0, 1).
    """
    n, channels, height, width = image.shape
    if kind == "gaussian":
        return (image + amount * draw(channels * height * width).view(image.shape)).clamp_(0, 1)
    if kind == "perturb":
        return moved(image, draw(2 * height * width).view(n, 2, height, width), amount * min(height, width) / 2)
    lost = draw(height * width).view(n, 1, height, width)
    if kind == "salt_and_pepper":
        return image.masked_fill(lost < amount / 2, 1).masked_fill_(lost >= 1 - amount / 2, 0)
    return image.masked_fill(lost < amount, 0)


def moved(image: Tensor, draw: Tensor, radius: float) -> Tensor:
    """Each pixel from up to `radius` pixels away, down and across; what lies outside is the border. N C H W.

    Args:
        image: N C H W.
        draw: uniform in [0, 1), N 2 H W: down, across.
        radius: in pixels; the place is rounded to the nearest pixel.
    """
    n, channels, height, width = image.shape
    shift = ((2 * draw - 1) * radius).round().long()
    rows, columns = torch.arange(height, device=image.device)[:, None], torch.arange(width, device=image.device)
    rows = (rows + shift[:, 0]).clamp_(0, height - 1)
    columns = (columns + shift[:, 1]).clamp_(0, width - 1)
    place = (rows * width + columns).view(n, 1, -1).expand(-1, channels, -1)
    return image.reshape(n, channels, -1).gather(2, place).view(image.shape)
