"""Maps: scikit-learn's components, its trustworthiness, and what the map is said to keep."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from netwright.core.errors import NetwrightError
from netwright.lab import projection as module
from netwright.lab.projection import believed, principal, project

DRAW = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(50, 8), (6, 20)])
def test_components_are_scikit_learns(shape: tuple[int, int]) -> None:
    vectors = DRAW.normal(size=shape) * np.linspace(1, 9, shape[1]) + 3
    reference = PCA(2).fit(vectors)
    points, explained = principal(vectors)
    signs = np.sign((points * reference.transform(vectors)).sum(0))
    np.testing.assert_allclose(points, reference.transform(vectors) * signs, atol=1e-9)
    np.testing.assert_allclose(explained, reference.explained_variance_ratio_, rtol=1e-9)


def test_the_sign_is_the_same_whatever_the_order() -> None:
    vectors = DRAW.normal(size=(30, 5)) * [5, 3, 1, 1, 1]
    order = DRAW.permutation(30)
    np.testing.assert_allclose(principal(vectors)[0][order], principal(vectors[order])[0], atol=1e-9)
    centred = vectors - vectors.mean(0)
    axes = np.linalg.lstsq(centred, principal(vectors)[0], rcond=None)[0].T
    assert (axes[[0, 1], np.abs(axes).argmax(1)] > 0).all()


@pytest.mark.parametrize("k", [1, 5, 12])
def test_trustworthiness_is_scikit_learns(k: int) -> None:
    vectors = DRAW.normal(size=(40, 6))
    points = vectors[:, :2] + DRAW.normal(size=(40, 2))
    kept, trust = believed(vectors, points, k)
    assert trust.mean() == pytest.approx(trustworthiness(vectors, points, n_neighbors=k))
    true, seen = (
        np.argsort(np.square(x[:, None] - x[None]).sum(2) + np.diag([np.inf] * 40), 1)[:, :k] for x in (vectors, points)
    )
    assert kept.tolist() == [len(set(a) & set(b)) / k for a, b in zip(true.tolist(), seen.tolist(), strict=True)]


def test_a_plane_is_mapped_without_loss_and_random_points_have_half() -> None:
    flat = np.zeros((60, 7))
    flat[:, :2] = DRAW.normal(size=(60, 2))
    made = project(flat, metric="l2")
    assert made.trustworthiness.value == 1
    assert made.kept.value == 1
    assert made.kept.low < 1  # that it kept all of these does not say that it would keep all
    assert made.explained is not None
    assert sum(made.explained) == pytest.approx(1)
    _, trust = believed(DRAW.normal(size=(500, 5)), DRAW.normal(size=(500, 2)), 5)
    assert trust.mean() == pytest.approx(0.5, abs=0.05)


def test_few_and_equal_pictures_are_mapped() -> None:
    assert project(np.eye(3)).points.shape == (3, 2)
    same = project(np.ones((5, 4)))
    assert np.isfinite(same.points).all()
    assert same.explained == (0, 0)
    assert project(DRAW.normal(size=(4, 1))).points[:, 1].tolist() == [0] * 4
    with pytest.raises(NetwrightError, match="2 pictures make no map"):
        project(np.eye(2))


def test_what_is_said_of_a_map() -> None:
    first, second = project(DRAW.normal(size=(30, 6))).says()
    assert "% of the variance" in first
    assert "95 % intervals over 30 pictures" in second


def test_of_many_pictures_it_is_said_among_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JUDGED", 20)
    _, said = project(DRAW.normal(size=(1500, 3))).says()
    assert "5 nearest of each picture, among 20 of the 1,500, evenly chosen, the map keeps" in said
    assert "over 20 pictures" in said


def test_few_pictures_have_no_interval() -> None:
    _, said = project(np.eye(4) + 0.1 * DRAW.normal(size=(4, 4))).says()
    assert "4 are too few for intervals" in said
    assert "nan" not in said
    flat = np.zeros((12, 7))
    flat[:, :2] = DRAW.normal(size=(12, 2))
    assert project(flat, metric="l2").trustworthiness.low < 1


def test_an_unknown_method_and_a_missing_extra_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NetwrightError, match="did you mean 'umap'"):
        project(np.eye(4), method="umpa")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(NetwrightError) as told:
        project(np.eye(4), method="umap")
    assert "netwright[umap]" in told.value.fix
    assert "pca" in told.value.fix


def test_umap_is_asked_for_one_thread_and_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class UMAP:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def fit_transform(self, vectors: np.ndarray) -> np.ndarray:
            return vectors[:, :2]

    stand_in = ModuleType("umap")
    monkeypatch.setattr(stand_in, "UMAP", UMAP, raising=False)
    monkeypatch.setitem(sys.modules, "umap", stand_in)
    made = project(np.eye(6), method="umap")
    assert made.explained is None
    assert (asked["random_state"], asked["n_jobs"], asked["n_neighbors"]) == (0, 1, 5)
    assert "UMAP" in made.says()[0]
