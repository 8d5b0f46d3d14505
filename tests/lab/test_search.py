"""Search: exact, by a graph with its recall measured, and what cannot be searched."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.lab import search as module
from netwright.lab.nearest import Metric, nearest
from netwright.lab.search import metric_named, search_for
from netwright.records.intervals import of_values
from netwright.records.vectors import Vectors


def some(n: int = 400, dimension: int = 8) -> Vectors:
    matrix = np.random.default_rng(0).normal(size=(n, dimension)).astype(np.float32)
    return Vectors([f"{row}" for row in range(n)], matrix, [""] * n, ["a"] * n, [""] * n)


def test_a_vector_finds_itself_and_k_beyond_all_gives_all() -> None:
    vectors = some(20)
    found = search_for(vectors, vectors.matrix[7] * 2, 99)
    assert found.hits[0].name == "7"
    assert found.hits[0].score == pytest.approx(1)
    assert len(found.hits) == 20
    assert [hit.score for hit in found.hits] == sorted((hit.score for hit in found.hits), reverse=True)
    said = found.to_json()
    assert said["approximate"] is False
    assert said["recall"] is None
    assert said["results"][0] == {"name": "7", "label": "a", "split": "", "similarity": found.hits[0].score}
    assert "distance" in search_for(vectors, vectors.matrix[7], 1, metric="l2").to_json()["results"][0]


def test_another_dimension_and_metric_are_told() -> None:
    with pytest.raises(NetwrightError, match="3 numbers, and the vectors have 8"):
        search_for(some(5), np.ones(3), 1)
    with pytest.raises(NetwrightError, match="did you mean 'cosine'"):
        metric_named("cosin")


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_graph_finds_what_all_products_find(metric: Metric) -> None:
    pytest.importorskip("usearch", reason="usearch is an extra")
    vectors = some()
    query = np.random.default_rng(1).normal(size=8)
    exact = search_for(vectors, query, 10, metric=metric)
    found = search_for(vectors, query, 10, metric=metric, approximate=True)
    assert found.recall is not None
    assert found.recall.n == 200
    assert found.recall.value > 0.95
    assert found.recall.low < 1
    theirs = {hit.name: hit.score for hit in found.hits}
    shared = [hit for hit in exact.hits if hit.name in theirs]
    assert len(shared) >= 9
    for hit in shared:
        assert theirs[hit.name] == pytest.approx(hit.score, abs=1e-6)
    assert "95 % interval" in found.notes[0]


def test_a_graph_is_kept_and_a_damaged_one_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch", reason="usearch is an extra")
    monkeypatch.setenv("NETWRIGHT_CACHE", str(tmp_path))
    vectors = some(50)
    first = search_for(vectors, vectors.matrix[3], 5, approximate=True)
    (file,) = (tmp_path / "graphs").iterdir()
    written = file.stat().st_mtime_ns
    assert search_for(vectors, vectors.matrix[3], 5, approximate=True).hits == first.hits
    assert file.stat().st_mtime_ns == written
    file.write_bytes(b"no graph")
    assert search_for(vectors, vectors.matrix[3], 5, approximate=True).hits == first.hits


def test_recall_counts_what_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a graph that finds only every second vector: of random neighbours about half are missed."""
    pytest.importorskip("usearch", reason="usearch is an extra")
    from netwright.lab.approximate import Graph

    vectors = some()
    graph = Graph(vectors.matrix, vectors.digest(), "cosine")

    def half(queries: np.ndarray, k: int, *_: Any) -> tuple[np.ndarray, np.ndarray]:
        found, scores = nearest(queries, graph.matrix[graph.inside[::2]], k)
        return graph.inside[::2][found], scores

    monkeypatch.setattr(graph, "_among", half)
    recall = graph.recall(10)
    assert recall.low < 0.5 < recall.high or abs(recall.value - 0.5) < 0.05


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_recall_is_that_of_queries_it_has_not_seen(metric: Metric) -> None:
    """A hasty graph misses much; its own vectors as queries find themselves all the same, and would flatter it."""
    pytest.importorskip("usearch", reason="usearch is an extra")
    from netwright.lab.approximate import Graph

    matrix = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    fresh = np.random.default_rng(1).normal(size=(300, 64)).astype(np.float32)
    graph = Graph(matrix, Vectors([], matrix, [], [], []).digest(), metric)
    graph.index.expansion_search = 4
    inside, none = graph.matrix[graph.inside], graph.held[:0]
    true, _ = nearest(fresh, inside, 1, metric=metric)
    found, _ = graph._among(fresh, 1, none, None)
    reached = of_values((found == graph.inside[true])[:, 0])
    said = graph.recall(1)
    assert said.n == 200
    own, _ = graph._among(graph.matrix[graph.inside[:200]], 1, none, None)
    assert (own[:, 0] == graph.inside[:200]).mean() > said.high > reached.low
    assert said.low <= reached.high


def test_what_is_held_out_of_the_graph_is_found_all_the_same() -> None:
    pytest.importorskip("usearch", reason="usearch is an extra")
    from netwright.lab.approximate import Graph

    vectors = some(50)
    graph = Graph(vectors.matrix, vectors.digest(), "l2")
    assert sorted([*graph.held, *graph.inside]) == list(range(50))
    assert graph.nearest(vectors.matrix, 1)[0][:, 0].tolist() == list(range(50))
    assert sorted(graph.nearest(vectors.matrix[:1], 50)[0][0].tolist()) == list(range(50))
    assert search_for(some(1), np.ones(8), 3, approximate=True).recall is None
    found = search_for(some(2), np.ones(8), 3, approximate=True)
    assert len(found.hits) == 2
    assert "held out" in found.notes[0]


def test_a_graph_that_finds_too_few_says_how_to_compare_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch", reason="usearch is an extra")
    from netwright.lab.approximate import Graph

    vectors = some(50)
    graph = Graph(vectors.matrix, vectors.digest(), "cosine")
    monkeypatch.setattr(graph, "index", SimpleNamespace(search=lambda *_: SimpleNamespace(keys=np.array([1]))))
    with pytest.raises(NetwrightError, match="found 1 of 5") as told:
        graph.nearest(vectors.matrix[:1], 5)
    assert told.value.fix == "compare all: --exact"


def test_without_usearch_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(NetwrightError) as told:
        search_for(some(30), np.ones(8), 3, approximate=True)
    assert "netwright[search]" in told.value.fix
    monkeypatch.setattr(module, "MANY", 10)
    found = search_for(some(30), np.ones(8), 3)
    assert len(found.hits) == 3
    assert found.recall is None
    assert "netwright[search]" in found.notes[0]
    assert "--" not in found.notes[0]


def test_many_vectors_are_searched_by_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("usearch", reason="usearch is an extra")
    monkeypatch.setattr(module, "MANY", 10)
    assert search_for(some(30), np.ones(8), 3).recall is not None
    assert search_for(some(30), np.ones(8), 3, approximate=False).recall is None
