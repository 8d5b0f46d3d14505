"""Things told apart: from masks to numbered regions, and from these to counts and average precision
(Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods 2019)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

Flags = NDArray[np.bool_]
Ids = NDArray[np.int64]

BACKGROUND, INTERIOR, BORDER = range(3)  # classes of a border target
THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
WATERSHED_DISTANCE = 5  # pixels between the middles of two things, at least


@dataclass(frozen=True)
class Matched:
    """Things of one picture, found and true.

    Attributes:
        found: how many.
        truth: how many.
        hits: pairs that match, at each of `THRESHOLDS`.
    """

    found: int
    truth: int
    hits: NDArray[np.int64]

    @property
    def precisions(self) -> NDArray[np.float64]:
        """TP / (TP + FP + FN) at each threshold; 1 where nothing is there and nothing was found."""
        either = self.found + self.truth - self.hits
        return np.where(either > 0, self.hits / np.maximum(either, 1), 1.0)


def regions(things: Flags) -> Ids:
    """Connected regions, numbered from 1; touching at a corner does not connect. H W -> H W, 0 outside."""
    from scipy import ndimage

    found: Any = ndimage.label(things)
    return found[0].astype(np.int64)


def grown(classes: Ids) -> Ids:
    """Things of a border target: regions of its interior, each with the border pixels that it is nearest to.

    Border that is not connected to the interior it would belong to is of no thing. H W of background, interior and
    border -> ids H W.
    """
    from scipy import ndimage

    inside = regions(classes == INTERIOR)
    if not inside.any():
        return inside
    nearest: Any = ndimage.distance_transform_edt(inside == 0, return_distances=False, return_indices=True)
    nearest = tuple(nearest)
    whole = regions(classes != BACKGROUND)
    return np.where((whole > 0) & (whole == whole[nearest]), inside[nearest], 0)


def split_touching(things: Flags) -> Ids:
    """Connected regions, cut where they are narrow: the watershed of the distance from the outside. H W -> ids H W.

    Two maxima of the distance are two things if they are more than `WATERSHED_DISTANCE` pixels apart.

    Raises:
        NetwrightError: scikit-image is not there.
    """
    try:
        from skimage.feature import peak_local_max
        from skimage.segmentation import watershed
    except ImportError as error:
        raise NetwrightError(
            "splitting things that touch needs scikit-image, and it is not there",
            "python -m pip install 'netwright[instances]'",
        ) from error
    from scipy import ndimage

    depth: Any = ndimage.distance_transform_edt(things)
    smooth: Any = ndimage.gaussian_filter(depth, 1.0) * things
    joined = regions(things)
    peaks: Any = peak_local_max(smooth, min_distance=WATERSHED_DISTANCE, labels=joined, exclude_border=False)
    seeds = np.zeros(things.shape, np.int64)
    seeds[tuple(np.asarray(peaks).T)] = np.arange(1, len(peaks) + 1)
    cut: Any = watershed(-smooth, seeds, mask=things)
    return np.asarray(cut).astype(np.int64)


def matched(found: Ids, truth: Ids) -> Matched:
    """Pair things of two numbered pictures by IoU; a pair matches above a threshold, and each thing in one at most."""
    first, n = _numbered(found)
    second, m = _numbered(truth)
    overlap = np.bincount(first.ravel() * (m + 1) + second.ravel(), minlength=(n + 1) * (m + 1)).reshape(n + 1, m + 1)
    both = overlap[1:, 1:]
    either = overlap.sum(1)[1:, None] + overlap.sum(0)[None, 1:] - both
    ious = both / np.maximum(either, 1)
    # Above one half no two things can match the same one: they would share pixels.
    return Matched(n, m, np.array([int((ious > threshold).sum()) for threshold in THRESHOLDS]))


def _numbered(ids: Ids) -> tuple[Ids, int]:
    """The same things, numbered 1, 2, 3 …; 0 stays."""
    names, places = np.unique(np.append(ids.ravel(), 0), return_inverse=True)
    return places[:-1].reshape(ids.shape), len(names) - 1
