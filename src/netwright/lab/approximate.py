"""Nearest neighbours by a graph instead of all products: the extra `netwright[search]`, and what it misses.

Hierarchical navigable small worlds (Malkov & Yashunin 2016, arXiv:1603.09320), by the usearch library.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.cache import cache_folder
from netwright.data.extras import optional
from netwright.lab.nearest import Metric, nearest, unit
from netwright.records.atomic import replacing
from netwright.records.intervals import Interval, of_values

MANY = 100_000  # vectors from which on a graph is worth its building
SAMPLE = 200  # queries on which it is compared with all products
SEED = 0


class Graph:
    """An index over vectors, kept in the cache by the vectors' digest."""

    def __init__(self, matrix: NDArray[np.float32], digest: str, metric: Metric) -> None:
        usearch: Any = optional(
            "usearch.index", "'netwright[search]'", "approximate search", "leave out --approximate: all are compared"
        )
        self.metric: Metric = metric
        self.matrix = unit(matrix).astype(np.float32) if metric == "cosine" else matrix
        self.index = usearch.Index(ndim=matrix.shape[1], metric="ip" if metric == "cosine" else "l2sq", dtype="f32")
        key = sha256(json.dumps([digest, metric, usearch.__name__]).encode()).hexdigest()
        self.file = cache_folder() / "graphs" / f"{key}.usearch"
        if not self._read():
            self.index.add(np.arange(len(matrix)), self.matrix, threads=1)  # one: the same graph each time
            self._keep()

    def nearest(
        self, queries: NDArray[np.floating], k: int, names: Sequence[str] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """As `nearest.nearest` gives it, of what the graph finds. Q D -> Q k."""
        count = min(k, len(self.matrix))
        wanted = np.ascontiguousarray(unit(queries) if self.metric == "cosine" else queries, np.float32)
        places, scores = np.zeros((len(wanted), count), np.intp), np.zeros((len(wanted), count))
        for row, query in enumerate(wanted):
            found = np.sort(np.asarray(self.index.search(query, count).keys).ravel().astype(np.intp))
            if len(found) < count:
                problem = f"the graph found {len(found)} of {count} neighbours"
                raise NetwrightError(problem, "search without --approximate")
            some = None if names is None else [names[int(place)] for place in found]
            order, scores[row : row + 1] = nearest(
                queries[row : row + 1], self.matrix[found], count, metric=self.metric, names=some
            )
            places[row] = found[order[0]]
        return places, scores

    def recall(self, k: int) -> Interval:
        """The share of the true k nearest that it finds, over a sample of the vectors themselves as queries."""
        count = min(SAMPLE, len(self.matrix))
        chosen = np.random.default_rng(SEED).choice(len(self.matrix), count, replace=False)
        queries = self.matrix[chosen]
        true, least = nearest(queries, self.matrix, k, metric=self.metric)
        _, scores = self.nearest(queries, k)
        # By score, not by place: among equally near ones it may find others.
        good = scores >= least[:, -1:] if self.metric == "cosine" else scores <= least[:, -1:]
        return of_values(good.sum(1) / true.shape[1])

    def _read(self) -> bool:
        """Whether the cache had it."""
        if not self.file.is_file():
            return False
        try:
            self.index.load(str(self.file))
        except Exception:  # the library raises what its C++ does; a damaged file is made anew
            self.index.reset()
            return False
        return len(self.index) == len(self.matrix)

    def _keep(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.file) as temporary:
            self.index.save(str(temporary))
