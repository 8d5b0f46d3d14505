"""How sure a mean over replicates is, each of which was measured on pictures: a hierarchical bootstrap."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netwright.records.intervals import Interval, of_values

METHOD = "hierarchical bootstrap"
RESAMPLES = 4000


def over_replicates(
    values: Sequence[NDArray[np.float64]],
    *,
    least: float = 0.0,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """The mean over replicates of their means over pictures, and its interval.

    Replicates are drawn with replacement, and within each of them its pictures. A handful of replicates shows too
    little of what replicates can be: deviations between them are scaled by √(R / (R − 1)) and divided by the root of a
    χ² of R − 1 degrees over these, as in Student's interval, which this becomes where pictures add nothing.

    Args:
        values: for each replicate one value a picture, as 1 where it was right, or a difference. R arrays of N_r.
        least: what the mean can be at least, 0 for shares and -1 for their differences; it is 1 at most.
        seed: of the resampling.
        resamples: how many means are drawn.
        confidence: how often an interval made like this holds the mean over all replicates that there could be.

    Returns:
        `n` counts pictures. One replicate gives the interval over its pictures alone, and so do
            all where every picture is right, or none.
    """
    if len(values) == 1:
        return of_values(values[0])
    n = sum(map(len, values))
    if not values or not all(map(len, values)):
        return Interval(math.nan, math.nan, math.nan, n, METHOD)
    if least == 0 and len(found := set(np.concatenate(values).tolist())) == 1 and found <= {0.0, 1.0}:
        return of_values(np.concatenate(values))  # nothing varies that could be drawn; a few more pictures would
    means, count = np.array([each.mean() for each in values]), len(values)
    draw = np.random.default_rng(seed)
    drawn = draw.integers(count, size=(resamples, count))
    between = (means[drawn].mean(1) - means.mean()) * math.sqrt(count / (count - 1))
    between /= np.sqrt(draw.chisquare(count - 1, resamples) / (count - 1))
    within = np.zeros(resamples)
    for place, each in enumerate(values):
        within += _of_pictures(each, (drawn == place).sum(1), draw) / count
    tail = (1 - confidence) / 2
    low, high = np.quantile(means.mean() + between + within, (tail, 1 - tail))
    value = float(means.mean())
    return Interval(value, min(value, max(least, float(low))), max(value, min(1.0, float(high))), n, METHOD)


def differences(
    ones: Sequence[NDArray[np.float64]], others: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Paired differences, replicate by replicate and picture by picture."""
    return [one - other for one, other in zip(ones, others, strict=True)]


def above(found: Interval) -> bool:
    """Whether it is clear that a difference is above zero."""
    return found.low > 0


def below(found: Interval) -> bool:
    """Whether it is clear that it is below."""
    return found.high < 0


def _of_pictures(
    values: NDArray[np.float64], times: NDArray[np.intp], draw: np.random.Generator
) -> NDArray[np.float64]:
    """Deviations that other pictures would bring to the sum of `times` means of one replicate. R -> R."""
    each, counts = np.unique(values, return_counts=True)
    # Drawing pictures is drawing how many have each of their values: there are few values and many pictures.
    drawn = draw.multinomial(len(values) * times, counts / len(values))  # R V
    return drawn @ each / len(values) - times * values.mean()
