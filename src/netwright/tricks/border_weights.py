"""Weighs pixels the more the closer they lie between two things, so that what nearly touches is kept apart."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.tricks._dense import masked

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class BorderWeights(Trick):
    """A pixel's term in the loss is multiplied by w = 1 + w0 · exp(−(d1 + d2)² / (2 sigma²)).

    d1 and d2 are the distances in pixels to the nearest and the second nearest thing, 0 inside one; things are the
    connected regions of all classes but the background, after geometry and before mixing. With fewer than two of them,
    w is 1. The paper's other term, which balances classes, is `class_weights`.

    It is made for one class of things: those of different classes that touch are one to it, and so are things of a
    border target that touch, whose border class keeps them apart already. Distances are computed on the processor, for
    256x256 pixels with 40 things in about 10 ms; the time grows with the number of things and with sigma squared.
    """

    w0: Annotated[float, Between(0, 1000)] = 10.0
    sigma: Annotated[float, Between(0.1, 1000)] = 5.0

    card = Card(
        paper="Ronneberger et al., U-Net, MICCAI 2015, eq. 2",
        neutral={"w0": 0.0},
        strong={"w0": 50.0, "sigma": 10.0},
        ranges={"w0": Range(1, 30, log=True), "sigma": Range(1, 15, log=True)},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("segmentation",),
        why={
            "reconstruction": "it weighs pixels where classes meet, and a picture is given back without classes",
        },
        targets=True,  # and before tricks that mix them, so that weights move with what they belong to
    )

    def start(self, run: "Run") -> None:
        """Look whether there are things at all.

        Raises:
            NetwrightError: no class is the background, or classes overlap.
        """
        task = masked(run.task)
        if task is None or task.several or not task.background:
            raise NetwrightError(
                "border_weights keeps things apart that lie on a background, and no class here is the background",
                "leave it out with --without border_weights",
            )

    def batch(self, batch: "Batch", run: "Run") -> "Batch":
        """Weigh every pixel's target."""
        if not self.w0:
            return batch
        things = (batch.label > 0).cpu().numpy()
        weights = np.stack([weight_map(each, self.w0, self.sigma) for each in things])
        weight = torch.from_numpy(weights).to(batch.target.device)
        return batch.changed(target=batch.target * weight[:, None])


def weight_map(things: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """1 + w0 exp(−(d1 + d2)² / (2 sigma²)) of each pixel. H W, true where there is a thing -> H W, float32."""
    reach = sigma * math.sqrt(2 * max(0.0, math.log(w0 * 2**24))) if w0 else 0.0  # beyond it, w is 1 in float32
    first, second = two_distances(things, reach)
    return (1 + w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))).astype(np.float32)


def two_distances(things: np.ndarray, reach: float = math.inf) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and the second nearest connected region, H W, bool -> H W.

    Infinite where there is none, or none as near as `reach`.

    Near things, each thing's distances are needed in its own surroundings alone. Where many things are so close that
    these add up to more than transforms of the whole, two of the whole for each bit of their numbers are enough.
    """
    from scipy import ndimage

    found: Any = ndimage.label(things)
    regions, n = found
    boxes = [] if math.isinf(reach) else [_around(box, math.ceil(reach), things.shape) for box in _boxes(regions)]
    pixels = sum((y.stop - y.start) * (x.stop - x.start) for y, x in boxes)
    if n < 2 or not boxes or pixels > things.size * (2 + 2 * (n - 1).bit_length()):
        return _two_by_bits(things, regions, n)
    first, second = np.full(things.shape, np.inf), np.full(things.shape, np.inf)
    for number, box in enumerate(boxes, 1):
        away = _distance(regions[box] != number)
        second[box] = np.minimum(second[box], np.maximum(first[box], away))
        first[box] = np.minimum(first[box], away)
    return first, second


def _two_by_bits(things: np.ndarray, regions: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The second nearest differs from the nearest in at least one bit of its number.

    So the distances to all regions that have a bit, and to all that have not, tell it.
    """
    from scipy import ndimage

    none = np.full(things.shape, np.inf)
    if n < 2:
        return (none if n == 0 else _distance(~things)), none
    both: Any = ndimage.distance_transform_edt(regions == 0, return_indices=True)
    first, nearest = both
    own, second = regions[tuple(nearest)] - 1, none
    for bit in range((n - 1).bit_length()):
        has = ((regions - 1) >> bit) & 1 == 1
        with_it, without_it = _distance(~(things & has)), _distance(~(things & ~has))
        second = np.minimum(second, np.where((own >> bit) & 1 == 1, without_it, with_it))
    return first, second


def _boxes(regions: np.ndarray) -> list[tuple[slice, slice]]:
    """The smallest box around each region."""
    from scipy import ndimage

    found: Any = ndimage.find_objects(regions)
    return found


def _around(box: tuple[slice, slice], margin: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """A box with a margin, within the picture."""
    y, x = (slice(max(0, at.start - margin), min(at.stop + margin, end)) for at, end in zip(box, shape, strict=True))
    return y, x


def _distance(outside: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest that is not outside."""
    from scipy import ndimage

    found: Any = ndimage.distance_transform_edt(outside)
    return found
