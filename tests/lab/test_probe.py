"""The linear probe: scikit-learn's own pipeline, and rotations that change nothing."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from netwright.lab import probe as module
from netwright.lab.probe import GRID, Probe, path, probe, standardised
from tests.lab.test_neighbours import clusters


def test_it_is_scikit_learns_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLERANCE", 1e-8)
    draw = np.random.default_rng(0)
    seen, asked = draw.normal(size=(40, 6)) * [1, 5, 1, 1, 1, 30], draw.normal(size=(200, 6)) * [1, 5, 1, 1, 1, 30]
    labels = (seen[:, 0] + seen[:, 1] / 5 > 0).astype(int) + (seen[:, 5] > 0)
    for c, answers in zip(GRID, path(seen, labels, asked), strict=True):
        reference = make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-8, max_iter=1000))
        assert (reference.fit(seen, labels).predict(asked) == answers).mean() > 0.99  # two answers on the border


def test_turning_wide_vectors_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of more numbers than pictures are turned into what the pictures span: the penalty is the same."""
    monkeypatch.setattr(module, "TOLERANCE", 1e-8)
    draw = np.random.default_rng(1)
    seen, asked, labels = draw.normal(size=(30, 90)), draw.normal(size=(100, 90)), np.arange(30) % 3
    (answers,) = path(seen, labels, asked, grid=(0.01,))
    known, wanted = standardised(seen, asked)
    plain = LogisticRegression(C=0.01, tol=1e-8, max_iter=1000).fit(known, labels)
    assert (plain.predict(wanted) == answers).mean() > 0.98


def test_a_number_that_never_varies_is_left_out() -> None:
    seen = np.array([[1.0, 7.0], [3.0, 7.0]])
    known, wanted = standardised(seen, np.array([[2.0, 9.0]]))
    assert known.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert wanted.tolist() == [[0.0, 0.0]]


def numbered(labels: list[str]) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1]


def test_the_penalty_is_chosen_on_validation_and_test_is_not_looked_at() -> None:
    vectors = clusters(90, apart=3.0)
    labels = numbered(list(vectors.labels))
    test = vectors.having("test")
    found = probe(vectors, test, labels, crossed=False)
    assert isinstance(found, Probe)
    assert found.chosen_on == "chosen on 30 validation pictures"
    assert found.right.mean() > 0.7
    wrong = labels.copy()
    wrong[test] = (wrong[test] + 1) % 3
    other = probe(vectors, test, wrong, crossed=False)
    assert isinstance(other, Probe)
    assert other.c == found.c


def test_the_penalty_is_chosen_on_pictures_with_labels() -> None:
    """Whose label nobody says has the number 0 as class 0 has: it may not count as one of these."""
    vectors = clusters(90, apart=3.0)
    val = vectors.having("val")
    labels = numbered(list(vectors.labels))
    lost = val[labels[val] != 0]
    names = ["" if place in lost else name for place, name in enumerate(vectors.labels)]
    zeros = np.where(np.isin(np.arange(90), lost), 0, labels)
    found = probe(replace(vectors, labels=names), vectors.having("test"), zeros, crossed=False)
    kept = vectors.chosen(np.setdiff1d(np.arange(90), lost))
    alone = probe(kept, kept.having("test"), np.delete(labels, lost), crossed=False)
    assert isinstance(found, Probe)
    assert isinstance(alone, Probe)
    assert found.chosen_on == alone.chosen_on == "chosen on 10 validation pictures"
    assert found.c == alone.c
    none = ["" if place in val else name for place, name in enumerate(vectors.labels)]
    found = probe(replace(vectors, labels=none), vectors.having("test"), labels, crossed=False)
    assert isinstance(found, Probe)
    assert found.chosen_on == "chosen by cross-validation"


def test_without_splits_every_picture_is_answered_by_a_probe_that_has_not_seen_it() -> None:
    """Random labels cannot be told: a probe that had seen them would be right far more often than one in three."""
    vectors = clusters(60, splits=False)
    labels = np.random.default_rng(2).permutation(np.arange(60) % 3)
    found = probe(vectors, np.arange(60), labels, crossed=True)
    assert isinstance(found, Probe)
    assert "5-fold" in found.chosen_on
    assert found.right.mean() < 0.33 + 3 * np.sqrt(0.33 * 0.67 / 60)


def test_what_cannot_be_probed_says_why() -> None:
    vectors = clusters(12, splits=False)
    assert "single picture" in str(probe(vectors, np.arange(12), np.arange(12), crossed=True))
    assert "12 pictures have one class" in str(probe(vectors, np.arange(12), np.zeros(12, int), crossed=True))
    split = clusters(12)
    zeros = np.zeros(12, int)
    assert "one class" in str(probe(split, split.having("test"), zeros, crossed=False))
