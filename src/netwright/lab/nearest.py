"""Nearest neighbours by matrix products, exactly; ties go by name, so that the order of a file changes nothing."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown

Metric = Literal["cosine", "l2"]
Floats = NDArray[np.floating]
BLOCK = 16_000_000  # scores held at once: 64 MB
ROUNDING = float(np.finfo(np.float32).eps)  # for each number of a vector, what a float32 product may be off by
SMALLEST = 4 * float(np.finfo(np.float32).tiny)  # the same where the product is too small for float32


def nearest(
    queries: Floats,
    gallery: Floats,
    k: int,
    *,
    metric: Metric = "cosine",
    names: Sequence[str] | None = None,
    without: NDArray[np.intp] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The k nearest of a gallery for each query, the nearest first.

    Candidates come from float32 products over blocks; their scores are then computed anew in float64, so that equal
    vectors are equally near.

    Args:
        queries: Q D.
        gallery: N D.
        k: how many; all, where the gallery has fewer.
        metric: "cosine" compares directions (a vector of zeros is like none), "l2" places.
        names: of the gallery; of equally near ones the first by name comes first. By default their order.
        without: for each query the place in the gallery that is the query itself, or -1. Q.

    Returns:
        Places, Q k, and for "cosine" similarities, largest first, for "l2" distances, smallest first.

    Raises:
        NetwrightError: k below 1, vectors of different dimensions, an unknown metric, or nothing to compare with.
    """
    _refuse(queries, gallery, k, metric)
    count = min(k, len(gallery) - (without is not None and bool((without >= 0).any())))
    if count < 1:
        raise NetwrightError("there is nothing to compare with", "give vectors of at least two pictures")
    ranks = _ranks(names, len(gallery))
    one, other, scale = _prepared(queries, gallery, metric)
    places, scores = np.empty((len(one), count), np.intp), np.empty((len(one), count))
    products, squares = other.T.astype(np.float32), np.square(other).sum(1)
    step = max(1, BLOCK // len(other))
    for start in range(0, len(one), step):
        block = one[start : start + step]
        rough = block.astype(np.float32) @ products  # B N
        if metric == "l2":
            rough = 2 * rough - squares.astype(np.float32)  # minus the squared distance, but for the query's own length
        for row, scored in enumerate(rough, start):
            if without is not None and without[row] >= 0:
                scored[without[row]] = -np.inf
            slack = (
                ROUNDING
                * one.shape[1]
                * (1.0 if metric == "cosine" else float(squares.max() + np.square(one[row]).sum()))
            )
            slack += SMALLEST * one.shape[1]
            places[row], scores[row] = _best(one[row], other, scored, count, slack, metric, ranks)
    return places, (np.sqrt(-scores) / scale if metric == "l2" else scores)


def _refuse(queries: Floats, gallery: Floats, k: int, metric: str) -> None:
    if metric not in get_args(Metric):
        raise unknown("metric", metric, get_args(Metric))
    if k < 1:
        raise NetwrightError(f"k cannot be {k}", "ask for at least 1 neighbour")
    if queries.shape[1] != gallery.shape[1]:
        problem = f"the query has {queries.shape[1]} numbers, and the vectors have {gallery.shape[1]}"
        raise NetwrightError(problem, "embed both with the same network, stage and pooling")
    if not len(gallery):
        raise NetwrightError("there is nothing to compare with", "give vectors of at least one picture")


def _ranks(names: Sequence[str] | None, n: int) -> NDArray[np.intp]:
    if names is None:
        return np.arange(n)
    ranks = np.empty(n, np.intp)
    ranks[sorted(range(n), key=names.__getitem__)] = np.arange(n)
    return ranks


def _prepared(queries: Floats, gallery: Floats, metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Unit length for cosines; for distances about their own centre, where float32 loses the least.

    Distances are scaled so that no number exceeds 1, whose squares float32 can hold: by a power of two, which rounds
    nothing. It is returned as well.
    """
    if metric == "cosine":
        return unit(queries), unit(gallery), 1.0
    centre = gallery.mean(0, dtype=np.float64)
    one, other = queries - centre, gallery - centre
    largest = max(float(np.abs(each).max(initial=0.0)) for each in (one, other))
    scale = 2.0 ** -max(math.frexp(largest)[1], -1000)
    one *= scale
    other *= scale
    return one, other, scale


def unit(vectors: Floats) -> NDArray[np.float64]:
    """Vectors at length 1; those of zeros stay what they are. N D."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.square(wide).sum(1, keepdims=True))
    return wide / np.where(lengths > 0, lengths, 1)


def _best(
    query: NDArray[np.float64],
    gallery: NDArray[np.float64],
    rough: Floats,
    count: int,
    slack: float,
    metric: str,
    ranks: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The nearest among all whose rough score could be among the best."""
    least = np.partition(rough, len(rough) - count)[len(rough) - count]
    found = np.flatnonzero(rough >= least - 2 * slack)
    found = found[np.isfinite(rough[found])]
    rows = gallery[found]
    # Summed row by row, not as a matrix product: equal rows then give equal bits, wherever they stand.
    exact = (rows * query).sum(1) if metric == "cosine" else -np.square(rows - query).sum(1)
    order = np.lexsort((ranks[found], -exact))[:count]
    return found[order], exact[order]
