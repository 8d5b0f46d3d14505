"""How well outlines agree, and how far from them errors lie (Csurka et al., What is a good evaluation measure for
semantic segmentation?, BMVC 2013)."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

TOLERANCE = 0.0075  # of the picture's diagonal
EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # of the bins of distance, in pixels; the last one has no end


def tolerance(height: int, width: int) -> float:
    """How far apart outlines may run and still agree, in pixels."""
    return max(1.0, TOLERANCE * math.hypot(height, width))


def outline(region: Flags, known: Flags) -> Flags:
    """Pixels of a region beside a pixel that is not in it, left, right, above or below; both known. All H W.

    The picture's border, and what is ignored, are no outline: nobody knows whether the region ends there.
    """
    edge = np.zeros(region.shape, bool)
    for one, other in _neighbours():
        apart = (region[one] != region[other]) & known[one] & known[other]
        edge[one] |= apart
        edge[other] |= apart
    return edge & region


def boundary_f1(found: Flags, truth: Flags, known: Flags) -> float:
    """The harmonic mean of the share of the found outline that is near the true one, and of the true near the found.

    1 is best; 0 where only one of them has an outline, and NaN where neither has. All H W.
    """
    near = tolerance(*found.shape)
    if not (found | truth).any():
        return math.nan
    box = _box(found | truth)
    mine, theirs = (np.argwhere(outline(region[box], known[box])) for region in (found, truth))
    if not len(mine) or not len(theirs):
        return 0.0 if len(mine) or len(theirs) else math.nan
    precision, recall = _near(mine, theirs, near), _near(theirs, mine, near)
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def errors_by_distance(wrong: Flags, label: NDArray[np.int64]) -> Counts:
    """Wrong and all labelled pixels in each bin of distance from the nearest true outline. H W, H W -> bins 2.

    The outline runs between pixels: those beside it are half a pixel away. Without one, all are in the last bin.

    Args:
        wrong: where the answer is not the label's.
        label: class ids, negative where ignored.
    """
    known = label >= 0
    beside = np.zeros(label.shape, bool)
    for one, other in _neighbours():
        apart = (label[one] != label[other]) & known[one] & known[other]
        beside[one] |= apart
        beside[other] |= apart
    away = distance_to(beside) + 0.5 if beside.any() else np.full(label.shape, np.inf)
    place = np.digitize(away[known], EDGES[1:])
    counts = [np.bincount(place[chosen], minlength=len(EDGES)) for chosen in (wrong[known], slice(None))]
    return np.stack(counts, 1).astype(np.int64)


def distance_to(places: Flags) -> Floats:
    """Of each pixel to the nearest of some places, of which there is one at least. H W -> H W."""
    from scipy import ndimage

    found: Any = ndimage.distance_transform_edt(~places)
    return found


def _near(places: Counts, others: Counts, most: float) -> float:
    """The share of places that are at most so far from one of some others. N 2, M 2."""
    from scipy.spatial import KDTree

    found: Any = KDTree(others).query(places, distance_upper_bound=np.nextafter(most, np.inf))
    return float(np.isfinite(found[0]).mean())


def _neighbours() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """The two ends of all pairs of pixels that are neighbours: down, and right."""
    every, first, last = slice(None), slice(None, -1), slice(1, None)
    return [((first, every), (last, every)), ((every, first), (every, last))]


def _box(flags: Flags) -> tuple[slice, slice]:
    """The smallest box around what is true and its neighbours."""
    rows, columns = (np.flatnonzero(flags.any(axis)) for axis in (1, 0))
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, columns[0] - 1), columns[-1] + 2)
