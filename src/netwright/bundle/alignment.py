"""Codes of one network in the decoder of another, as they are or through an affine map between the two."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from netwright.bundle.autoencoder import AutoencoderBundle, Labels
from netwright.core.errors import NetwrightError

HELD_OUT = 5  # one picture in so many tells how well codes were aligned


@dataclass(frozen=True)
class Swapped:
    """Pictures by the encoder of one network and the decoder of another, N C H W each.

    Attributes:
        given: as the second network gives pictures back: its size and channels.
        decoded: from the first one's codes by the second.
        own: by the second network alone.
    """

    given: Tensor
    decoded: Tensor
    own: Tensor


@dataclass(frozen=True)
class Alignment:
    """An affine map from codes of one network to codes of another.

    Attributes:
        matrix: D E.
        offset: E.
        r2: the share of the second codes' variance, over all dimensions together, that it explains in pictures that it
            was not fitted to.
        n: pictures that it was fitted to.
        held_out: pictures that `r2` was measured on.
    """

    matrix: Tensor
    offset: Tensor
    r2: float
    n: int
    held_out: int

    def __call__(self, codes: Tensor) -> Tensor:
        """N D -> N E."""
        return codes @ self.matrix + self.offset


def align(first: Tensor, second: Tensor) -> Alignment:
    """The affine least-squares map from codes of one network, N D, to those of another of the same pictures, N E.

    Every fifth picture is held out, to say how well it does.

    Raises:
        NetwrightError: too few pictures, or not the same number of both.
    """
    n, inner = first.shape
    held = torch.arange(n) % HELD_OUT == HELD_OUT - 1
    if len(second) != n or int((~held).sum()) < inner + 1 or int(held.sum()) < 2:
        least = max(-(-(inner + 1) * HELD_OUT // (HELD_OUT - 1)), 2 * HELD_OUT)
        problem = f"{n} and {len(second)} codes are too few, or not of the same pictures, to align {inner} numbers"
        raise NetwrightError(problem, f"give at least {least} pictures; ten times as many is better")
    source = torch.cat([first, torch.ones(n, 1)], 1).double()
    target = second.double()
    solved = torch.linalg.lstsq(source[~held], target[~held], driver="gelsd").solution  # dimensions may be dead
    off = (target[held] - source[held] @ solved).square().sum()
    around = (target[held] - target[held].mean(0)).square().sum()
    r2 = float(1 - off / around) if around > 0 else 0.0
    return Alignment(solved[:-1].float(), solved[-1].float(), r2, int((~held).sum()), int(held.sum()))


def swap(
    first: AutoencoderBundle,
    second: AutoencoderBundle,
    images: Any,
    *,
    seen: Any = None,
    alignment: Alignment | None = None,
    labels: tuple[Labels | None, Labels | None] = (None, None),
) -> Swapped:
    """Pictures encoded by one network and decoded by another.

    Args:
        first: whose encoder it is.
        second: whose decoder it is.
        images: pictures, which each network prepares as it was trained.
        seen: the same ones as the second network prepares them, where somebody has done that already.
        alignment: what the first one's codes go through; without, numbers are taken as they are, though the same place
            means the same in two networks by accident only.
        labels: for conditional networks, of the first and of the second.

    Raises:
        NetwrightError: the sizes of codes differ and nothing aligns them, or a picture cannot be read.
    """
    if alignment is None and first.latent != second.latent:
        problem = f"codes of the one have {first.latent} numbers, and the other decodes {second.latent}"
        raise NetwrightError(problem, "fit a map from the ones to the others: --align DATA")
    given = second.pictures(images if seen is None else seen)
    codes = first.encode(given if alike(first, second) else images, labels[0])[0]
    aligned = codes if alignment is None else alignment(codes)
    return Swapped(given, second.decode(aligned, labels[1]), second.reconstruct(given, labels[1]))


def alike(first: AutoencoderBundle, second: AutoencoderBundle) -> bool:
    """Whether two networks are given the same pictures of a file, before each normalises them."""
    one, other = first.preprocess_or_error(), second.preprocess_or_error()
    means = {"mean": one.mean, "std": one.std}
    return one == replace(other, **means)
