"""What neighbours say of vectors: closed forms, floors, paired differences, and odd ones out."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from netwright.core.errors import NetwrightError
from netwright.lab.few import bounded_mean, share_mean
from netwright.lab.neighbours import Evaluation, Measure, evaluate, vote
from netwright.lab.protocol import likeness, paired, protocol_for, queries_named
from netwright.records.intervals import wilson
from netwright.records.vectors import Vectors

CLASSES = ("ant", "bee", "cow")


def clusters(n: int = 60, *, apart: float = 4.0, splits: bool = True, seed: int = 0, noise: float = 1.0) -> Vectors:
    draw = np.random.default_rng(seed)
    label = np.arange(n) % 3
    matrix = (apart * np.eye(3, 8)[label] + noise * draw.normal(size=(n, 8))).astype(np.float32)
    side = np.array(["train", "val", "test"])[np.arange(n) // 3 % 3] if splits else np.array([""] * n)
    names = [f"{row:03}.png" for row in range(n)]
    return Vectors(names, matrix, side.tolist(), [CLASSES[k] for k in label], [f"{row}" for row in range(n)])


def measure(found: Evaluation, name: str) -> Measure:
    return next(each for each in found.measures if each.name == name)


def test_the_protocol_is_test_among_train_where_there_are_both() -> None:
    vectors = clusters()
    protocol = protocol_for(vectors)
    assert {vectors.splits[place] for place in protocol.queries} == {"test"}
    assert {vectors.splits[place] for place in protocol.gallery} == {"train"}
    assert not protocol.left_out
    assert protocol_for(clusters(splits=False)).left_out
    assert protocol_for(vectors, "all").left_out
    with pytest.raises(NetwrightError, match="no train and test split"):
        protocol_for(clusters(splits=False), "test")


@pytest.mark.parametrize("apart", [0.0, 2.0])
def test_precision_and_votes_are_those_counted_by_hand(apart: float) -> None:
    vectors = clusters(90, apart=apart)
    found = evaluate(vectors, k=5, metric="l2", with_probe=False)
    train, test = vectors.having("train"), vectors.having("test")
    labels = np.array(vectors.labels)
    reference = KNeighborsClassifier(5, algorithm="brute").fit(vectors.matrix[train], labels[train])
    _, places = reference.kneighbors(vectors.matrix[test])
    shares = (labels[train][places] == labels[test][:, None]).mean(1)
    assert measure(found, "precision@5").interval.value == pytest.approx(shares.mean())
    assert found.near.precision == pytest.approx(shares)
    one = KNeighborsClassifier(1, algorithm="brute").fit(vectors.matrix[train], labels[train])
    right = one.score(vectors.matrix[test], labels[test])
    assert measure(found, "1-NN accuracy").interval.value == pytest.approx(right)
    assert measure(found, "1-NN accuracy").interval.method == "wilson"
    assert measure(found, "5-NN accuracy").interval.n == len(test)


def test_a_vote_goes_to_the_commonest_and_of_equals_to_the_nearest() -> None:
    assert vote(np.array([[1, 2, 2], [3, 1, 2], [2, 1, 1], [0, 1, 1]])).tolist() == [2, 3, 1, 1]
    assert vote(np.array([[1, 2, 2, 1]])).tolist() == [1]


def test_the_floors_are_what_guessing_reaches() -> None:
    """Of 6, 3 and 1 pictures, each among all others: chance is the mean of 5/9, 2/9 and 0/9 by pictures."""
    vectors = clusters(10, splits=False)
    labels = ["ant"] * 6 + ["bee"] * 3 + ["cow"]
    found = evaluate(replace(vectors, labels=labels), k=2, with_probe=False)
    assert measure(found, "precision@2").floor == pytest.approx((6 * 5 + 3 * 2 + 0) / 90)
    assert measure(found, "1-NN accuracy").floor == pytest.approx(0.6)
    draw = np.random.default_rng(1)
    means = [
        evaluate(replace(vectors, labels=labels, matrix=draw.normal(size=(10, 8))), k=2, with_probe=False).measures[0]
        for _ in range(300)
    ]
    # 300 draws of a mean over 10 pictures, each with a deviation below 0.5: three standard errors are 0.03.
    assert np.mean([each.interval.value for each in means]) == pytest.approx(0.4, abs=0.03)


def test_vectors_against_themselves_are_not_resolved() -> None:
    vectors = clusters()
    found = evaluate(vectors, against=vectors)
    assert [each.name for each in found.measures][-1] == "linear probe"
    for each in found.measures:
        assert each.difference is not None
        # That none of 20 differed does not say that none would.
        assert each.difference.low == pytest.approx(-wilson(0, each.interval.n).high)
        assert each.difference.value == 0
        assert each.difference.high == pytest.approx(wilson(0, each.interval.n).high)
        assert not each.resolved
        assert each.to_json()["resolved"] is False


def test_few_and_equal_values_are_not_sure() -> None:
    for values in ([1.0, 1.0], [0.4] * 9):
        found = bounded_mean(np.array(values), -1.0)
        assert (found.value, found.n) == (pytest.approx(values[0]), len(values))
        assert np.isnan([found.low, found.high]).all()
    ones = bounded_mean(np.ones(30), 0.0)
    assert (ones.low, ones.high) == (pytest.approx(wilson(30, 30).low), 1)
    half, bound = bounded_mean(np.full(30, 0.4), 0.0), wilson(0, 30).high
    assert (half.low, half.high) == (pytest.approx(0.4 - 0.4 * bound), pytest.approx(0.4 + 0.6 * bound))
    assert bounded_mean(np.array([0.0, 1.0] * 10), -1.0).method == "bca"
    assert share_mean(np.ones(2)).method == "wilson"
    assert share_mean(np.full(20, 0.4)).high > 0.4


def test_two_queries_resolve_nothing() -> None:
    """One query that all neighbours of one file answer rightly, and none of the other's, is one query."""
    vectors = clusters(60, apart=9.0)
    few = vectors.chosen([*vectors.having("train"), *vectors.having("test")[:2]])
    labels = few.matrix[few.having("test")][:, ::-1]
    turned = few.matrix.copy()
    turned[few.having("test")] = labels
    found = evaluate(few, against=replace(few, matrix=turned))
    for each in found.measures:
        assert each.difference is not None
        assert np.isnan(each.difference.low)
        assert not each.resolved


def test_what_nothing_could_have_spoken_for_is_not_odd() -> None:
    """A class of one picture, and pictures whose neighbours have no label."""
    vectors = clusters(90, apart=9.0, splits=False)
    labels = list(vectors.labels)
    labels[0] = "dog"
    assert evaluate(replace(vectors, labels=labels), with_probe=False).odd == ()
    labels = [label if row < 3 or label == "bee" else "" for row, label in enumerate(vectors.labels)]
    labels[3] = "cow"
    # 0 and 3 lie among ants, which have lost their labels but for these two.
    labels[0] = "cow"
    assert evaluate(replace(vectors, labels=labels), k=5, with_probe=False).odd == ()
    labels[4] = "cow"  # among bees, which have theirs
    found = evaluate(replace(vectors, labels=labels), k=5, with_probe=False)
    assert [place for place, _, _ in found.odd] == [4]


def test_a_runs_own_pictures_are_warned_of() -> None:
    vectors = clusters(splits=False)
    for weights, warned in ((None, True), ("imagenet", False)):
        found = evaluate(replace(vectors, meta={"weights": weights}), with_probe=False)
        assert any("was trained on" in note for note in found.notes) == warned
    split = evaluate(replace(clusters(), meta={"weights": None}), with_probe=False)
    assert not any("was trained on" in note for note in split.notes)


def test_good_vectors_are_told_from_noise() -> None:
    vectors = clusters(180, apart=6.0)
    noise = replace(vectors, matrix=np.random.default_rng(5).normal(size=vectors.matrix.shape).astype(np.float32))
    found = evaluate(vectors, against=noise)
    for each in found.measures:
        assert each.against is not None
        assert each.interval.value > 0.9
        assert each.interval.value > each.floor
        assert each.resolved
        assert each.difference is not None
        assert each.difference.value == pytest.approx(each.interval.value - each.against.value)


def test_pictures_are_paired_by_name_in_any_order() -> None:
    vectors = clusters()
    other = vectors.chosen(list(range(50, -1, -1)))
    one, two, notes = paired(vectors, other)
    assert list(one.names) == list(two.names)
    assert (one.matrix == two.matrix).all()
    assert notes == ["compared on the 51 pictures that both files have"]
    with pytest.raises(NetwrightError, match="no picture in common"):
        paired(vectors, replace(vectors, names=[f"x{name}" for name in vectors.names]))
    with pytest.raises(NetwrightError, match="other contents"):
        paired(vectors, replace(vectors, ids=["z", *vectors.ids[1:]]))


def test_a_wrong_label_is_found() -> None:
    vectors = clusters(90, apart=9.0, splits=False)
    labels = list(vectors.labels)
    labels[0] = "cow"
    found = evaluate(replace(vectors, labels=labels), with_probe=False)
    assert found.odd == ((0, "ant", 5),)
    said = found.to_json()
    assert said["odd"] == [{"name": "000.png", "label": "cow", "neighbours_say": "ant", "of_them": 5}]
    assert len(said["neighbours"]) == 90


def test_several_labels_count_where_one_is_shared() -> None:
    matrix = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    labels = ["a|b", "b", "c", ""]
    vectors = Vectors(["1", "2", "3", "4"], matrix, [""] * 4, labels, [""] * 4, {"separator": "|"})
    found = evaluate(vectors, k=1)
    assert [each.name for each in found.measures] == ["precision@1"]
    assert found.near.precision[:3].tolist() == [1, 1, 0]
    assert np.isnan(found.near.precision[3])
    assert any("several labels" in note for note in found.notes)
    assert any("1 queries without a label" in note for note in found.notes)


def test_without_labels_neighbours_are_listed_and_nothing_is_measured() -> None:
    vectors = clusters(splits=False)
    found = evaluate(replace(vectors, labels=[""] * len(vectors)))
    assert found.measures == ()
    assert likeness(replace(vectors, labels=[""] * len(vectors))) is None
    assert found.near.places.shape == (60, 5)
    assert "nothing is measured" in found.notes[0]


def test_more_neighbours_than_there_are_pictures() -> None:
    found = evaluate(clusters(9, splits=False), k=50, with_probe=False)
    assert found.measures[0].name == "precision@8"
    assert any("no more than 8" in note for note in found.notes)


def test_one_picture_is_not_enough() -> None:
    with pytest.raises(NetwrightError, match="there is 1 picture"):
        evaluate(clusters(1, splits=False))


def test_names_of_queries() -> None:
    given: Any = "tests"
    with pytest.raises(NetwrightError, match="did you mean 'test'"):
        queries_named(given)
    assert queries_named("all") == "all"
