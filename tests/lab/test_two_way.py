"""Intervals over seeds and pictures: closed forms where there are some, and else how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from netwright.lab.two_way import above, below, two_way, two_way_draws
from netwright.records.intervals import wilson

ROUNDS = 300
# Three standard deviations of a share of 95 in 100, as counted in ROUNDS.
NOISE = 3 * (0.95 * 0.05 / ROUNDS) ** 0.5


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def measured(draw: np.random.Generator, seeds: int, pictures: int, by_seed: float, by_picture: float) -> np.ndarray:
    """Right or wrong, by seed and picture, whose log odds have a part of the seed and one of the picture. S N."""
    odds = 0.5 + by_seed * draw.standard_normal((seeds, 1)) + by_picture * draw.standard_normal((1, pictures))
    return (draw.random((seeds, pictures)) < logistic(odds)).astype(float)


@pytest.mark.parametrize(
    ("by_seed", "by_picture"), [(0.0, 2.0), (0.5, 0.0), (0.3, 2.0)], ids=["pictures", "seeds", "both"]
)
def test_it_holds_the_truth_as_often_as_it_says(by_seed: float, by_picture: float) -> None:
    steps = np.random.default_rng(0).standard_normal(400_000)
    truth = logistic(0.5 + np.hypot(by_seed, by_picture) * steps).mean()
    held = 0
    for number in range(ROUNDS):
        draw = np.random.default_rng((7, number))
        found = two_way_draws(measured(draw, 5, 60, by_seed, by_picture)[None], seed=number, resamples=500)
        low, high = np.quantile(found, [0.025, 0.975])
        held += low <= truth <= high
    assert held / ROUNDS >= 0.95 - NOISE


def test_differences_hold_the_truth_too() -> None:
    held = 0
    for number in range(ROUNDS):
        draw = np.random.default_rng((8, number))
        odds = 2 * draw.standard_normal((1, 60)) + 0.3 * draw.standard_normal((5, 1))  # shared: they cancel
        one, other = (draw.random((2, 5, 60)) < logistic(odds)).astype(float)
        low, high = np.quantile(two_way_draws((one - other)[None], seed=number, resamples=500), [0.025, 0.975])
        held += low <= 0 <= high
    assert held / ROUNDS >= 0.95 - NOISE


def test_where_seeds_are_everything_it_is_students_interval() -> None:
    """Every picture alike: the mean square of the remainder is 0, and so is that between pictures."""
    means = np.array([0.50, 0.55, 0.61, 0.58, 0.66])
    values = np.repeat(means[:, None], 40, 1)
    draws = two_way_draws(values[None], resamples=200_000)[:, 0]
    expected = stats.t(4, loc=means.mean(), scale=means.std(ddof=1) / 5**0.5)
    for share in (0.025, 0.25, 0.75, 0.975):
        # The standard error of a quantile of n draws: √(p (1 − p) / n) over the density there.
        place = expected.ppf(share)
        error = (share * (1 - share) / 200_000) ** 0.5 / expected.pdf(place)
        assert abs(np.quantile(draws, share) - place) < 4 * error


def test_where_seeds_agree_on_every_picture_only_pictures_count() -> None:
    right = (np.random.default_rng(0).random(400) < 0.7).astype(float)
    found, one = two_way(np.tile(right, (5, 1))), two_way(right[None])
    assert one == wilson(int(right.sum()), 400)
    assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=0.006)  # drawn here, Wilson's there
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 400) ** 0.5, rel=0.1)


def test_where_all_is_noise_it_is_counted_once() -> None:
    """Owen's plain bootstrap would have three times the variance of independent values."""
    variances = []
    for number in range(40):
        values = np.random.default_rng(number).standard_normal((1, 20, 200))
        variances.append(two_way_draws(values, resamples=1000).var())
    # Student's t with 19 degrees of freedom adds 2 / 17; parts that cannot be below 0 add some more.
    assert 0.8 < np.mean(variances) * 20 * 200 < 1.6


def test_it_is_never_narrower_than_what_single_pictures_leave() -> None:
    # Two seeds that are right half the time each, on the other's mistakes: their means are equal, and know nothing.
    right = np.arange(40) % 2
    found = two_way(np.stack([right, 1 - right]).astype(float))
    assert found.low < 0.45 and found.high > 0.55


def test_measurements_share_what_is_drawn() -> None:
    values = measured(np.random.default_rng(0), 5, 100, 0.5, 1)
    draws = two_way_draws(np.stack([values, values]))
    assert np.corrcoef(draws.T)[0, 1] > 0.9
    assert np.array_equal(draws, two_way_draws(np.stack([values, values])))


def test_where_nothing_varies_it_is_wilsons() -> None:
    assert two_way(np.ones((3, 50))) == wilson(50, 50)
    assert two_way(np.zeros((3, 50))) == wilson(0, 50)


def halves_of(draw: np.random.Generator, of_class: int = 20) -> np.ndarray:
    """Two networks, right or wrong about random halves of ten classes, of which any two share some. 2 S N."""
    labels = np.repeat(np.arange(10), of_class)
    hard = 1.5 * draw.standard_normal(10 * of_class)  # of pictures, in every seed alike
    found = np.full((2, 4, 10 * of_class), np.nan)
    for seed in range(4):
        seen = np.isin(labels, draw.permutation(10)[:5])
        for one in found:
            one[seed, seen] = draw.random(seen.sum()) < logistic(0.5 + hard[seen] + 0.3 * draw.standard_normal())
    return found


def test_pictures_that_some_seeds_share_are_counted_as_often_as_they_were_drawn() -> None:
    steps = np.random.default_rng(0).standard_normal(400_000)
    truth = logistic(0.5 + np.hypot(1.5, 0.3) * steps).mean()
    held, differed = 0, 0
    for number in range(ROUNDS):
        draw = np.random.default_rng((9, number))
        one, other = halves_of(draw)
        found = [two_way_draws(each[None], seed=number, resamples=400)[:, 0] for each in (one, one - other)]
        low, high = np.quantile(found, [0.025, 0.975], axis=1)
        held += low[0] <= truth <= high[0]
        differed += low[1] <= 0 <= high[1]
    assert held / ROUNDS >= 0.95 - NOISE
    assert differed / ROUNDS >= 0.95 - NOISE


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_orders_over_the_same_pictures_hold_the_truth(seeds: int) -> None:
    """As in `continual`: where pictures were drawn afresh for every seed, as few as 77 in 100 held it."""
    steps = np.random.default_rng(0).standard_normal(400_000)
    truth = logistic(0.5 + np.hypot(0.1, 3) * steps).mean()
    held = 0
    for number in range(ROUNDS):
        draw = np.random.default_rng((10, number))
        found = two_way_draws(measured(draw, seeds, 200, 0.1, 3)[None], seed=number, resamples=500)
        low, high = np.quantile(found, [0.025, 0.975])
        held += low <= truth <= high
    assert held / ROUNDS >= 0.95 - NOISE


def test_equal_seeds_leave_the_pictures_spread() -> None:
    found = two_way(np.tile(np.arange(200) % 2, (4, 1)).astype(float))
    assert (found.low, found.high) == pytest.approx((0.43, 0.57), abs=0.006)
    assert found.n == 200


def test_what_no_seed_shares_is_known_from_each() -> None:
    """Two seeds with pictures of their own: the variance of the mean is that of their means, halved, and no more."""
    values = np.full((2, 80), np.nan)
    values[0, :40], values[1, 40:] = np.arange(40) % 2, np.arange(40) % 4 < 3
    draws = two_way_draws(values[None], resamples=200_000)[:, 0]
    expected = stats.t(1, loc=0.625, scale=0.125)  # means 0.5 and 0.75
    for share in (0.25, 0.75):
        error = (share * (1 - share) / 200_000) ** 0.5 / expected.pdf(expected.ppf(share))
        assert abs(np.quantile(draws, share) - expected.ppf(share)) < 4 * error


def test_seeds_without_a_picture_are_not_a_number() -> None:
    assert math.isnan(two_way(np.array([[1.0, 0.0], [np.nan, np.nan]])).value)
    assert math.isnan(two_way(np.zeros((2, 0))).value)


@pytest.mark.parametrize("seeds", [1, 3])
def test_one_picture_that_differs_resolves_nothing(seeds: int) -> None:
    values = np.zeros((seeds, 200))
    values[:, 7] = 1
    found = two_way(values, difference=True)
    assert found.value == 0.005 and found.low < 0 < 0.01 < found.high
    assert not above(found) and not below(two_way(-values, difference=True))


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("differing", [*range(1, 11), 14, 19])
def test_a_fair_coin_is_resolved_in_five_of_a_hundred_at_most(seeds: int, size: int, differing: int) -> None:
    """By the exact binomial: of so many pictures that differ, how many one side may win without being ahead.

    Pictures of a small group count for several in the forgetting, where groups count alike.
    """
    share = 0.0
    for wins in range(differing + 1):
        values = np.zeros(300)
        values[:differing] = -size
        values[:wins] = size
        found = two_way(np.tile(values, (seeds, 1)), difference=True)
        share += stats.binom(differing, 0.5).pmf(wins) * (above(found) or below(found))
    assert share <= 0.05
    assert share > 0 or differing < 6, "six of six are enough"


@pytest.mark.parametrize("shape", [(1, 200), (4, 200)])
def test_differences_that_are_all_zero_may_be_below_it(shape: tuple[int, int]) -> None:
    found = two_way(np.zeros(shape), difference=True)
    # Of 202 pictures each side wins one: as many as a Poisson of mean 1 each, 3 of one more in 40 or so.
    assert found.value == 0 and -0.02 < found.low < -0.005 and 0.005 < found.high < 0.02
    assert two_way(np.abs(np.eye(1, 200)), difference=True).low < 0


def test_one_seeds_differences_hold_the_truth() -> None:
    held = 0
    for number in range(ROUNDS):
        values = np.random.default_rng((11, number)).choice([-1.0, 0.0, 1.0], size=(1, 150), p=[0.03, 0.89, 0.08])
        found = two_way(values, difference=True, seed=number)
        held += found.low <= 0.05 <= found.high
    assert held / ROUNDS >= 0.95 - NOISE


def test_the_sign_of_a_difference_is_told() -> None:
    better = np.tile(np.arange(90) % 3 > 0, (3, 1)) * 1.0
    assert above(two_way(better, difference=True)) and not below(two_way(better, difference=True))
    assert below(two_way(-better, difference=True)) and not above(two_way(-better, difference=True))


def test_bounds_stay_where_values_can_be() -> None:
    wide = np.array([[1.0] * 10, [0.0] * 5 + [1.0] * 5])
    assert 0 <= two_way(wide).low <= two_way(wide).high <= 1
    assert -1 <= two_way(wide - 1).low <= two_way(wide - 1).high <= 1
