"""A threshold on grey values alone: what a network has to beat (Otsu, A threshold selection method, IEEE TSMC 1979)."""

import numpy as np
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)


def otsu(grey: NDArray[np.uint8]) -> int:
    """The level t for which the classes ≤ t and > t differ the most: their variance between is the largest. Any shape.

    Of several such levels, the middle one; for a picture of one level, that level.
    """
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    levels = np.arange(256)
    n, total = counts.cumsum(), (counts * levels).cumsum()
    both = (n > 0) & (n < n[-1])
    if not both.any():
        return int(grey.flat[0]) if grey.size else 0
    above = np.where(both, n[-1] - n, 1)
    gap = total / np.maximum(n, 1) - (total[-1] - total) / above
    between = np.where(both, n * above * gap**2, -1.0)
    best = np.flatnonzero(np.isclose(between, between.max(), rtol=1e-12, atol=0))
    return int(best[len(best) // 2])


def luma(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey as eyes see it: colours of ITU-R BT.601, otherwise the first channel. H W C -> H W."""
    if picture.shape[2] < 3:
        return picture[..., 0]
    return np.rint(picture[..., :3] @ np.array(LUMA)).astype(np.uint8)
