"""Checkerboards: patterns as fine as the strides of a network that nothing in the image asks for.

Odena, Dumoulin & Olah, Deconvolution and Checkerboard Artifacts, 2016, doi:10.23915/distill.00003.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.init import evaluating
from netwright.nn.output import main_output

SETTLED = 3e-3  # of the root mean square: how much two neighbouring periods may still differ for the borders' sake
LARGEST = 1024  # side in pixels up to which a larger image is tried before the borders' part is put up with


class Checkerboard(NamedTuple):
    """What a network makes of an image of one colour.

    Attributes:
        score: what `relative_deviation` says of one period far from the borders.
        side: of the image in pixels.
        drift: by how much neighbouring periods differ, relative to the root mean square: what the borders still do.
    """

    score: float
    side: int
    drift: float


def checkerboard(network: nn.Module, channels: int, period: int, *, side: int | None = None) -> Checkerboard:
    """How uneven a network's output is where its input is the same everywhere, 1 in each channel.

    The image is enlarged until its borders no longer matter in the middle, or up to 1024 pixels.

    Args:
        network: from N C H W to N K h w, such as a network for segmentation or a layer that enlarges; it is looked at
            in evaluation mode.
        channels: of its input.
        period: after how many pixels of the output the pattern repeats: the stride of the network.
        side: of the image in pixels; None finds it.

    Raises:
        NetwrightError: the output is no map, or less than three periods large.
    """
    least = 8 * period
    sides = [side] if side else [least * 2**power for power in range(4) if power == 0 or least * 2**power <= LARGEST]
    found = Checkerboard(0.0, 0, float("inf"))
    for width in sides:
        found = _measured(network, channels, period, width)
        if found.drift <= SETTLED:
            break
    return found


def relative_deviation(pattern: Tensor) -> float:
    """√(Σ s² / Σ q²) over channels: of the values of one period the deviation s, and the root mean square q.

    0 if all are alike, 1 on average if they are independent draws around 0, and √(n/(n − 1)) for n values of mean 0.
    s² is the unbiased variance. Shape of the pattern: K p p. A pattern of zeros has 0.
    """
    values = pattern.double().flatten(1)  # K p·p
    square = values.square().mean(1).sum()
    return float((values.var(1).sum() / square).sqrt()) if square > 0 and values.shape[1] > 1 else 0.0


def _measured(network: nn.Module, channels: int, period: int, side: int) -> Checkerboard:
    first = next(network.parameters(), torch.zeros(()))
    with evaluating(network):
        output = main_output(network(torch.ones(1, channels, side, side, device=first.device)))
    if output.ndim != 4 or min(output.shape[-2:]) < 3 * period:
        problem = f"an output of shape {tuple(output.shape)} has no three periods of {period} pixels"
        raise NetwrightError(problem, "give a network that makes maps, and a larger side")
    top, left = (size // 2 // period * period for size in output.shape[-2:])
    here = output[0, :, top : top + period, left : left + period]
    beside = output[0, :, top - period : top, left - period : left]
    size = here.double().square().mean().sqrt()
    drift = float((here - beside).double().square().mean().sqrt() / size) if size > 0 else 0.0
    return Checkerboard(relative_deviation(here), side, drift)
