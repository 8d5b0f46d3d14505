"""Things told apart: from masks to numbered regions, and from these to counts and average precision
(Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods 2019)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

Flags = NDArray[np.bool_]
Ids = NDArray[Any]  # integers: found in 32 bits, matched in 64

BACKGROUND, INTERIOR, BORDER = range(3)  # classes of a border target
THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
WATERSHED_DISTANCE = 5  # pixels between the middles of two things, at least
MOST_CUT = 2**23  # pixels of the box around what the watershed cuts: it takes some forty bytes of each
FAR = 256  # pixels from its interior that border can be
STRIP = 512  # rows whose border is given to interiors at once


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
    """Connected regions, numbered from 1; touching at a corner does not connect. H W -> int32 H W, 0 outside."""
    from scipy import ndimage

    found = np.empty(things.shape, np.int32)
    ndimage.label(things, output=found)
    return found


def grown(classes: Ids) -> Ids:
    """Things of a border target: regions of its interior, each with the border pixels that it is nearest to.

    Border that is not connected to the interior it would belong to, or more than `FAR` pixels away from it, is of no
    thing. Large pictures are done in strips, with the same result. H W of background, interior and border -> int32 H W.
    """
    found, whole = regions(classes == INTERIOR), regions(classes != BACKGROUND)
    above = found[:0]
    for top in range(0, len(found), STRIP):
        first, stop = top - len(above), min(top + STRIP, len(found))
        inside = np.concatenate([above, found[top : stop + FAR]])
        above = found[max(0, stop - FAR) : stop].copy()  # before border is added to it
        found[top:stop] = _joined(inside, whole[first : stop + FAR])[top - first : stop - first]
    return found


def _joined(inside: Ids, whole: Ids) -> Ids:
    """Interiors with the border nearest to them; `whole` numbers regions of both."""
    from scipy import ndimage

    if not inside.any():
        return inside
    measured: Any = ndimage.distance_transform_edt(inside == 0, return_indices=True)
    distance, nearest = measured[0], tuple(measured[1])
    return np.where((whole > 0) & (whole == whole[nearest]) & (distance <= FAR), inside[nearest], 0)


def split_touching(things: Flags) -> Ids:
    """Connected regions, cut where they are narrow: the watershed of the distance from the outside. H W -> int32 H W.

    Two maxima of the distance are two things if they are more than `WATERSHED_DISTANCE` pixels apart. Each region is
    cut on its own, so that memory grows with the largest; one whose box has more than `MOST_CUT` pixels stays as it is.

    Raises:
        NetwrightError: scikit-image is not there.
    """
    from scipy import ndimage

    watershed_tools()  # refused before the work
    found = regions(things)
    boxes: list[Any] = ndimage.find_objects(found)
    total = len(boxes)
    for number, box in enumerate(boxes, 1):
        height, width = (side.stop - side.start for side in box)
        if max(height, width) <= WATERSHED_DISTANCE + 1 or height * width > MOST_CUT:
            continue
        # The nearest pixel outside is in the box or beside it, since what lies between is outside as well.
        near = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        part = found[near] == number
        pieces = _pieces(part)
        found[near][part] = np.where(pieces == 1, number, total + pieces - 1)[part]
        total += max(0, int(pieces.max()) - 1)
    return found


def _pieces(part: Flags) -> Ids:
    """One region cut, its pieces numbered from 1. H W -> H W."""
    from scipy import ndimage

    peak_local_max, watershed = watershed_tools()
    depth: Any = ndimage.distance_transform_edt(part)
    smooth: Any = ndimage.gaussian_filter(depth, 1.0) * part
    peaks: Any = peak_local_max(smooth, min_distance=WATERSHED_DISTANCE, exclude_border=False)
    if len(peaks) < 2:
        return part.astype(np.int32)
    seeds = np.zeros(part.shape, np.int32)
    seeds[tuple(np.asarray(peaks).T)] = np.arange(1, len(peaks) + 1)
    cut: Any = watershed(-smooth, seeds, mask=part)
    return np.asarray(cut)


def watershed_tools() -> tuple[Any, Any]:
    """scikit-image's `peak_local_max` and `watershed`.

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
    return peak_local_max, watershed


def uncut(split: Ids) -> int:
    """How many regions `split_touching` left as they are because they are too large."""
    from scipy import ndimage

    boxes: list[Any] = ndimage.find_objects(split)
    areas = [math.prod(side.stop - side.start for side in box) for box in boxes]
    return sum(area > MOST_CUT for area in areas)


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
