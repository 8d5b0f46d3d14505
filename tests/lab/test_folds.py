"""Folds: each picture is held out once, classes keep their shares, and what belongs together stays together."""

import numpy as np
import pytest

from netwright.data import Data, from_arrays
from netwright.lab.folds import dealt, groups, parts, pooled


def data(n: int = 40, twins: int = 0) -> Data:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    pictures[:twins] = pictures[0]
    labels = np.where(np.arange(n) < twins, 0, np.arange(n) % 4)
    held = draw.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8), np.arange(8) % 4
    return from_arrays(train=(pictures, labels), val=held, test=held, image_size=8)


class TestDealt:
    def test_every_class_is_in_every_fold_in_its_share(self) -> None:
        labels = np.repeat([0, 1, 2], [50, 10, 5])
        fold = dealt(labels, np.arange(65), 5, seed=3)
        counts = np.array([np.bincount(fold[labels == label], minlength=5) for label in range(3)])
        assert counts.tolist() == [[10] * 5, [2] * 5, [1] * 5]

    def test_groups_stay_together_and_folds_nearly_equal(self) -> None:
        group = np.random.default_rng(0).integers(0, 30, 200)
        fold = dealt(np.random.default_rng(1).integers(0, 3, 200), group, 5)
        assert all(len(np.unique(fold[group == one])) == 1 for one in np.unique(group))
        sizes = np.bincount(fold, minlength=5)
        assert sizes.max() - sizes.min() <= np.bincount(group).max()

    def test_the_seed_decides(self) -> None:
        labels = np.arange(60) % 3
        one, again, other = (dealt(labels, np.arange(60), 5, seed=seed) for seed in (0, 0, 1))
        assert (one == again).all()
        assert (one != other).any()


class TestParts:
    def test_each_picture_is_held_out_once_and_never_learnt_from_then(self) -> None:
        made = parts(pooled(data(), 1000), 5)
        held = np.concatenate([part.splits["test"].ids for part in made])
        assert sorted(held) == sorted(pooled(data(), 1000).splits["train"].ids)
        assert all(not set(part.splits["test"].ids) & set(part.splits["train"].ids) for part in made)
        assert len({part.fingerprint for part in made}) == 5

    def test_equal_contents_are_on_one_side(self) -> None:
        for part in parts(pooled(data(twins=4), 1000), 4):
            first, second = (
                {picture.tobytes() for picture in np.asarray(part.splits[side].images)} for side in ("train", "test")
            )
            assert not first & second

    def test_a_group_in_names_is_on_one_side(self) -> None:
        some = pooled(data(), 1000)
        own = groups(some.splits["train"], r"\[(\d)")  # by the first digit of train[17]
        assert len(np.unique(own)) == 10
        for part in parts(some, 4, group=r"\[(\d)"):
            first, second = ({name.split("[")[1][0] for name in part.splits[s].names} for s in ("train", "test"))
            assert not first & second


class TestPooled:
    def test_the_test_split_is_never_touched(self) -> None:
        opened = data()
        kept = set(pooled(opened, 1000).splits["train"].ids)
        assert list(pooled(opened, 1000).splits) == ["train"]
        assert kept == {*opened.splits["train"].ids, *opened.splits["val"].ids}

    def test_fewer_keep_the_shares_of_classes_and_their_labels(self) -> None:
        opened = data(120)
        some = pooled(opened, 32).splits["train"]
        assert np.bincount(some.labels).tolist() == [8, 8, 8, 8]
        true = {
            int(number): int(label)
            for side in ("train", "val")
            for number, label in zip(opened.splits[side].ids, opened.splits[side].labels, strict=True)
        }
        assert [true[int(number)] for number in some.ids] == some.labels.tolist()


@pytest.mark.parametrize("folds", [2, 5])
def test_as_many_parts_as_folds(folds: int) -> None:
    assert len(parts(pooled(data(), 1000), folds)) == folds
