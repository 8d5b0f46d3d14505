"""Vectors as points in the plane, by principal components or UMAP, and how far such a map can be believed."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.data.extras import optional
from netwright.lab.few import bounded_mean, share_mean
from netwright.lab.nearest import Metric, nearest, unit
from netwright.records.intervals import Interval

Method = Literal["pca", "umap"]
LEAST = 3  # pictures that make a map
FITTED = 20_000  # pictures whose directions of largest variance are found; the others are projected on these
JUDGED = 2000  # pictures on which a map is judged, evenly spread: every pair of them is compared
K, SEED = 5, 0
Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Projection:
    """A map.

    Attributes:
        points: N 2.
        method: how it was made.
        explained: shares of the variance along each axis, for principal components.
        kept: the share of each picture's k nearest that are among its k nearest on the map.
        trustworthiness: 1 where all neighbours on the map are neighbours, about 0.5 for points at random.
        k: of these two.
        judged: on how many pictures, evenly chosen, they were measured, each among these.
    """

    points: NDArray[np.float64]
    method: Method
    explained: tuple[float, float] | None
    kept: Interval
    trustworthiness: Interval
    k: int
    judged: int

    def says(self) -> list[str]:
        """What the map shows, and how far it can be believed, in sentences."""
        first = "UMAP: distances between groups, and their sizes, mean little"
        if self.explained is not None:
            one, two = (f"{100 * share:.0f} %" for share in self.explained)
            first = f"Principal components: {one} of the variance of these vectors lies along the map, {two} across it"
        kept, trust = self.kept, self.trustworthiness
        many = len(self.points)
        whom = f", among {self.judged:,} of the {many:,}, evenly chosen," if self.judged < many else ""
        said = (f"{kept.percent()}", f"{trust.value:.2f} [{trust.low:.2f}, {trust.high:.2f}]")
        sure = f"95 % intervals over {self.judged:,} pictures"
        if math.isnan(trust.low):
            said, sure = (f"{100 * kept.value:.1f} %", f"{trust.value:.2f}"), f"{self.judged} are too few for intervals"
        return [
            f"{first}.",
            f"Of the {self.k} nearest of each picture{whom} the map keeps {said[0]}; its trustworthiness is {said[1]}, "
            f"where 1 is perfect and points at random have about 0.5 ({sure}). What is close here need not be alike: "
            "ask `netwright neighbours`.",
        ]


def project(vectors: Floats, *, method: str = "pca", metric: Metric = "cosine", seed: int = SEED) -> Projection:
    """A map of vectors. N D -> N 2.

    Args:
        vectors: of at least 3 pictures.
        method: "pca", or "umap" (McInnes, Healy & Melville 2018, arXiv:1802.03426), which is an extra.
        metric: with "cosine" vectors are scaled to length 1 first.
        seed: of UMAP.

    Raises:
        NetwrightError: an unknown method, UMAP not installed, or fewer than 3 pictures.
    """
    kind = _method(method)
    if len(vectors) < LEAST:
        problem = f"{len(vectors)} pictures make no map"
        raise NetwrightError(problem, f"embed at least {LEAST}")
    scaled = unit(vectors) if metric == "cosine" else vectors.astype(np.float64)
    explained = None
    if kind == "pca":
        points, explained = principal(scaled)
    else:
        points = _umap(scaled, seed)
    chosen = np.linspace(0, len(points) - 1, min(JUDGED, len(points))).astype(int)
    count = max(1, min(K, (len(chosen) - 1) // 2))
    kept, trust = believed(scaled[chosen], points[chosen], count)
    return Projection(points, kind, explained, share_mean(kept), bounded_mean(trust, 0.0), count, len(chosen))


def principal(vectors: Floats) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The two directions of largest variance (Pearson 1901), and the share of the variance along each.

    The sign of a direction is arbitrary; here its entry of largest size is positive. N D -> N 2.
    """
    centre = vectors.mean(0, dtype=np.float64)
    centred = vectors - centre
    sample = centred[np.linspace(0, len(centred) - 1, min(FITTED, len(centred))).astype(int)]
    _, lengths, directions = np.linalg.svd(sample, full_matrices=False)
    axes = np.zeros((2, vectors.shape[1]))
    axes[: min(2, len(directions))] = directions[:2]
    largest = np.abs(axes).argmax(1)
    axes *= np.where(axes[[0, 1], largest] < 0, -1, 1)[:, None]
    total = float(np.square(lengths).sum()) or 1.0
    shares = [float(length**2) / total for length in [*lengths[:2], 0.0][:2]]
    return centred @ axes.T, (shares[0], shares[1])


def believed(vectors: Floats, points: Floats, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each picture the share of neighbours kept, and its part of the trustworthiness.

    The mean of the second is the trustworthiness of Venna & Kaski 2001 (Neighborhood preservation in nonlinear
    projection methods): 1 less a penalty for each of the k nearest on the map that is not among the k nearest, by how
    far down it ranks.

    Args:
        vectors: N D.
        points: N 2.
        k: below N / 2.
    """
    n = len(vectors)
    own = np.arange(n)
    order, _ = nearest(vectors, vectors, n - 1, metric="l2", without=own)  # N N-1
    ranks = np.zeros((n, n), np.intp)
    np.put_along_axis(ranks, order, np.arange(1, n)[None].repeat(n, 0), 1)
    on_map, _ = nearest(points, points, k, metric="l2", without=own)
    found = np.take_along_axis(ranks, on_map, 1)  # N k: 1 for the nearest
    worst = k * (2 * n - 3 * k - 1) / 2
    return (found <= k).mean(1), 1 - np.maximum(found - k, 0).sum(1) / worst


def _umap(vectors: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    umap: Any = optional("umap", "'netwright[umap]'", "a UMAP map", "--method pca, which needs nothing")
    made = umap.UMAP(
        n_components=2, n_neighbors=min(15, len(vectors) - 1), metric="euclidean", random_state=seed, n_jobs=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of one thread, which a fixed seed needs, and of its own dependencies
        return np.asarray(made.fit_transform(vectors), np.float64)


def _method(name: str) -> Method:
    kinds: tuple[Method, ...] = get_args(Method)
    for kind in kinds:
        if kind == name:
            return kind
    raise unknown("kind of map", name, kinds)
