"""Sounds as pictures: log-mel spectrograms, and the masks of SpecAugment (Park et al., Interspeech 2019)."""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.data.changes import check_share
from netwright.engine.random import generator

DECIBELS = 80.0


def spectrogram(wave: Tensor, rate: int, *, bands: int = 64, window: float = 0.025, hop: float = 0.010) -> Tensor:
    """Loudness by time and pitch as a grey picture: 0 is 80 dB or more below the loudest spot, which is 255.

    Time runs to the right, pitch upwards. Shape: T -> 1 bands 1+T/hop, bytes.

    Args:
        wave: one channel.
        rate: samples a second.
        bands: the number of mel bands.
        window: seconds that are looked at together.
        hop: seconds from column to column.

    Raises:
        NetwrightError: more bands than the window can tell apart.
    """
    width = max(2, round(window * rate))
    size = 2 ** math.ceil(math.log2(2 * width))  # zeros fill up the rest: narrow bands need points between
    shape = torch.hann_window(width, dtype=wave.dtype, device=wave.device)
    step = max(1, round(hop * rate))
    spectrum = torch.stft(wave, size, step, width, window=shape, pad_mode="constant", return_complex=True)
    power = mel_filters(size, rate, bands).to(wave) @ spectrum.abs().square()
    decibels = 10 * (power / power.max().clamp(min=1e-30)).clamp(min=10 ** (-DECIBELS / 10)).log10()
    return (255 * (1 + decibels / DECIBELS)).round().to(torch.uint8).flip(0)[None]


@cache
def mel_filters(size: int, rate: int, bands: int) -> Tensor:
    """Triangles of height 1, evenly spaced in mel = 2595 log10(1 + f/700), from 0 to rate/2. Shape: bands size/2+1.

    The scale is O'Shaughnessy's (Speech communication, 1987), as in HTK.

    Args:
        size: of the Fourier transform.
        rate: samples a second.
        bands: the number of triangles.

    Raises:
        NetwrightError: a triangle falls between two frequencies of the transform.
    """
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, highest, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    rise = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rise, fall).clamp(min=0)
    if not filters.any(1).all():
        given = f"{bands} mel bands are too many for a spectrum of {size} points at {rate} samples a second"
        raise NetwrightError(given, "take fewer bands, or a longer window")
    return filters


def mask_time(picture: Tensor, *, widest: float = 0.2, count: int = 2, seed: int = 0) -> Tensor:
    """Stretches of columns are covered with the picture's mean. Shape: … H W, unchanged.

    Args:
        picture: bytes or floats.
        widest: the longest stretch, as a share of the width; every length up to it is equally likely.
        count: of stretches.
        seed: decides what is drawn.
    """
    return _masked(picture, -1, widest, count, generator("mask_time", seed))


def mask_frequency(picture: Tensor, *, widest: float = 0.2, count: int = 2, seed: int = 0) -> Tensor:
    """The same with rows. Shape: … H W, unchanged.

    Args:
        picture: bytes or floats.
        widest: the broadest band, as a share of the height.
        count: of bands.
        seed: decides what is drawn.
    """
    return _masked(picture, -2, widest, count, generator("mask_frequency", seed))


def _masked(picture: Tensor, side: int, widest: float, count: int, draw: np.random.Generator) -> Tensor:
    check_share("widest", widest)
    whole = picture.shape[side]
    mean = picture.double().mean()
    fill = (mean if picture.is_floating_point() else mean.round()).to(picture)
    result = picture.clone()
    for _ in range(count):
        width = int(draw.integers(int(widest * whole) + 1))
        start = int(draw.integers(whole - width + 1))
        result.narrow(side, start, width).fill_(fill)
    return result
