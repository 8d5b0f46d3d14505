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
SAMPLE = 200  # vectors, of few half of them, that are held out of the graph: the queries that measure it
SEED = 0


class Graph:
    """An index over vectors, kept in the cache by the vectors' digest.

    A vector finds itself, and lies where the graph was tied together for it, so that recall with its own vectors as
    queries would flatter it. A sample is therefore held out: it measures the graph, and is compared product by product
    in each search.

    Attributes:
        held: places of the vectors that are not in the graph.
        inside: places of those that are.
    """

    def __init__(self, matrix: NDArray[np.float32], digest: str, metric: Metric) -> None:
        usearch: Any = optional("usearch.index", "'netwright[search]'", "approximate search", "compare all: --exact")
        self.metric: Metric = metric
        self.matrix = unit(matrix).astype(np.float32) if metric == "cosine" else matrix
        self.index = usearch.Index(ndim=matrix.shape[1], metric="ip" if metric == "cosine" else "l2sq", dtype="f32")
        count = min(SAMPLE, len(matrix) // 2)
        self.held = np.sort(np.random.default_rng(SEED).choice(len(matrix), count, replace=False))
        self.inside = np.setdiff1d(np.arange(len(matrix)), self.held)
        key = sha256(json.dumps([digest, metric, usearch.__name__, SEED, count]).encode()).hexdigest()
        self.file = cache_folder() / "graphs" / f"{key}.usearch"
        if not self._read():
            self.index.add(self.inside, self.matrix[self.inside], threads=1)  # one: the same graph each time
            self._keep()

    def nearest(
        self, queries: NDArray[np.floating], k: int, names: Sequence[str] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """As `nearest.nearest` gives it, of what the graph finds and what is held out of it. Q D -> Q k."""
        return self._among(queries, min(k, len(self.matrix)), self.held, names)

    def recall(self, k: int) -> Interval:
        """The share of the true k nearest in the graph that it finds, with the vectors held out of it as queries."""
        count = min(k, len(self.inside))
        queries = self.matrix[self.held]
        true, least = nearest(queries, self.matrix[self.inside], count, metric=self.metric)
        places, scores = self._among(queries, count, self.held[:0], None)
        # By place, or as near: among equally near ones it may find others, and both are rounded about another centre.
        near = scores >= least[:, -1:] - 1e-12 if self.metric == "cosine" else scores <= least[:, -1:] * (1 + 1e-12)
        good = near | (places[:, :, None] == self.inside[true][:, None, :]).any(2)
        return of_values(good.mean(1))

    def _among(
        self, queries: NDArray[np.floating], count: int, more: NDArray[np.intp], names: Sequence[str] | None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The nearest of what the graph finds and of more."""
        wanted = np.ascontiguousarray(unit(queries) if self.metric == "cosine" else queries, np.float32)
        places, scores = np.zeros((len(wanted), count), np.intp), np.zeros((len(wanted), count))
        of_graph = min(count, len(self.inside))
        for row, query in enumerate(wanted):
            keys = np.asarray(self.index.search(query, of_graph).keys).ravel().astype(np.intp)
            if len(keys) < of_graph:
                problem = f"the graph found {len(keys)} of {of_graph} neighbours"
                raise NetwrightError(problem, "compare all: --exact")
            found = np.union1d(keys, more)
            some = None if names is None else [names[int(place)] for place in found]
            order, scores[row : row + 1] = nearest(
                queries[row : row + 1], self.matrix[found], count, metric=self.metric, names=some
            )
            places[row] = found[order[0]]
        return places, scores

    def _read(self) -> bool:
        """Whether the cache had it."""
        if not self.file.is_file():
            return False
        try:
            self.index.load(str(self.file))
        except Exception:  # the library raises what its C++ does; a damaged file is made anew
            self.index.reset()
            return False
        return len(self.index) == len(self.inside)

    def _keep(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.file) as temporary:
            self.index.save(str(temporary))
