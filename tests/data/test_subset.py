"""Parts of a data set: nested draws, the classes asked for, and every other split whole."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.data import Data, from_arrays
from netwright.data.subset import of_classes, some_of_each

CLASSES = ("ant", "bee", "cow", "doe")


@pytest.fixture
def data() -> Data:
    """Forty, thirty, twenty and ten training pictures of four classes, each picture another one."""
    draw = np.random.default_rng(0)

    def split(*counts: int) -> tuple[np.ndarray, np.ndarray]:
        labels = draw.permutation(np.repeat(np.arange(4), counts))
        return draw.integers(0, 256, (len(labels), 8, 8, 3)).astype(np.uint8), labels

    return from_arrays(train=split(40, 30, 20, 10), val=split(3, 3, 3, 3), test=split(4, 5, 6, 7), classes=CLASSES)


def ids(data: Data) -> set[int]:
    return set(data.splits["train"].ids.tolist())


def counts(data: Data, side: str = "train") -> list[int]:
    return np.bincount(data.splits[side].labels, minlength=len(data.classes)).tolist()


@pytest.mark.parametrize("seed", [0, 5])
def test_draws_are_nested(data: Data, seed: int) -> None:
    parts = [some_of_each(data, size, seed) for size in (1, 5, 10, 25, 100)]
    for small, large in pairwise(parts):
        assert ids(small) < ids(large)
    assert ids(parts[-1]) == ids(data)


def test_every_class_has_as_many_as_were_asked_for_or_all(data: Data) -> None:
    assert counts(some_of_each(data, 5)) == [5, 5, 5, 5]
    assert counts(some_of_each(data, 25)) == [25, 25, 20, 10]


def test_pictures_keep_their_labels_ids_and_names(data: Data) -> None:
    whole, part = data.splits["train"], some_of_each(data, 7, 1).splits["train"]
    places = [whole.ids.tolist().index(number) for number in part.ids.tolist()]
    assert np.array_equal(np.asarray(part.images[:]), np.asarray(whole.images[places]))
    assert part.labels.tolist() == whole.labels[places].tolist()
    assert list(part.names) == [whole.names[place] for place in places]


def test_a_seed_decides_and_the_same_seed_draws_the_same(data: Data) -> None:
    assert ids(some_of_each(data, 5, 1)) == ids(some_of_each(data, 5, 1))
    drawn = [frozenset(ids(some_of_each(data, 5, seed))) for seed in range(10)]
    assert len(set(drawn)) == 10


def test_every_picture_of_a_class_is_drawn_as_often(data: Data) -> None:
    times = np.zeros(len(data.splits["train"]))
    places = {number: place for place, number in enumerate(data.splits["train"].ids.tolist())}
    for seed in range(400):
        times[[places[number] for number in ids(some_of_each(data, 5, seed))]] += 1
    for label, of_class in enumerate((40, 30, 20, 10)):
        share = 5 / of_class
        own = times[data.splits["train"].labels == label] / 400
        assert np.abs(own - share).max() < 4.5 * (share * (1 - share) / 400) ** 0.5, "4.5 deviations of a hundred draws"


def test_other_splits_stay_whole(data: Data) -> None:
    part = some_of_each(data, 2)
    assert part.splits["test"] is data.splits["test"]
    assert part.splits["val"] is data.splits["val"]


def test_every_part_is_another_data_set(data: Data) -> None:
    parts = [data, some_of_each(data, 5, 0), some_of_each(data, 5, 1), some_of_each(data, 6, 0)]
    parts += [of_classes(data, ["ant", "bee"]), of_classes(data, ["bee", "ant"])]
    assert len({part.fingerprint for part in parts}) == len(parts)
    assert some_of_each(data, 5, 1).fingerprint == some_of_each(data, 5, 1).fingerprint
    assert "a part of the data: 5 of each class, seed 1" in some_of_each(data, 5, 1).notes


def test_classes_are_numbered_as_they_were_asked_for(data: Data) -> None:
    part = of_classes(data, ["doe", "bee"])
    assert part.classes == ("doe", "bee")
    for side in ("train", "val", "test"):
        whole = data.splits[side].labels
        assert counts(part, side) == [(whole == 3).sum(), (whole == 1).sum()]
    named = dict(zip(data.splits["train"].ids.tolist(), data.splits["train"].labels.tolist(), strict=True))
    of_part = dict(zip(part.splits["train"].ids.tolist(), part.splits["train"].labels.tolist(), strict=True))
    assert all(CLASSES[named[number]] == part.classes[label] for number, label in of_part.items())


def test_parts_of_parts(data: Data) -> None:
    part = some_of_each(of_classes(data, ["cow", "doe"]), 3)
    assert part.classes == ("cow", "doe")
    assert counts(part) == [3, 3]
    assert counts(part, "test") == [6, 7]


def test_what_cannot_be_drawn_is_refused(data: Data) -> None:
    with pytest.raises(NetwrightError, match="at least 1"):
        some_of_each(data, 0)
    with pytest.raises(NetwrightError, match="did you mean 'bee'"):
        of_classes(data, ["be"])
    split = data.splits["train"]
    several = replace(data, splits={"train": replace(split, labels=np.eye(4, dtype=np.int64)[split.labels])})
    with pytest.raises(NetwrightError, match="several labels"):
        some_of_each(several, 1)
    with pytest.raises(NetwrightError, match="several labels"):
        of_classes(several, several.classes[:2])


@pytest.mark.parametrize("classes", [[], ["ant", "bee", "ant"]])
def test_no_class_and_a_class_twice_are_refused(data: Data, classes: list[str]) -> None:
    with pytest.raises(NetwrightError, match="classes cannot be"):
        of_classes(data, classes)
