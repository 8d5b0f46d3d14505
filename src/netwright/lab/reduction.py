"""Pictures as few numbers by principal components, and back: what a learnt code has to beat (Pearson 1901)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from netwright.core.errors import NetwrightError

Floats = NDArray[np.floating]
ROWS = 1024  # vectors that are centred at once


@dataclass(frozen=True, eq=False)
class Components:
    """Directions of largest variance.

    Attributes:
        centre: the mean. D.
        axes: orthonormal rows, the largest variance first; the entry of largest size of each is positive. k D.
        shares: of the whole variance, along each. k.
    """

    centre: Floats
    axes: Floats
    shares: NDArray[np.float64]

    def codes(self, vectors: Floats) -> Floats:
        """Coordinates along the axes: N D -> N k."""
        return (vectors - self.centre) @ self.axes.T

    def back(self, codes: Floats) -> Floats:
        """The nearest vectors that have these coordinates: N k -> N D."""
        return codes @ self.axes + self.centre

    def first(self, k: int) -> "Components":
        """The same with the first k axes only."""
        return Components(self.centre, self.axes[:k], self.shares[:k])


def components(vectors: Floats, k: int) -> Components:
    """The first k principal components, exactly: from the covariance, or from inner products where that is smaller.

    Args:
        vectors: N D.
        k: from 1 to the smaller of N - 1 and D.

    Raises:
        NetwrightError: there are not so many.
    """
    n, wide = vectors.shape
    most = min(n - 1, wide)
    if not 1 <= k <= most:
        problem = f"{n:,} vectors of {wide:,} numbers have no {k} principal components"
        raise NetwrightError(problem, f"take from 1 to {most}" if most > 0 else "give more pictures")
    centre = vectors.mean(0, dtype=np.float64)
    squares = _covariance(vectors, centre) if wide <= n else _products(vectors, centre)
    total = float(np.trace(squares))
    values, found = eigh(squares, subset_by_index=(len(squares) - k, len(squares) - 1))
    values, found = values[::-1].clip(0), found[:, ::-1]
    axes = found.T if wide <= n else _spread(vectors, centre, found)
    largest = np.abs(axes).argmax(1)
    axes = axes * np.where(axes[np.arange(k), largest] < 0, -1, 1)[:, None]
    return Components(centre.astype(np.float32), axes.astype(np.float32), values / (total or 1.0))


def _covariance(vectors: Floats, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of products of numbers. D D."""
    found = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), ROWS):
        off = vectors[start : start + ROWS] - centre
        found += off.T @ off
    return found


def _products(vectors: Floats, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products of vectors. N N."""
    off = vectors - centre
    return off @ off.T


def _spread(vectors: Floats, centre: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Directions among vectors as directions in space; one without variance becomes 0. N k -> k D."""
    axes = found.T @ (vectors - centre)
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    return np.divide(axes, lengths, out=np.zeros_like(axes), where=lengths > 1e-9 * (lengths.max() or 1.0))
