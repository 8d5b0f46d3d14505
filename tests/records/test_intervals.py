"""Intervals against scipy's, and where they are exact."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from netwright.records.intervals import Interval, bootstrap_mean, of_values, resample, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 7), (7, 7), (1, 1), (111, 113), (50, 100), (9_999, 10_000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    got = wilson(successes, n, confidence)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert got.low <= got.value == successes / n <= got.high


def test_no_trials_tell_nothing() -> None:
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson(successes, n)


@pytest.mark.parametrize("n", [12, 60, 400])
def test_bootstrap_is_scipys_bca_on_skewed_values(n: int) -> None:
    values = np.random.default_rng(n).exponential(size=n)
    expected = bootstrap((values,), np.mean, n_resamples=2000, method="BCa", rng=7).confidence_interval
    got = bootstrap_mean(values, seed=7)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    # The skew must show: the upper side of this mean's interval is the longer one.
    assert got.high - got.value > 1.02 * (got.value - got.low)


def test_bootstrap_of_many_values_is_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5, 2, 20_000)
    reach = NormalDist().inv_cdf(0.975) * values.std() / math.sqrt(values.size)
    got = bootstrap_mean(values, resamples=1000)
    assert (got.low, got.high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.1 * reach)


def test_bootstrap_covers_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    intervals = [bootstrap_mean(generator.exponential(size=50), resamples=400, seed=i) for i in range(400)]
    covered = sum(interval.low <= 1 <= interval.high for interval in intervals)
    assert 0.90 < covered / 400 < 0.98


def test_same_seed_same_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=100)
    whole = bootstrap_mean(values, seed=4)
    monkeypatch.setattr("netwright.records.intervals.CHUNK", 1_000)
    assert bootstrap_mean(values, seed=4) == whole
    assert bootstrap_mean(values, seed=5) != whole


@pytest.mark.parametrize(("values", "mean"), [([], math.nan), ([2.0], 2.0), ([1.0, math.nan], math.nan)])
def test_too_little_to_resample(values: list[float], mean: float) -> None:
    got = bootstrap_mean(values)
    assert got.value == pytest.approx(mean, nan_ok=True)
    assert math.isnan(got.low)
    assert math.isnan(got.high)


def test_constant_values_have_no_width() -> None:
    got = bootstrap_mean([0.5] * 9)
    assert (got.low, got.value, got.high) == (0.5, 0.5, 0.5)


def test_resample_draws_rows_of_n_indices() -> None:
    drawn: list[tuple[int, ...]] = []

    def largest(rows: np.ndarray) -> np.ndarray:
        drawn.append(rows.shape)
        return rows.max(axis=1).astype(float)

    assert (resample(largest, 10, resamples=50) < 10).all()
    assert drawn == [(50, 10)]


def test_values_of_0_and_1_are_proportions() -> None:
    assert of_values([1, 0, 1, 1]) == wilson(3, 4)
    assert of_values([0.5, 1, 0]) == bootstrap_mean([0.5, 1, 0])
    assert of_values([]).n == 0


def test_percent_and_text() -> None:
    interval = Interval(0.9834, 0.9642, 0.9921, 300, "wilson")
    assert interval.percent() == "98.3 % [96.4, 99.2]"
    assert interval.percent(2) == "98.34 % [96.42, 99.21]"
    assert str(interval) == "98.3 % [96.4, 99.2]"
    assert str(Interval(0.12345, 0.1, 0.2, 3, "bca")) == "0.1235 [0.1, 0.2]"


def test_json_round_trip_writes_unknown_as_null() -> None:
    interval = wilson(3, 4)
    assert Interval.from_json(interval.to_json()) == interval
    unknown = bootstrap_mean([1.0]).to_json()
    assert unknown == {"value": 1.0, "low": None, "high": None, "n": 1, "method": "bca"}
    assert math.isnan(Interval.from_json(unknown).low)
