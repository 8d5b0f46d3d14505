"""Measures of masks against scikit-learn, scipy and hand-made cases; intervals against simulation."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from netwright.tasks import _mask_metrics as metrics
from netwright.tasks._boundary import boundary_f1, errors_by_distance, outline, tolerance
from netwright.tasks._mask_metrics import Bootstrap, bootstrap_ratio, boundary_sums, expanded, tally
from netwright.tasks._otsu import luma, otsu

K = 4
FLAT = ("iou", "dice", "precision", "recall")


def drawn(*, several: bool = False) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    draw = np.random.default_rng(0)
    if several:
        return draw.integers(0, 2, (K, 20, 30)), draw.integers(-1, 2, (K, 20, 30))
    return draw.integers(0, K, (20, 30)), draw.integers(-1, K, (20, 30))


def square(top: int, left: int, side: int, size: int = 32) -> NDArray[np.bool_]:
    region = np.zeros((size, size), bool)
    region[top : top + side, left : left + side] = True
    return region


def everywhere(region: NDArray[Any]) -> NDArray[np.bool_]:
    return np.ones(region.shape, bool)


class TestTally:
    def test_classes_are_scikit_learns(self) -> None:
        found, label = drawn()
        seen = tally(found, label, K)
        known = label >= 0
        pair = (label[known], found[known])
        assert np.array_equal(seen.confusion, confusion_matrix(*pair, labels=range(K)))
        assert (seen.known, seen.right) == (known.sum(), (pair[0] == pair[1]).sum())
        theirs: dict[str, Any] = {"iou": jaccard_score, "dice": f1_score, "precision": precision_score}
        for name, score in (theirs | {"recall": recall_score}).items():
            found_here = metrics.ratio(*getattr(metrics, name)(seen.counts.astype(float)))
            np.testing.assert_allclose(found_here, score(*pair, average=None), rtol=1e-12)

    def test_overlapping_classes_are_scikit_learns(self) -> None:
        found, label = drawn(several=True)
        seen = tally(found, label, K)
        for k in range(K):
            known = label[k] >= 0
            expected = jaccard_score(label[k][known], found[k][known])
            assert metrics.ratio(*metrics.iou(seen.counts.astype(float)))[k] == pytest.approx(expected)
        assert seen.right == ((found == label) & (label >= 0)).sum()
        assert seen.distances[:, 1].sum() == seen.known == (label >= 0).sum()

    def test_what_is_ignored_changes_nothing(self) -> None:
        found, label = drawn()
        other = np.where(label < 0, (found + 1) % K, found)
        first, second = tally(found, label, K), tally(other, label, K)
        for name in ("counts", "confusion", "boundary", "distances"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))

    def test_distances_hold_every_labelled_pixel_and_every_error(self) -> None:
        found, label = drawn()
        seen = tally(found, label, K)
        assert seen.distances.sum(0).tolist() == [seen.known - seen.right, seen.known]


class TestMeans:
    def test_with_a_class_in_one_picture_alone_have_no_interval(self) -> None:
        sums = np.zeros((10, 2, 3))
        sums[:, 0] = [[both, 10, 11] for both in range(1, 11)]
        sums[0, 1] = [5, 10, 8]
        alone = Bootstrap(sums).mean(metrics.iou)
        assert math.isnan(alone.low)
        assert alone.n == 10
        sums[1:4, 1] = [2, 10, 8]
        assert Bootstrap(sums).mean(metrics.iou).low < alone.value

    def test_are_of_the_same_classes_in_every_draw(self) -> None:
        """A class of 0 in two pictures and one of 1 in all: without the first, a draw's mean would be 1."""
        sums = np.zeros((6, 2, 3))
        sums[:, 0] = 10
        sums[:2, 1] = [0, 5, 5]
        found = Bootstrap(sums).mean(metrics.iou)
        assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)

    def test_leave_out_classes_that_are_nowhere(self) -> None:
        counts = np.array([[5, 8, 7], [0, 0, 0], [0, 3, 0.0]])
        values = metrics.ratio(*metrics.iou(counts))
        assert values[0] == 0.5
        assert math.isnan(values[1])
        assert values[2] == 0
        assert metrics.mean_known(values) == 0.25

    def test_nothing_at_all_is_one(self) -> None:
        assert metrics.mean_known(np.array([math.nan, math.nan])) == 1

    def test_agree_with_the_tasks_own(self) -> None:
        import torch

        from netwright.tasks.segmentation import Segmentation

        found, label = drawn()
        logits = torch.nn.functional.one_hot(torch.from_numpy(found), K).movedim(2, 0)[None].float()
        task = Segmentation(K)
        counts = tally(found, label, K).counts[task.counted].astype(float)
        for name in ("iou", "dice"):
            expected = task.metrics(logits, torch.from_numpy(label)[None])[name].item()
            assert metrics.mean_known(metrics.ratio(*getattr(metrics, name)(counts))) == pytest.approx(expected)


class TestOutline:
    def test_is_the_inner_edge(self) -> None:
        region = square(4, 5, 6)
        cross = ndimage.generate_binary_structure(2, 1)
        assert np.array_equal(outline(region, everywhere(region)), region & ~ndimage.binary_erosion(region, cross))

    def test_the_pictures_border_is_none(self) -> None:
        region = square(0, 0, 4)
        edge = outline(region, everywhere(region))
        assert edge.sum() == 7
        assert not edge[:3, :3].any()

    def test_what_is_ignored_is_none(self) -> None:
        region = square(4, 4, 8)
        known = everywhere(region)
        known[:, 12:] = False  # to the right of it
        edge = outline(region, known)
        assert not edge[5:11, 11].any()
        assert edge[4, 4:12].all()


class TestBoundaryF1:
    @pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (3, 22 / 44)])
    def test_tolerance_forgives_a_pixel(self, shift: int, expected: float) -> None:
        truth, found = square(8, 8, 12), square(8, 8 + shift, 12)
        # Shifted by 3, ten pixels of each of two sides are near the other's, and one of each end of a third.
        assert boundary_f1(found, truth, everywhere(truth)) == pytest.approx(expected)

    def test_equals_distances_computed_one_by_one(self) -> None:
        draw = np.random.default_rng(4)
        truth = ndimage.gaussian_filter(draw.normal(size=(40, 50)), 3) > 0
        found = ndimage.gaussian_filter(draw.normal(size=(40, 50)), 3) > 0
        known = draw.random((40, 50)) < 0.9
        near = tolerance(40, 50)
        mine, theirs = (np.argwhere(outline(region, known)) for region in (found, truth))
        gaps = np.hypot(*(mine[:, None] - theirs[None]).transpose(2, 0, 1))
        precision, recall = (gaps.min(1) <= near).mean(), (gaps.min(0) <= near).mean()
        value = boundary_f1(found, truth, known)
        assert value == pytest.approx(2 * precision * recall / (precision + recall))
        assert 0.1 < value < 0.9

    def test_precision_and_recall_differ(self) -> None:
        truth = square(4, 4, 8)
        found = truth | square(20, 20, 8)
        assert boundary_f1(found, truth, everywhere(truth)) == pytest.approx(2 * 0.5 / 1.5)
        assert boundary_f1(truth, found, everywhere(truth)) == pytest.approx(2 * 0.5 / 1.5)

    def test_empty_ones(self) -> None:
        nothing, region = np.zeros((32, 32), bool), square(4, 4, 8)
        assert math.isnan(boundary_f1(nothing, nothing, everywhere(nothing)))
        assert math.isnan(boundary_f1(~nothing, ~nothing, everywhere(nothing)))
        assert boundary_f1(region, nothing, everywhere(nothing)) == 0
        assert boundary_f1(nothing, region, everywhere(nothing)) == 0

    @pytest.mark.parametrize(("size", "expected"), [((10, 10), 1.0), ((300, 400), 3.75)])
    def test_tolerance_is_a_part_of_the_diagonal(self, size: tuple[int, int], expected: float) -> None:
        assert tolerance(*size) == pytest.approx(expected)


class TestErrorsByDistance:
    def test_a_straight_outline(self) -> None:
        label = np.zeros((6, 64), np.int64)
        label[:, 32:] = 1
        wrong = np.zeros(label.shape, bool)
        wrong[0, 32], wrong[0, 29], wrong[0, 0] = True, True, True  # half a pixel, 2.5 and 31.5 away
        found = errors_by_distance(wrong, label)
        columns = np.abs(np.arange(64) - 31.5)
        bins = np.digitize(columns, [1, 2, 4, 8, 16])
        assert found[:, 1].tolist() == (6 * np.bincount(bins)).tolist()
        assert found[:, 0].tolist() == [1, 0, 1, 0, 0, 1]

    def test_a_dot(self) -> None:
        label = np.zeros((25, 25), np.int64)
        label[12, 12] = 1
        y, x = np.mgrid[:25, :25]
        beside = [(12, 12), (11, 12), (13, 12), (12, 11), (12, 13)]
        away = np.min([np.hypot(y - row, x - column) for row, column in beside], axis=0) + 0.5
        expected = np.bincount(np.digitize(away.ravel(), [1, 2, 4, 8, 16]), minlength=6)
        found = errors_by_distance(label == 1, label)
        assert found[:, 1].tolist() == expected.tolist()
        assert found[:, 0].tolist() == [1, 0, 0, 0, 0, 0]

    def test_without_an_outline_all_is_far(self) -> None:
        label = np.ones((5, 5), np.int64)
        label[:2] = -1
        found = errors_by_distance(label < 0, label)
        assert found[:, 1].tolist() == [0, 0, 0, 0, 0, 15]
        assert found[:, 0].sum() == 0


class TestBootstrap:
    def sums(self, n: int = 30, *, seed: int = 0) -> NDArray[np.float64]:
        draw = np.random.default_rng(seed)
        there = draw.lognormal(7, 0.5, n)
        found = there * draw.lognormal(0, 0.1, n)
        return np.stack([draw.beta(16, 2, n) * np.minimum(there, found), found, there], 1)

    def test_value_is_the_ratio_of_sums(self) -> None:
        sums = self.sums()
        found = bootstrap_ratio(sums[:, 0], sums[:, 2])
        assert found.value == pytest.approx(sums[:, 0].sum() / sums[:, 2].sum())
        assert found.low < found.value < found.high
        assert found.n == 30

    def test_of_equal_wholes_it_is_a_mean(self) -> None:
        from scipy.stats import bootstrap

        values = np.random.default_rng(2).random(60)
        found = bootstrap_ratio(values, np.ones(60), resamples=20_000)
        tail = expanded(0.025, 60)
        theirs = bootstrap((values,), np.mean, n_resamples=20_000, confidence_level=1 - 2 * tail, method="percentile",
                           rng=np.random.default_rng(5)).confidence_interval  # fmt: skip
        # The ends of 20,000 draws: a quantile's deviation is √(q (1 − q) / R) / density, here a fiftieth of the width.
        width = found.high - found.low
        assert found.low == pytest.approx(theirs.low, abs=width / 20)
        assert found.high == pytest.approx(theirs.high, abs=width / 20)

    def test_the_tail_is_students(self) -> None:
        from scipy import stats

        for n in (2, 10, 1000):
            expected = stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(0.025, n - 1))
            assert expanded(0.025, n) == pytest.approx(expected, rel=1e-9)
        assert expanded(0.025, 100_000) == pytest.approx(0.025, rel=1e-3)

    def test_holds_the_truth_as_often_as_it_says(self) -> None:
        # E of both / union for the population: by its means. 200 intervals; 0.95 ± 4 deviations is above 0.885.
        draws = self.sums(400_000, seed=9).sum(0)
        truth = draws[0] / (draws[1] + draws[2] - draws[0])
        held = 0
        for seed in range(200):
            found = Bootstrap(self.sums(30, seed=seed)[:, None], seed=seed, resamples=500).each(metrics.iou)[0]
            held += found.low <= truth <= found.high
        assert 178 <= held <= 199

    def test_the_same_seed_gives_the_same_interval(self) -> None:
        sums = self.sums()[:, None]
        assert Bootstrap(sums, seed=3).each(metrics.dice) == Bootstrap(sums, seed=3).each(metrics.dice)
        assert Bootstrap(sums, seed=3).each(metrics.dice) != Bootstrap(sums, seed=4).each(metrics.dice)

    def test_means_are_over_classes_that_are_there(self) -> None:
        sums = np.stack([self.sums(seed=1), np.zeros((30, 3)), self.sums(seed=2)], 1)
        pooled = Bootstrap(sums)
        first, none, last = pooled.each(metrics.iou)
        assert math.isnan(none.value)
        assert none.to_json()["value"] is None
        assert none.n == 0
        mean = pooled.mean(metrics.iou)
        assert mean.value == pytest.approx((first.value + last.value) / 2)
        assert mean.low < mean.value < mean.high

    def test_a_class_in_one_picture_has_no_interval(self) -> None:
        sums = np.zeros((5, 1, 3))
        sums[2] = [3, 5, 4]
        (found,) = Bootstrap(sums).each(metrics.iou)
        assert (found.value, found.n) == (0.5, 1)
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_pictures(self, n: int) -> None:
        pooled = Bootstrap(np.ones((n, 2, 3)))
        assert [each.n for each in pooled.each(metrics.recall)] == [n, n]
        assert pooled.mean(metrics.recall).value == 1
        assert math.isnan(pooled.mean(metrics.recall).low)

    def test_outlines_are_means_of_pictures_that_have_one(self) -> None:
        region, nothing = square(8, 8, 12).astype(np.int64), np.zeros((32, 32), np.int64)
        far = square(2, 22, 6).astype(np.int64)
        tallies = [tally(region, region, 2), tally(nothing, nothing, 2), tally(far, region, 2)]
        values = [each.value for each in Bootstrap(boundary_sums(tallies)).each(metrics.share)]
        assert values == [0.5, 0.5]


class TestOtsu:
    def brute(self, grey: NDArray[np.uint8]) -> list[int]:
        """All best levels, from the definition: the least variance within."""
        within: list[float] = []
        for level in range(256):
            parts = [grey[grey <= level], grey[grey > level]]
            within.append(sum(part.var() * part.size for part in parts if part.size) if all(map(len, parts)) else 1e18)
        return np.flatnonzero(np.isclose(within, min(within), rtol=1e-9)).tolist()

    @pytest.mark.parametrize("seed", range(4))
    def test_is_the_least_variance_within(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        grey = np.concatenate([draw.normal(60, 15, 900), draw.normal(170, 25, 300)]).clip(0, 255).astype(np.uint8)
        assert otsu(grey) in self.brute(grey)

    def test_of_two_levels_it_lies_between(self) -> None:
        assert 10 <= otsu(np.array([[10, 10, 200]], np.uint8)) < 200

    @pytest.mark.parametrize("level", [0, 77, 255])
    def test_of_one_level_nothing_is_above(self, level: int) -> None:
        assert not (np.full((3, 3), level, np.uint8) > otsu(np.full((3, 3), level, np.uint8))).any()

    def test_grey_is_pillows(self) -> None:
        from PIL import Image

        picture = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        theirs = np.asarray(Image.fromarray(picture).convert("L")).astype(int)
        assert np.abs(luma(picture).astype(int) - theirs).max() <= 1  # theirs is in integers
        assert np.array_equal(luma(picture[..., :1]), picture[..., 0])
