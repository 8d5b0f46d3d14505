"""Weighs pixels the more the closer they lie between two things, so that what nearly touches is kept apart."""

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
    first, second = two_distances(things)
    return (1 + w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))).astype(np.float32)


def two_distances(things: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest and the second nearest connected region; infinite where there is none. H W, bool -> H W.

    The second nearest differs from the nearest in at least one bit of its number. So the distances to all regions that
    have a bit, and to all that have not, tell it: two transforms a bit, and not one a region.
    """
    from scipy import ndimage

    found: Any = ndimage.label(things)
    regions, n = found
    if n < 2:
        none = np.full(things.shape, np.inf)
        return (none if n == 0 else _distance(~things)), none
    nearest: Any = ndimage.distance_transform_edt(regions == 0, return_distances=False, return_indices=True)
    own = regions[tuple(nearest)] - 1
    first, second = _distance(~things), np.full(things.shape, np.inf)
    for bit in range((n - 1).bit_length()):
        has = ((regions - 1) >> bit) & 1 == 1
        with_it, without_it = _distance(~(things & has)), _distance(~(things & ~has))
        second = np.minimum(second, np.where((own >> bit) & 1 == 1, without_it, with_it))
    return first, second


def _distance(outside: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest that is not outside."""
    from scipy import ndimage

    found: Any = ndimage.distance_transform_edt(outside)
    return found
