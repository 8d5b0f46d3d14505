"""Instances as classes: what is one thing and what is the next, for a network that says one class a pixel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BACKGROUND, INTERIOR, BORDER = range(3)
WIDTH = 1


def bordered(
    instances: NDArray[Any], *, width: int = WIDTH, ignored: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Background, interior and border of numbered things (Caicedo et al. 2019, https://doi.org/10.1002/cyto.a.23863).

    A pixel of an instance is border where another number, of another instance or of the background, lies within
    `width` pixels of it along rows, columns or diagonals: max(|dy|, |dx|) <= width. All other pixels of instances are
    interior. What lies outside the picture does not count, so an instance that is cut off there has no border along
    the edge. Interiors of two instances are therefore never neighbours, not even diagonally: those of touching
    instances are at least 2 width + 1 pixels apart.

    Args:
        instances: whole numbers, H W; 0 is background.
        width: of the border inside each instance, in pixels.
        ignored: pixels of which nobody knows what they are: they make no border beside them, and their own class
            means nothing. H W.

    Returns:
        0 background, 1 interior, 2 border; uint8, H W.
    """
    lowest = highest = instances
    if ignored is not None:  # the highest of all is never the lowest of a neighbourhood, nor 0 its highest
        lowest = np.where(ignored, instances.max(initial=0), instances)
        highest = np.where(ignored, 0, instances)
    for _ in range(width):
        lowest, highest = _spread(lowest, np.minimum), _spread(highest, np.maximum)
    found = (instances > 0).view(np.uint8)
    return found + (found.astype(bool) & (lowest != highest))


def _spread(values: NDArray[Any], of: np.ufunc) -> NDArray[Any]:
    """The minimum or maximum over each pixel and its eight neighbours: over rows first, then over columns."""
    tall = values.copy()
    of(tall[1:], values[:-1], out=tall[1:])
    of(tall[:-1], values[1:], out=tall[:-1])
    wide = tall.copy()
    of(wide[:, 1:], tall[:, :-1], out=wide[:, 1:])
    of(wide[:, :-1], tall[:, 1:], out=wide[:, :-1])
    return wide
