"""The pictures most like one: exactly, or by a graph with its recall measured."""

from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, unknown
from netwright.lab.approximate import MANY, Graph
from netwright.lab.nearest import Metric, nearest
from netwright.records.intervals import Interval
from netwright.records.vectors import Vectors

SCORES = {"cosine": "similarity", "l2": "distance"}


@dataclass(frozen=True)
class Hit:
    """A picture that was found."""

    name: str
    label: str
    split: str
    score: float


@dataclass(frozen=True)
class Found:
    """What a search gave.

    Attributes:
        hits: the nearest first.
        metric: by which.
        searched: how many vectors.
        recall: of a graph, the share of the true nearest that it finds; None where all were compared.
        notes: plain sentences that a user should see.
    """

    hits: tuple[Hit, ...]
    metric: Metric
    searched: int
    recall: Interval | None
    notes: tuple[str, ...]

    @property
    def score_name(self) -> str:
        """What the scores are."""
        return SCORES[self.metric]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        hits = [{**asdict(hit), self.score_name: hit.score} for hit in self.hits]
        for hit in hits:
            del hit["score"]
        return {
            "metric": self.metric,
            "searched": self.searched,
            "approximate": self.recall is not None,
            "recall": self.recall and self.recall.to_json(),
            "notes": list(self.notes),
            "results": hits,
        }


def search_for(
    vectors: Vectors,
    query: NDArray[np.floating],
    k: int,
    *,
    metric: Metric = "cosine",
    approximate: bool | None = None,
) -> Found:
    """The k nearest of a query.

    Args:
        vectors: among which.
        query: D.
        k: how many; all, where there are fewer.
        metric: "cosine" or "l2".
        approximate: by a graph; None leaves it to the number of vectors, and to whether usearch is installed.

    Raises:
        NetwrightError: another dimension, or usearch asked for and not installed.
    """
    wanted = query[None].astype(np.float32)
    recall, notes = None, list[str]()
    if wanted.shape[1] != vectors.dimension:
        problem = f"the query has {wanted.shape[1]} numbers, and the vectors have {vectors.dimension}"
        raise NetwrightError(problem, "give the network, stage and pooling that made them: --model RUN")
    graph = _graph(vectors, metric, notes) if approximate is None else None
    if approximate and len(vectors) > 1:  # of one there is nothing to hold out
        graph = Graph(vectors.matrix, vectors.digest(), metric)
    if graph is None:
        places, scores = nearest(wanted, vectors.matrix, k, metric=metric, names=vectors.names)
    else:
        places, scores = graph.nearest(wanted, k, vectors.names)
        recall = graph.recall(places.shape[1])
        notes.append(
            f"by a graph, which finds {recall.percent()} of the true {places.shape[1]} nearest (95 % interval over "
            f"{recall.n} of the vectors as queries, which were held out of it); --exact compares all"
        )
    hits = (
        Hit(vectors.names[place], vectors.labels[place], vectors.splits[place], float(score))
        for place, score in zip(map(int, places[0]), scores[0], strict=True)
    )
    return Found(tuple(hits), metric, len(vectors), recall, tuple(notes))


def metric_named(name: str) -> Metric:
    """A metric by name.

    Raises:
        NetwrightError: there is none of this name.
    """
    kinds: tuple[Metric, ...] = get_args(Metric)
    for kind in kinds:
        if kind == name:
            return kind
    raise unknown("metric", name, kinds)


def _graph(vectors: Vectors, metric: Metric, notes: list[str]) -> Graph | None:
    """A graph where there are many vectors and usearch is installed."""
    if len(vectors) <= MANY:
        return None
    try:
        return Graph(vectors.matrix, vectors.digest(), metric)
    except NetwrightError as error:
        fix = error.fix.split("; or ")[0]  # what to do instead was for those who asked for a graph
        notes.append(f"all {len(vectors):,} vectors were compared; a graph is faster: {fix}")
        return None
