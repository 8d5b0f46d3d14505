"""Thresholds, p-values and AUROC against definitions, scikit-learn and simulation."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import beta, norm
from sklearn.metrics import average_precision_score, roc_auc_score

from netwright.core.errors import NetwrightError
from netwright.lab._anomaly_numbers import (
    FEWEST,
    average_precision,
    difference_interval,
    mean_interval,
    p_values,
    precision_interval,
    separation,
    threshold_for,
)


def tied(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which many tie, and which pictures are others."""
    draw = np.random.default_rng(seed)
    other = draw.random(n) < 0.3
    return draw.integers(0, 12, n) + 2.0 * other, other


class TestThreshold:
    @pytest.mark.parametrize("n", [19, 20, 38, 99, 100, 1999])
    @pytest.mark.parametrize("wanted", [0.05, 0.1, 0.3])
    def test_the_rank_is_the_least_that_keeps_the_rate(self, n: int, wanted: float) -> None:
        found = threshold_for(np.arange(float(n)), wanted)
        rates = [Fraction(n + 1 - rank, n + 1) for rank in range(1, n + 1)]
        least = next(rank for rank, rate in enumerate(rates, 1) if rate <= Fraction(str(wanted)))
        assert found.rank == least and found.value == least - 1

    def test_the_rate_of_false_alarms_is_distributed_as_it_says(self) -> None:
        draw, n = np.random.default_rng(0), 59
        thresholds = [threshold_for(scores, 0.1) for scores in draw.normal(size=(4000, n))]
        rates = norm.sf([each.value for each in thresholds])
        said = thresholds[0].false_alarms
        assert rates.mean() == pytest.approx(said.value, abs=4 * rates.std() / 4000**0.5)
        inside = ((rates >= said.low) & (rates <= said.high)).mean()
        assert inside == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 4000) ** 0.5)
        rank = thresholds[0].rank
        assert said.high == pytest.approx(beta.ppf(0.975, n + 1 - rank, rank))

    def test_p_is_at_most_the_rate_exactly_where_a_picture_is_flagged(self) -> None:
        draw = np.random.default_rng(1)
        for wanted in (0.02, 0.05, 0.2):
            normal, scores = draw.integers(0, 30, 99).astype(float), draw.integers(0, 40, 500).astype(float)
            found = threshold_for(normal, wanted)
            flagged = scores > found.value
            assert flagged.any() and not flagged.all()
            np.testing.assert_array_equal(flagged, p_values(scores, normal) <= wanted)

    def test_p_is_its_definition(self) -> None:
        scores, normal = np.array([0.0, 1.0, 1.5, 9.0]), np.array([1.0, 1.0, 2.0])
        np.testing.assert_allclose(p_values(scores, normal), [4 / 4, 4 / 4, 2 / 4, 1 / 4])

    def test_too_few_pictures_are_told_how_many_would_do(self) -> None:
        with pytest.raises(NetwrightError, match="18 normal pictures cannot give") as error:
            threshold_for(np.arange(18.0), 0.05)
        assert "19 or more" in error.value.fix and "--false-alarms 0.053" in error.value.fix
        assert threshold_for(np.arange(18.0), 0.053).rank == 18

    @pytest.mark.parametrize("wanted", [0.0, 1.0, -0.1, 5.0, float("nan")])
    def test_a_rate_is_a_share(self, wanted: float) -> None:
        with pytest.raises(NetwrightError, match="false alarms cannot be"):
            threshold_for(np.arange(100.0), wanted)

    def test_scores_that_are_no_numbers_are_told(self) -> None:
        with pytest.raises(NetwrightError, match="1 of 3 scores of normal pictures"):
            threshold_for(np.array([1.0, np.nan, 2.0]), 0.5)


class TestSeparation:
    @pytest.mark.parametrize("seed", range(5))
    def test_auroc_with_ties_is_that_of_scikit_learn(self, seed: int) -> None:
        scores, other = tied(seed)
        assert separation(scores, other).auroc == pytest.approx(roc_auc_score(other, scores), abs=1e-12)

    def test_the_error_is_delongs_as_its_definition_says(self) -> None:
        scores, other = tied(7)
        odd, sane = scores[other], scores[~other]
        wins = (odd[:, None] > sane) + 0.5 * (odd[:, None] == sane)
        of_odd, of_sane = wins.mean(1), wins.mean(0)
        expected = of_odd.var(ddof=1) / len(odd) + of_sane.var(ddof=1) / len(sane)
        assert (separation(scores, other).influence ** 2).sum() == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize(("others", "normal", "auroc", "spread"), [(10, 500, 0.98, 2.0), (20, 100, 0.9, 2.0)])
    def test_intervals_hold_where_either_alone_is_too_narrow(
        self, others: int, normal: int, auroc: float, spread: float
    ) -> None:
        draw, times = np.random.default_rng(0), 300
        away = norm.ppf(auroc) * (1 + spread**2) ** 0.5
        other = np.arange(others + normal) < others
        held = 0
        for _ in range(times):
            scores = np.where(other, draw.normal(away, spread, len(other)), draw.normal(size=len(other)))
            found = separation(scores, other).interval
            held += found.low <= auroc <= found.high
        assert held / times > 0.95 - 4 * (0.95 * 0.05 / times) ** 0.5

    def test_perfect_separation_is_not_certain(self) -> None:
        found = separation(np.arange(20.0), np.arange(20) >= 10).interval
        assert found.value == found.high == 1.0 and 0.6 < found.low < 0.9
        turned = separation(-np.arange(20.0), np.arange(20) >= 10).interval
        assert turned.low == 0.0 and turned.high == pytest.approx(1 - found.low)

    def test_one_kind_cannot_be_told_apart(self) -> None:
        with pytest.raises(NetwrightError, match="there is one kind"):
            separation(np.arange(3.0), np.zeros(3, bool))

    def test_a_paired_difference_is_that_of_the_covariance(self) -> None:
        draw = np.random.default_rng(3)
        other = draw.random(400) < 0.4
        both = draw.normal(size=400) + other
        one, two = (separation(both + 0.3 * draw.normal(size=400), other) for _ in range(2))
        paired = mean_interval(np.array([[one.auroc - two.auroc]]), (one.influence - two.influence)[None, None])
        apart = 1.96 * (sum((each.influence**2).sum() for each in (one, two))) ** 0.5
        assert 0 < paired.high - paired.value < apart / 2, "what both share does not count"
        same = mean_interval(np.zeros((1, 1)), (one.influence - one.influence)[None, None])
        assert (same.low, same.high) == (0.0, 0.0)

    @pytest.mark.parametrize("others", [1, FEWEST - 1, FEWEST, 20])
    def test_a_difference_that_is_none_is_in_the_interval(self, others: int) -> None:
        """Of fewer than FEWEST pictures the variance is next to nothing: no interval rather than one too narrow."""
        draw, times = np.random.default_rng(0), 200
        other = np.arange(others + 60) < others
        found = []
        for _ in range(times):
            shared = draw.normal(size=len(other)) + 1.2 * other
            one, two = (separation(shared + draw.normal(size=len(other)), other) for _ in range(2))
            found.append(difference_interval([[one]], [[two]]))
        if others < FEWEST:
            assert all(np.isnan(each.low) and np.isnan(each.high) for each in found)
        else:
            held = np.mean([each.low <= 0 <= each.high for each in found])
            assert held > 0.95 - 4 * (0.95 * 0.05 / times) ** 0.5

    def test_scores_that_no_picture_tells_apart_have_no_interval(self) -> None:
        one = separation(np.arange(20.0), np.arange(20) >= 10)
        same = difference_interval([[one]], [[one]])
        assert same.value == 0 and np.isnan(same.low)

    def test_a_mean_over_classes_counts_shared_pictures_once(self) -> None:
        scores, other = tied(4, 300)
        one = separation(scores, other)
        twice = mean_interval(np.full((1, 2), one.auroc), np.stack([one.influence] * 2)[None])
        once = mean_interval(np.full((1, 1), one.auroc), one.influence[None, None])
        assert twice.high - twice.low == pytest.approx(once.high - once.low)

    def test_trainings_that_differ_widen_it(self) -> None:
        scores, other = tied(4, 300)
        one = separation(scores, other)
        influence = np.stack([one.influence] * 3)[:, None]
        alike = mean_interval(np.full((3, 1), 0.8), influence)
        apart = mean_interval(np.array([[0.7], [0.8], [0.9]]), influence)
        assert alike.value == pytest.approx(apart.value) == pytest.approx(0.8)
        once = mean_interval(np.full((1, 1), 0.8), influence[:1])
        assert alike.high - alike.low == pytest.approx(once.high - once.low, rel=1e-4), "identical ones add nothing"
        assert apart.high - apart.low > alike.high - alike.low > 0


class TestAveragePrecision:
    @pytest.mark.parametrize("seed", range(5))
    def test_with_ties_it_is_that_of_scikit_learn(self, seed: int) -> None:
        scores, other = tied(seed)
        assert average_precision(scores, other) == pytest.approx(average_precision_score(other, scores), abs=1e-12)

    def test_weights_are_pictures_seen_so_often(self) -> None:
        scores, other = tied(2, 20)
        often = np.random.default_rng(0).integers(0, 4, (3, 20))
        found = average_precision(scores, other, often.astype(float))
        expected = [average_precision_score(np.repeat(other, row), np.repeat(scores, row)) for row in often]
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_the_interval_holds_the_value_and_repeats(self) -> None:
        scores, other = tied(5, 200)
        found = precision_interval(scores, other)
        assert found.low < found.value < found.high
        assert precision_interval(scores, other) == found
        assert np.isnan(precision_interval(np.arange(20.0), np.arange(20) > 9).low), "no resample differs"
