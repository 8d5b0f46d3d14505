"""Things told apart, matched and counted, against hand-made cases and scipy's assignment."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from netwright.core.errors import NetwrightError
from netwright.tasks._instances import BACKGROUND, BORDER, INTERIOR, THRESHOLDS, grown, matched, regions, split_touching

Ids = NDArray[np.int64]


def disk(row: float, column: float, radius: float, size: int = 48) -> NDArray[np.bool_]:
    y, x = np.mgrid[:size, :size]
    return np.hypot(y - row, x - column) <= radius


def bordered(ids: Ids) -> Ids:
    """Background, interior and border: pixels of a thing with another number among their eight neighbours."""
    padded = np.pad(ids, 1, mode="edge")
    h, w = ids.shape
    near = [padded[dy : dy + h, dx : dx + w] for dy in range(3) for dx in range(3)]
    edge = np.any([one != ids for one in near], axis=0)
    return np.where(ids == 0, BACKGROUND, np.where(edge, BORDER, INTERIOR)).astype(np.int64)


class TestRegions:
    def test_corners_do_not_connect(self) -> None:
        things = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1]], bool)
        assert regions(things).tolist() == [[1, 0, 0], [0, 2, 2], [0, 0, 2]]

    def test_nothing(self) -> None:
        assert regions(np.zeros((4, 4), bool)).max() == 0


class TestGrown:
    def test_touching_things_are_told_apart_and_whole(self) -> None:
        ids = np.zeros((20, 30), np.int64)
        ids[3:15, 2:12], ids[3:15, 12:22], ids[16:20, 25:30] = 1, 2, 3
        found = grown(bordered(ids))
        assert matched(found, ids).hits.tolist() == [3] * 10
        assert regions(ids > 0).max() == 2  # without the border two are one

    def test_each_pixel_goes_to_the_nearest_interior(self) -> None:
        classes = np.zeros((3, 11), np.int64)
        classes[1] = [0, 1, 2, 2, 2, 2, 2, 2, 1, 0, 0]
        assert grown(classes)[1].tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0]

    def test_border_alone_is_no_thing(self) -> None:
        classes = np.zeros((12, 12), np.int64)
        classes[2:5, 2:5], classes[3, 3] = BORDER, INTERIOR
        classes[2:5, 6:9] = BORDER  # a ring that nothing fills, one pixel away
        found = grown(classes)
        assert (found[2:5, 2:5] == 1).all()
        assert (found == 1).sum() == 9

    @pytest.mark.parametrize("value", [BACKGROUND, BORDER])
    def test_without_interior_there_is_nothing(self, value: int) -> None:
        assert grown(np.full((5, 5), value)).max() == 0


class TestMatched:
    def test_a_hand_made_case(self) -> None:
        truth, found = np.zeros((2, 10, 40), np.int64)
        truth[:, :10], truth[:, 15:25], truth[:, 30:40] = 1, 2, 3
        found[:, :10], found[:, 15:22], found[:2, 30:40] = 7, 4, 9  # IoU 1, 0.7 and 0.2
        seen = matched(found, truth)
        assert (seen.found, seen.truth) == (3, 3)
        assert seen.hits.tolist() == [2, 2, 2, 2, 1, 1, 1, 1, 1, 1]  # above 0.7, not at it
        assert seen.precisions[0] == pytest.approx(2 / 4)
        assert seen.precisions[-1] == pytest.approx(1 / 5)

    def test_a_half_is_not_above_a_half(self) -> None:
        truth, halves = np.ones((4, 4), np.int64), np.ones((4, 4), np.int64)
        halves[2:] = 2
        assert matched(halves, truth).hits.tolist() == [0] * 10

    def test_is_the_best_assignment(self) -> None:
        draw = np.random.default_rng(0)
        truth, found = np.zeros((2, 60, 60), np.int64)
        for i in range(25):
            row, column, radius = draw.uniform(0, 60), draw.uniform(0, 60), draw.uniform(3, 8)
            truth[disk(row, column, radius, 60)] = i + 1
            found[disk(row + draw.normal(), column + draw.normal(), radius * draw.uniform(0.8, 1.2), 60)] = 90 - i
        names, others = np.unique(truth[truth > 0]), np.unique(found[found > 0])
        ious = np.array([[((truth == a) & (found == b)).sum() / ((truth == a) | (found == b)).sum() for b in others]
                         for a in names])  # fmt: skip
        expected = [int((good := ious > t)[linear_sum_assignment(-good.astype(int))].sum()) for t in THRESHOLDS]
        seen = matched(found, truth)
        assert seen.hits.tolist() == expected
        assert expected[0] > 5
        assert expected[0] > expected[-1]
        assert (seen.truth, seen.found) == (len(names), len(others))

    def test_empty_ones(self) -> None:
        nothing, one = np.zeros((4, 4), np.int64), np.eye(4, dtype=np.int64)
        assert matched(nothing, nothing).precisions.tolist() == [1.0] * 10
        assert matched(one, nothing).precisions.tolist() == [0.0] * 10
        assert matched(nothing, one).precisions.tolist() == [0.0] * 10

    def test_thresholds_are_the_competitions(self) -> None:
        assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class TestSplitTouching:
    def test_two_disks_that_overlap_are_two(self) -> None:
        pytest.importorskip("skimage")
        things = disk(24, 15, 10) | disk(24, 32, 10)
        assert regions(things).max() == 1
        found = split_touching(things)
        assert len(np.unique(found)) == 3
        assert np.array_equal(found > 0, things)
        assert found[24, 10] != found[24, 38]

    def test_one_disk_is_one(self) -> None:
        pytest.importorskip("skimage")
        assert split_touching(disk(24, 24, 12)).max() == 1
        assert split_touching(np.zeros((9, 9), bool)).max() == 0

    def test_without_scikit_image_it_says_what_to_install(self, monkeypatch: Any) -> None:
        monkeypatch.setitem(sys.modules, "skimage.feature", None)
        with pytest.raises(NetwrightError, match="needs scikit-image") as caught:
            split_touching(disk(24, 24, 12))
        assert "netwright[instances]" in caught.value.fix
