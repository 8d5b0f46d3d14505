"""Things told apart, matched and counted, against hand-made cases and scipy's assignment."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from netwright.core.errors import NetwrightError
from netwright.tasks import _instances as module
from netwright.tasks._instances import (
    BACKGROUND,
    BORDER,
    INTERIOR,
    THRESHOLDS,
    grown,
    matched,
    regions,
    split_touching,
    uncut,
)

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

    @pytest.mark.parametrize("shape", [(150, 40), (16, 40), (17, 40), (1, 11)])
    def test_strips_change_nothing(self, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        draw = np.random.default_rng(4)
        classes = draw.choice(3, shape, p=[0.3, 0.1, 0.6]).astype(np.uint8)
        classes[30:70, 5:30], classes[40:42, 10] = BORDER, INTERIOR  # its border is wider than a strip
        monkeypatch.setattr(module, "FAR", 16)
        whole = grown(classes)
        monkeypatch.setattr(module, "STRIP", 16)
        assert np.array_equal(grown(classes), whole)
        assert whole.max() == regions(classes == INTERIOR).max()

    def test_border_far_from_everything_is_no_thing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FAR", 4)
        classes = np.full((1, 20), BORDER)
        classes[0, 3] = INTERIOR
        assert grown(classes)[0].tolist() == [1] * 8 + [0] * 12


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

    def test_every_part_keeps_a_number_and_numbers_have_no_gaps(self) -> None:
        pytest.importorskip("skimage")
        things = np.random.default_rng(2).random((80, 90)) < 0.4  # dots, and parts of all shapes
        things[40:75, 10:80] |= disk(17, 17, 14, 80)[:35, :70] | disk(17, 38, 14, 80)[:35, :70]
        found, joined = split_touching(things), regions(things)
        assert np.array_equal(found > 0, things)
        assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
        assert found.max() > joined.max()
        pairs = np.unique(np.stack([found[things], joined[things]], 1), axis=0)
        assert len(pairs) == found.max()  # no number reaches over two parts

    def test_a_part_is_cut_as_it_would_be_alone(self) -> None:
        pytest.importorskip("skimage")
        alone = disk(24, 15, 10, 64) | disk(24, 32, 10, 64)
        beside = alone | disk(50, 50, 9, 64)
        beside[14, 6], beside[35, 42] = True, True  # in the box, and corner to corner with nothing
        expected, found = split_touching(alone), split_touching(beside)
        first = found * alone
        assert matched(first, expected).hits.tolist() == [2] * 10
        assert np.array_equal(first == first[24, 10], expected == expected[24, 10])

    def test_what_is_too_large_stays_whole_and_is_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("skimage")
        things = disk(24, 15, 10, 64) | disk(24, 32, 10, 64) | disk(54, 54, 4, 64)
        assert uncut(split_touching(things)) == 0
        monkeypatch.setattr(module, "MOST_CUT", 21 * 38 - 1)
        found = split_touching(things)
        assert (found.max(), uncut(found)) == (2, 1)
        monkeypatch.setattr(module, "MOST_CUT", 21 * 38)
        assert uncut(split_touching(things)) == 0

    def test_looking_at_its_box_alone_changes_nothing(self) -> None:
        pytest.importorskip("skimage")
        things = np.zeros((60, 90), bool)
        things[10:40, 10:24], things[24, 20:60], things[15:45, 50:80] = True, True, True
        found = split_touching(things)
        assert found.max() > 1
        assert np.array_equal(found, module._pieces(things))

    @pytest.mark.parametrize("shape", [(40, 30), (1, 20), (20, 1)])
    def test_a_picture_that_is_all_one_thing(self, shape: tuple[int, int]) -> None:
        pytest.importorskip("skimage")
        assert (split_touching(np.ones(shape, bool)) > 0).all()

    def test_without_scikit_image_it_says_what_to_install(self, monkeypatch: Any) -> None:
        monkeypatch.setitem(sys.modules, "skimage.feature", None)
        with pytest.raises(NetwrightError, match="needs scikit-image") as caught:
            split_touching(disk(24, 24, 12))
        assert "netwright[instances]" in caught.value.fix
