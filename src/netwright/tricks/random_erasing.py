"""Covers a random box of each picture with noise."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._pixels import CORRUPTS, FILE, between, crossing

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class RandomErasing(Trick):
    """A box that lies inside the picture is covered with `probability`. Masks stay as they are.

    Attributes:
        probability: how often.
        smallest: the least part of the picture's area.
        largest: the largest part of the picture's area.
        aspect: the largest ratio of the sides, either way.
        value: what covers the box, from 0 (black) to 1 (white); None for a random byte in every channel of every pixel.
    """

    probability: Annotated[float, Between(0, 1)] = 0.5
    smallest: Annotated[float, Between(0, 1)] = 0.02
    largest: Annotated[float, Between(0, 1)] = 0.4
    aspect: Annotated[float, Between(1, 10)] = 3.33
    value: Annotated[float, Between(0, 1)] | None = None

    card = Card(
        paper="Zhong et al., Random erasing data augmentation, AAAI 2020",
        neutral={"probability": 0.0},
        strong={"probability": 1.0, "smallest": 0.4},
        ranges={"probability": Range(0.1, 0.75), "largest": Range(0.1, 0.5)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=(*FILE, "cutout"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.smallest > self.largest:
            raise NetwrightError(
                f"random_erasing: smallest={self.smallest:g} is above largest={self.largest:g}",
                "let smallest be at most largest",
            )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ noise inside the box."""
        if not self.probability:
            return batch
        chosen, *place = run.uniform(self.name, 5).unbind(1)
        area = self.smallest + (self.largest - self.smallest) * place[0]
        inside = box((batch.image.shape[2], batch.image.shape[3]), area, self.aspect, *place[1:])
        inside = inside & (chosen < self.probability)[:, None, None, None]
        if self.value is not None:
            return batch.changed(image=batch.image.masked_fill(inside, self.value))
        n, channels, height, width = batch.image.shape
        draw = run.uniform(f"{self.name} noise", math.ceil(channels / 3) * height * width)
        noise = random_bytes(draw.view(n, -1, height, width))[:, :channels]
        return batch.changed(image=torch.where(inside, noise, batch.image))


def box(size: tuple[int, int], area: Tensor, aspect: float, shape: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """A box of `area` times the picture's; `shape`, `down` and `across` are uniform draws. N -> N 1 H W, bool.

    The ratio of its sides is log-uniform over 1 / aspect … aspect, or the nearest that fits the picture. Sides are
    rounded to whole pixels.
    """
    height, width = size
    pixels = area * (height * width)
    ratio = torch.exp((2 * shape - 1) * math.log(aspect)).clamp(pixels / width**2, height**2 / pixels.clamp(min=1e-6))
    rows = (pixels * ratio).sqrt().round().clamp(1, height)
    columns = (pixels / ratio).sqrt().round().clamp(1, width)
    return crossing(_span(rows, down, height), _span(columns, across, width))


def _span(length: Tensor, place: Tensor, whole: int) -> Tensor:
    """`length` pixels in a row, somewhere in the `whole`, every place as likely. N -> N whole, bool."""
    first = (place * (whole - length + 1)).floor()
    return between(first, first + length, whole)


def random_bytes(draw: Tensor) -> Tensor:
    """Three random bytes, over 255, from the 24 bits of each uniform draw. N G H W -> N 3G H W."""
    bits = (draw * 2**24).int()
    return torch.cat([(bits >> shift) & 255 for shift in (0, 8, 16)], 1).float().div_(255)
