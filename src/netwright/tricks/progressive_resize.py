"""Begins with small pictures and ends with full ones, so that early epochs cost less."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp
from netwright.tricks._places import PLACES

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class ProgressiveResize(Trick):
    """The sides grow linearly from `smallest` of their length to the whole. The network must take pictures of any size.

    Below a half, pixels are skipped: nothing is averaged beyond the four neighbours.

    Attributes:
        smallest: the sides' part at the beginning.
        until: the progress from which on pictures are full.
        multiple: smaller sides are rounded to multiples of this, so that there are few sizes, and such as divide well.
    """

    smallest: Annotated[float, Between(0.05, 1)] = 0.5
    until: Annotated[float, Between(0, 1)] = 0.75
    multiple: Annotated[int, Between(1)] = 4

    card = Card(
        paper="Howard, Training Imagenet in 3 hours for USD 25, fast.ai 2018",
        neutral={"smallest": 1.0},
        strong={"smallest": 0.5, "until": 1.0, "multiple": 1},
        ranges={"smallest": Range(0.4, 0.8), "until": Range(0.5, 0.9)},
        treats=(Symptom.WASTED_EPOCHS,),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "an autoencoder's code and decoder are made for pictures of one size; train one with "
            "a smaller --image-size",
        },
        after=(*PLACES, "elastic", "elastic_grid", "randaugment", "trivial_augment"),
    )

    def geometry(self, warp: Warp, run: "Run") -> Warp:
        """The same view in fewer pixels."""
        part = self.smallest + (1 - self.smallest) * run.progress / self.until if run.progress < self.until else 1.0
        height, width = (side(full, part, self.multiple) for full in warp.size)
        return warp.resized((height, width))


def side(full: int, part: float, multiple: int) -> int:
    """`part` of a side in pixels, rounded to a multiple; the whole side is not rounded."""
    if part >= 1:
        return full
    return min(full, max(1, round(full * part / multiple)) * multiple)
