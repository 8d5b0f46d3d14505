"""Forgetting and averages on a course made by hand."""

import numpy as np
import pytest

from netwright.lab.studies._forgetting import Course, course

NAN = float("nan")
# Two classes to begin with (four pictures), then one (two pictures), then one (two).
GROUP = np.array([0, 0, 0, 0, 1, 1, 2, 2])
CORRECT = np.array(
    [
        [1, 1, 1, 0, NAN, NAN, NAN, NAN],  # 3/4
        [1, 0, 0, 0, 1, 1, NAN, NAN],  # 1/4, 1
        [1, 1, 0, 0, 0, 1, 1, 1],  # 2/4, 1/2, 1
    ]
)


def test_accuracy_by_group_and_step() -> None:
    found = Course(CORRECT, GROUP).accuracy
    np.testing.assert_array_equal(found, [[0.75, NAN, NAN], [0.25, 1, NAN], [0.5, 0.5, 1]])


def test_forgetting_is_the_best_before_minus_now() -> None:
    one = Course(CORRECT, GROUP)
    assert np.nanmean(one.lost(1, 0)) == 0.5  # 0.75 − 0.25
    assert np.nanmean(one.lost(2, 0)) == 0.25  # 0.75 − 0.5, not 0.25 − 0.5
    assert np.nanmean(one.lost(2, 1)) == 0.5
    assert np.nanmean(one.forgetting(1)) == 0.5
    assert np.nanmean(one.forgetting(2)) == pytest.approx((0.25 + 0.5) / 2)  # groups count alike, whatever their size
    assert np.isfinite(one.forgetting(2)).tolist() == [True] * 6 + [False] * 2


def test_what_a_step_makes_better_is_forgotten_less_than_nothing() -> None:
    assert Course(np.array([[0.0, 1, NAN], [1, 1, 1]]), np.array([0, 0, 1])).forgetting(1)[:2].mean() == -0.5


def test_the_average_over_steps() -> None:
    one = Course(CORRECT, GROUP)
    assert one.incremental().mean() == pytest.approx((3 / 4 + 3 / 6 + 5 / 8) / 3)
    assert np.nanmean(one.so_far(1)) == pytest.approx(3 / 6)
    np.testing.assert_array_equal(one.of_group(2, 1), [NAN, NAN, NAN, NAN, 0, 1, NAN, NAN])


def test_pictures_do_not_spread_by_how_often_they_are_counted() -> None:
    """Every group is wholly right or wholly forgotten: other pictures of them would say the same."""
    correct = np.where(np.isnan(CORRECT), NAN, [[1.0], [1.0], [1.0]])
    np.testing.assert_allclose(Course(correct, GROUP).incremental(), 1)
    forgot = correct.copy()
    forgot[2, GROUP == 0] = 0
    np.testing.assert_allclose(Course(forgot, GROUP).forgetting(2)[:6], 0.5)


def test_a_course_is_put_together_from_trials() -> None:
    labels = np.array([0, 2, 1, 3, 0, 1])
    seen = [labels[labels < end] for end in (2, 3, 4)]
    correct = [np.array([1.0, 0, 1, 1]), np.array([0.0, 1, 0, 1, 1]), np.ones(6)]
    found = course(correct, seen, [2, 3, 4])
    assert found.group.tolist() == [0, 1, 0, 2, 0, 0]
    np.testing.assert_array_equal(found.correct[0], [1, NAN, 0, NAN, 1, 1])
    np.testing.assert_array_equal(found.correct[1], [0, 1, 0, NAN, 1, 1])
