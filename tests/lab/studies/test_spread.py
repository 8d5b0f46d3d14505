"""The interval over replicates: closed forms at its ends, and coverage where replicates are few."""

import math

import numpy as np
import pytest

from netwright.lab.studies._spread import above, below, differences, over_replicates
from netwright.records.intervals import of_values, wilson


def test_one_replicate_is_an_interval_over_its_pictures() -> None:
    values = np.array([1.0] * 30 + [0.0] * 10)
    assert over_replicates([values]) == wilson(30, 40)
    assert over_replicates([values - 0.5], least=-1) == of_values(values - 0.5)


def test_many_replicates_of_one_value_give_students_interval() -> None:
    means = np.random.default_rng(1).normal(0.5, 0.05, 200)
    found = over_replicates([np.full(7, mean) for mean in means])
    half = 1.972 * means.std(ddof=1) / math.sqrt(200)  # t with 199 degrees of freedom
    assert found.value == pytest.approx(means.mean())
    # Half the width comes from 100 draws in each tail: a standard deviation of 3 %, and 2 % for the resampled 200.
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_equal_replicates_leave_the_pictures_spread() -> None:
    one = np.array([1.0] * 80 + [0.0] * 20)
    found = over_replicates([one] * 4, resamples=40_000)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)
    assert found.n == 400


def test_few_replicates_are_covered() -> None:
    """Three replicates, most of the spread between them: without Student's factor four in five intervals would hold."""
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        shares = np.clip(draw.normal(0.6, 0.08, 3), 0, 1)
        found = over_replicates([(draw.random(1000) < share).astype(float) for share in shares], resamples=500)
        held += found.low <= 0.6 <= found.high
    assert held / 200 > 0.9  # 0.95 less 3 standard deviations of a share of 200


def test_shares_stay_in_their_range() -> None:
    ones, others = [np.ones(10), np.zeros(10)], [np.zeros(10), np.ones(10)]
    assert (over_replicates(ones).low, over_replicates(ones).high) == (0, 1)
    found = over_replicates(differences(ones, others), least=-1)
    assert (found.low, found.high) == (-1, 1)
    assert not above(found) and not below(found)


def test_the_sign_of_a_difference_is_told() -> None:
    better, worse = [np.ones(50)] * 3, [np.zeros(50)] * 3
    assert above(over_replicates(differences(better, worse), least=-1))
    assert below(over_replicates(differences(worse, better), least=-1))


def test_where_nobody_is_right_more_pictures_might_be() -> None:
    assert over_replicates([np.zeros(30), np.zeros(20)]) == wilson(0, 50)
    assert over_replicates([np.zeros(30), np.zeros(20)], least=-1).high == 0


def test_nothing_measured_is_not_a_number() -> None:
    assert math.isnan(over_replicates([np.ones(3), np.zeros(0)]).value)
