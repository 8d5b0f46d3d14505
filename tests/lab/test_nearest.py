"""Nearest neighbours: scikit-learn's, ties by name, and what cannot be compared."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from netwright.core.errors import NetwrightError
from netwright.lab import nearest as module
from netwright.lab.nearest import Metric, nearest, unit

DRAW = np.random.default_rng(3)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("block", [50, 16_000_000])
def test_they_are_scikit_learns(metric: Metric, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    gallery, queries = DRAW.normal(size=(80, 12)) + 5, DRAW.normal(size=(17, 12)) + 5
    reference = NearestNeighbors(n_neighbors=9, metric={"cosine": "cosine", "l2": "euclidean"}[metric]).fit(gallery)
    distances, places = reference.kneighbors(queries)
    found, scores = nearest(queries, gallery, 9, metric=metric)
    assert (found == places).all()
    # Both are sums of 12 products in float64; a cosine distance is 1 less the similarity.
    np.testing.assert_allclose(1 - scores if metric == "cosine" else scores, distances, rtol=1e-9, atol=1e-14)


def test_far_from_the_origin_near_ones_are_still_told_apart() -> None:
    """In float32, squared lengths of 1e8 leave no digits for distances of 0.1: candidates are computed anew."""
    offsets = np.arange(1, 30) / 10
    gallery = np.zeros((29, 3)) + 1e4
    gallery[:, 0] += offsets
    found, scores = nearest(np.full((1, 3), 1e4), gallery, 5, metric="l2")
    assert found[0].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(scores[0], offsets[:5], rtol=1e-9)


@pytest.mark.parametrize("size", [1e25, 3e38, 1e-30])
def test_numbers_whose_squares_float32_cannot_hold(size: float) -> None:
    gallery, queries = DRAW.normal(size=(60, 6)) / 9, DRAW.normal(size=(4, 6)) / 9
    expected, distances = nearest(queries, gallery, 5, metric="l2")
    found, scores = nearest((queries * size).astype(np.float32), (gallery * size).astype(np.float32), 5, metric="l2")
    assert (found == expected).all()
    np.testing.assert_allclose(scores, distances * size, rtol=1e-6)


@pytest.mark.parametrize("size", [1e21, 1e22, 1e25])
def test_a_huge_query_does_not_hide_what_is_near_a_small_one(size: float) -> None:
    """Beside it the squares of the others are too small for float32, or have a digit or two."""
    gallery = DRAW.normal(size=(400, 6))
    queries = np.vstack([np.full(6, size), DRAW.normal(size=(20, 6))])
    found, _ = nearest(queries, gallery, 5, metric="l2")
    assert found[1:].tolist() == nearest(queries[1:], gallery, 5, metric="l2")[0].tolist()
    assert found[0].shape == (5,)


def test_equal_and_tiny_vectors_are_equally_near() -> None:
    for gallery in (np.ones((4, 2)), np.full((4, 2), 5e-324)):
        found, scores = nearest(gallery[:1], gallery, 4, metric="l2")
        assert found.tolist() == [[0, 1, 2, 3]]
        assert scores.tolist() == [[0.0] * 4]


def test_ties_go_by_name_also_where_they_exceed_k() -> None:
    gallery = np.tile(DRAW.normal(size=(1, 64)), (40, 1)).astype(np.float32)
    names = [f"{(7 * row) % 40:02}" for row in range(40)]
    found, scores = nearest(gallery[:1] * 3, gallery, 4, names=names)
    assert [names[place] for place in found[0]] == ["00", "01", "02", "03"]
    assert len(set(scores[0].tolist())) == 1
    found, _ = nearest(gallery[:1], gallery, 4, names=names, metric="l2")
    assert [names[place] for place in found[0]] == ["00", "01", "02", "03"]


def test_a_query_is_left_out_of_its_own_neighbours() -> None:
    vectors = DRAW.normal(size=(6, 3))
    found, _ = nearest(vectors, vectors, 10, without=np.arange(6))
    assert found.shape == (6, 5)
    assert not (found == np.arange(6)[:, None]).any()


def test_zeros_are_like_none() -> None:
    found, scores = nearest(np.array([[0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0]]), 2)
    assert scores.tolist() == [[0.0, 0.0]]
    assert found.tolist() == [[0, 1]]
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_k_beyond_the_gallery_gives_all() -> None:
    assert nearest(np.ones((1, 2)), np.ones((3, 2)), 99)[0].shape == (1, 3)


@pytest.mark.parametrize(
    ("queries", "gallery", "k", "metric", "says"),
    [
        (np.ones((1, 2)), np.ones((3, 3)), 1, "cosine", "2 numbers, and the vectors have 3"),
        (np.ones((1, 2)), np.ones((3, 2)), 0, "cosine", "k cannot be 0"),
        (np.ones((1, 2)), np.ones((3, 2)), 1, "cosin", "unknown metric"),
        (np.ones((1, 2)), np.ones((0, 2)), 1, "cosine", "nothing to compare"),
    ],
)
def test_what_cannot_be_compared_is_told(
    queries: np.ndarray, gallery: np.ndarray, k: int, metric: Metric, says: str
) -> None:
    with pytest.raises(NetwrightError, match=says):
        nearest(queries, gallery, k, metric=metric)


def test_one_picture_alone_has_no_neighbours() -> None:
    with pytest.raises(NetwrightError, match="nothing to compare"):
        nearest(np.ones((1, 2)), np.ones((1, 2)), 1, without=np.array([0]))


def test_what_float32_cannot_tell_apart_is_ordered_all_the_same() -> None:
    """Cosines that differ by 1e-8: in float32, whose products are off by 1e-7, their order is chance."""
    for _ in range(5):
        centre = DRAW.normal(size=256)
        gallery = centre + 1.5e-3 * DRAW.normal(size=(300, 256))
        found, _ = nearest(centre[None], gallery, 10)
        lengths = np.sqrt(np.square(gallery).sum(1) * np.square(centre).sum())
        assert found[0].tolist() == np.argsort(-(gallery @ centre) / lengths)[:10].tolist()
