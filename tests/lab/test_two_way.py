"""Intervals over seeds and pictures: closed forms where there are some, and else how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from netwright.lab.two_way import two_way, two_way_draws
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
    assert (found.low, found.high) == (one.low, one.high)
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


def test_bounds_stay_where_values_can_be() -> None:
    wide = np.array([[1.0] * 10, [0.0] * 5 + [1.0] * 5])
    assert 0 <= two_way(wide).low <= two_way(wide).high <= 1
    assert -1 <= two_way(wide - 1).low <= two_way(wide - 1).high <= 1
