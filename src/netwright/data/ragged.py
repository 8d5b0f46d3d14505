"""Arrays of several sizes in one flat array, which may be a file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.decode import Pixels


@dataclass(frozen=True, eq=False)
class Ragged:
    """Arrays of several sizes, one after the other in a flat array; indexing gives views.

    Args:
        flat: all values, uint8.
        starts: where each array begins, N.
        shapes: of each, N D.
    """

    flat: Pixels
    starts: NDArray[np.int64]
    shapes: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the smallest array that would hold them all: N, and the largest of each side."""
        return len(self), *self.shapes.max(0, initial=0).tolist()

    @property
    def nbytes(self) -> int:
        """Of all together."""
        return int(self.shapes.prod(1).sum())

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, place: Any) -> Pixels:
        start, shape = int(self.starts[place]), self.shapes[place]
        return self.flat[start : start + int(shape.prod())].reshape(tuple(shape.tolist()))

    def taken(self, places: NDArray[np.int64]) -> "Ragged":
        """Some of them."""
        return Ragged(self.flat, self.starts[places], self.shapes[places])
