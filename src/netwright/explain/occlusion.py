"""How much of a class's probability goes when a square is covered (Zeiler & Fergus 2014, arXiv:1311.2901)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.explain._colour import blurred
from netwright.explain._method import BATCH, Subject, Where

SHARE = 7  # by default a square is a seventh of the picture's side


@dataclass(frozen=True)
class Occlusion(Where):
    """Slides a square over the picture. Asks any network, and reads nothing inside it.

    Attributes:
        size: side of the square in pixels; by default a seventh of the picture's.
        stride: pixels from one square to the next; by default half a square.
        fill: what the square holds: the picture's mean colour, the picture blurred, or the network's own zero, which
            is the mean colour of what it was trained on.
    """

    size: Annotated[int | None, Between(1, 4096)] = None
    stride: Annotated[int | None, Between(1, 4096)] = None
    fill: Literal["mean", "blur", "zero"] = "mean"

    def heat(self, subject: Subject, image: Tensor, target: Tensor) -> Tensor:
        """Of each pixel, the mean fall in probability over all squares that cover it. See `Where.heat`.

        Raises:
            NetwrightError: the square is larger than the picture, or the stride would leave gaps between squares.
        """
        height, width = image.shape[2:]
        size = self.size or max(1, min(height, width) // SHARE)
        stride = self.stride or max(1, size // 2)
        if size > min(height, width):
            raise NetwrightError(
                f"a square of {size} pixels does not fit in {height}x{width}",
                f"give size={max(1, min(height, width) // 4)}",
            )
        if stride > size:
            raise NetwrightError(
                f"stride {stride} leaves gaps between squares of {size}", f"give stride={max(1, size // 2)}"
            )
        corners = _corners((height, width), size, stride)
        cover = self._cover(image)
        return torch.stack(
            [
                _one(subject, each[None], hidden[None], wanted, corners, size)
                for each, hidden, wanted in zip(image, cover, target, strict=True)
            ]
        )

    def _cover(self, image: Tensor) -> Tensor:
        if self.fill == "mean":
            return image.mean((2, 3), keepdim=True).expand_as(image)
        return blurred(image) if self.fill == "blur" else torch.zeros_like(image)


def squares(sides: tuple[int, int], size: int, stride: int) -> int:
    """How many squares cover a picture, H W."""
    return len(_corners(sides, size, stride))


def _corners(sides: tuple[int, int], size: int, stride: int) -> list[tuple[int, int]]:
    """Upper left corners, row by row."""
    return [(top, left) for top in _starts(sides[0], size, stride) for left in _starts(sides[1], size, stride)]


def _starts(side: int, size: int, stride: int) -> list[int]:
    """Where squares begin; the last ends at the edge."""
    return sorted({*range(0, side - size, stride), side - size})


def _one(
    subject: Subject, image: Tensor, cover: Tensor, target: Tensor, corners: list[tuple[int, int]], size: int
) -> Tensor:
    """1 C H W -> H W."""
    before = subject.probability(image, target[None])
    falls = image.new_zeros(image.shape[2:])
    times = torch.zeros_like(falls)
    for start in range(0, len(corners), BATCH):
        some = corners[start : start + BATCH]
        covered = image.repeat(len(some), 1, 1, 1)
        for row, (top, left) in enumerate(some):
            square = (slice(top, top + size), slice(left, left + size))
            covered[row, :, *square] = cover[0, :, *square]
        after = subject.probability(covered, target.expand(len(some)))
        for (top, left), fall in zip(some, before - after, strict=True):
            falls[top : top + size, left : left + size] += fall
            times[top : top + size, left : left + size] += 1
    return falls / times
