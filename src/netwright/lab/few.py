"""Intervals of means over few queries, or over queries that all say the same, which the bootstrap cannot tell."""

import math

import numpy as np
from numpy.typing import NDArray

from netwright.records.intervals import Interval, bootstrap_mean, of_values, wilson

FEWEST = 10  # values whose resampled means say anything of another sample's


def share_mean(values: NDArray[np.float64]) -> Interval:
    """The mean of shares, each from 0 to 1: Wilson's interval if all are 0 or 1. N."""
    return of_values(values) if np.isin(values, (0, 1)).all() else bounded_mean(values, 0.0)


def bounded_mean(values: NDArray[np.float64], low: float) -> Interval:
    """The mean of values from `low` to 1, and its bootstrap interval.

    Fewer than 10 have no interval: two equal ones would be resampled to an interval of no width. Where more are all
    equal, the interval holds the means that remain if others than this value came as often as Wilson's bound (1927)
    allows for something that was seen in none of N.

    Args:
        values: N.
        low: the least that a value can be, as -1 for differences of shares.
    """
    if len(values) < FEWEST:
        return Interval(float(values.mean()) if len(values) else math.nan, math.nan, math.nan, len(values), "none")
    if np.ptp(values) > 0:
        return bootstrap_mean(values)
    value, other = float(values[0]), wilson(0, len(values)).high
    return Interval(value, value - other * (value - low), value + other * (1 - value), len(values), "wilson")
