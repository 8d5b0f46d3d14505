"""Crossing points: lines with a known one, ends that are open, and how often the interval holds the truth."""

import math

import numpy as np
import pytest

from netwright.lab.crossing import Crossing, crossing, last_crossing

SIZES = (5, 10, 20, 50, 100)
WHERE = np.log(SIZES)
ROUNDS = 200


def line(at: float, slope: float = 0.1) -> np.ndarray:
    """A difference that grows with the logarithm of the size, and is 0 at one. K."""
    return slope * (WHERE - math.log(at))


def exact(curve: np.ndarray) -> np.ndarray:
    """The same difference with every seed on every picture. K -> K S N."""
    return np.tile(curve[:, None, None], (1, 3, 4))


@pytest.mark.parametrize("at", [5.5, 10, 17, 49, 90])
def test_a_line_crosses_where_it_is_zero(at: float) -> None:
    found = crossing(SIZES, exact(line(at)))
    assert found.value == pytest.approx(at)
    assert (found.low, found.high) == pytest.approx((at, at))
    assert found.kind == "crossing"


def test_between_sizes_it_is_a_line_over_the_logarithm() -> None:
    curve = np.array([-0.2, -0.1, 0.3, 0.4, 0.5])  # a quarter of the way from 10 to 20, in logarithms
    assert crossing(SIZES, exact(curve)).value == pytest.approx(10 * 2**0.25)


def test_the_last_crossing_counts() -> None:
    curve = np.array([0.2, -0.1, 0.1, -0.1, 0.1])
    assert crossing(SIZES, exact(curve)).value == pytest.approx((50 * 100) ** 0.5)


def test_no_crossing_is_said_with_its_side() -> None:
    ahead, behind = crossing(SIZES, exact(line(2))), crossing(SIZES, exact(line(1000)))
    assert (ahead.kind, ahead.value) == ("ahead", -math.inf)
    assert (behind.kind, behind.value) == ("behind", math.inf)
    assert crossing(SIZES, exact(np.zeros(5))).kind == "behind", "equal is not overtaken"


def test_one_size_is_ahead_or_behind() -> None:
    assert last_crossing(WHERE[:1], np.array([[0.1], [-0.1]])).tolist() == [-math.inf, math.inf]


def simulated(draw: np.random.Generator, at: float, slope: float = 0.12) -> np.ndarray:
    """Two ways whose accuracy is 0.5 ± half the line, with a part of seeds and of pictures that both share. K S N."""
    seeds, pictures = 0.05 * draw.standard_normal((1, 5, 1)), 0.15 * draw.standard_normal((1, 1, 100))
    half = (line(at, slope) / 2)[:, None, None]
    own = 0.03 * draw.standard_normal((2, 1, 5, 1))  # what a seed gives one of the ways
    hit = [draw.random((5, 5, 100)) < 0.5 + sign * half + seeds + pictures + own[i] for i, sign in enumerate((1, -1))]
    return hit[0].astype(float) - hit[1].astype(float)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held, width = 0, []
    for number in range(ROUNDS):
        found = crossing(SIZES, simulated(np.random.default_rng((3, number)), 17), seed=number, resamples=400)
        held += found.low <= 17 <= found.high
        width.append(found.kind == "crossing" and math.isfinite(found.low + found.high))
    assert held / ROUNDS >= 0.95 - 3 * (0.95 * 0.05 / ROUNDS) ** 0.5
    assert np.mean(width) > 0.3, "an interval that is always open would hold everything"


def test_noise_is_not_resolved() -> None:
    draw = np.random.default_rng(0)
    values = (draw.random((5, 5, 40)) < 0.5) * 1.0 - (draw.random((5, 5, 40)) < 0.5)
    values -= values.mean((1, 2), keepdims=True)
    found = crossing(SIZES, values + exact(line(20, 1e-4)).mean((1, 2), keepdims=True))
    assert found.kind == "open"
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_infinity_is_a_word_in_json() -> None:
    found = Crossing(17.0, -math.inf, math.inf, 5, 100).to_json()
    assert found == {"kind": "open", "value": 17.0, "low": "before", "high": "beyond", "smallest": 5, "largest": 100}
