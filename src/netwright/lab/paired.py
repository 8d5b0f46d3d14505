"""Two sides judged on the same pictures: how far apart they are, how sure that is, and whether it may be chance.

Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
Statistics in Medicine 17, 1998; McNemar, Psychometrika 12, 1947, in its exact form; Efron, Better bootstrap confidence
intervals, Journal of the American Statistical Association 82, 1987; Holm, Scandinavian Journal of Statistics 6, 1979.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, t

from netwright.lab.two_way import FLIPS, METHOD, OF_ONE, two_way_draws
from netwright.records.intervals import NORMAL, Indices, Interval, resample

Floats = NDArray[np.float64]
Side = tuple[Floats, Floats]
BINS = 15  # of confidence, as the report has them
HALVINGS = 50  # bring a bound as near as floats can say
POWER = 0.8


def mcnemar(b: int, c: int) -> float:
    """Exact two-sided p of b pictures that only one side got right and c that only the other did: a fair coin's."""
    return min(1.0, 2 * float(binom.cdf(min(b, c), b + c, 0.5))) if b + c else 1.0


def tango(b: int, c: int, n: int, *, confidence: float = 0.95) -> Interval:
    """(c − b) / n with Tango's score interval: all differences that the pictures do not contradict.

    The exact test is stricter than the score where few pictures differ; 0 is left out only where it leaves it out too,
    so that interval and p never disagree at this level.

    Args:
        b: pictures that only the side compared against got right.
        c: pictures that only the other side got right.
        n: all pictures.
        confidence: how often an interval made like this holds the true difference.
    """
    z, value = NORMAL.inv_cdf((1 + confidence) / 2), (c - b) / n
    low, high = (
        _crossing(lambda at: score(at, b, c, n) > z, -1.0, value),
        _crossing(lambda at: score(at, b, c, n) > -z, value, 1.0),
    )
    if mcnemar(b, c) > 1 - confidence:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(value, low, high, n, "tango")


def score(difference: float, b: int, c: int, n: int) -> float:
    """How many standard errors (c − b) / n lies above a difference, where that is the true one (Tango 1998, 3.1)."""
    off = c - b - n * difference
    linear = (2 * n - c + b) * difference - b - c
    # The likeliest share of pictures that only the first side gets right, if the difference is this one.
    share = (math.sqrt(max(0.0, linear**2 + 8 * n * b * difference * (1 - difference))) - linear) / (4 * n)
    spread = n * (2 * share + difference * (1 - difference))
    return off / math.sqrt(spread) if spread > 0 else math.copysign(math.inf, off) if off else 0.0


def equivalent(b: int, c: int, n: int, margin: float) -> float:
    """p of two one-sided tests that the difference is within a margin, by Tango's score."""
    return max(NORMAL.cdf(-score(-margin, b, c, n)), NORMAL.cdf(score(margin, b, c, n)))


def seeds_p(differences: Floats, margin: float) -> tuple[float, float]:
    """p that several seeds' mean difference is 0, and p that it is not within the margin. S N.

    Both read off the draws of `lab.two_way`, which hold seeds and pictures; the first is never below that of flipping
    the signs of pictures, as the interval there is never narrower.
    """
    few = np.hstack([differences, np.tile([1.0, -1.0], (len(differences), 1))])
    draws = two_way_draws(few[None], resamples=OF_ONE)[:, 0]
    tail = min(float(np.mean(draws <= 0)), float(np.mean(draws >= 0)))
    outside = max(float(np.mean(draws <= -margin)), float(np.mean(draws >= margin)))
    return min(1.0, max(2 * tail, 2 / OF_ONE, _flipped(differences))), max(outside, 1 / OF_ONE)


def pictures_needed(b: int, c: int, n: int, *, alpha: float = 0.05) -> int | None:
    """Pictures on which a difference as large as this would be found four times in five; None where there is none.

    Connor, Biometrics 43, 1987: n = (z₁ √π + z₂ √(π − δ²))² / δ², π the share of pictures on which sides differ.
    """
    if b == c:
        return None
    apart, difference = (b + c) / n, (c - b) / n
    first, second = NORMAL.inv_cdf(1 - alpha / 2), NORMAL.inv_cdf(POWER)
    return math.ceil((first * apart**0.5 + second * max(0.0, apart - difference**2) ** 0.5) ** 2 / difference**2)


def calibration(side: Side, against: Side | None = None) -> Interval:
    """The expected calibration error of a side, less another's if there is one: the mean over seeds.

    Pictures are resampled, the same for both sides: a BCa interval. With several seeds their own spread is added, and
    the interval is Student's. It is about the error that bins show: bins overestimate an error near 0, which no
    resampling mends (simulated: 300 pictures, one side perfect, the other 10 % too sure: the true difference is held
    three times in four).

    Args:
        side: largest probabilities, and 1 where the guess was right. Each S N.
        against: the same of the other side, seed by seed.
    """
    seeds, n = side[0].shape
    both = [side] if against is None else [side, against]
    gaps = [(right - sure, _places(sure)) for each in both for sure, right in zip(*each, strict=True)]
    signs = np.repeat([1.0, -1.0][: len(both)], seeds)

    def each(rows: Indices) -> Floats:  # R N -> R, a column a seed and side
        return np.stack([_error(gap, places, rows) for gap, places in gaps], 1)

    errors = each(np.arange(n)[None])[0]
    value = float(errors @ signs) / seeds
    draws = resample(lambda rows: each(rows) @ signs / seeds, n)
    if seeds == 1:
        left_out = np.stack([_without_each(gap, places) for gap, places in gaps])
        return bca(value, draws, signs @ left_out)
    by_seed = (errors * signs).reshape(len(both), seeds).sum(0)
    reach = float(t.ppf(0.975, seeds - 1) * np.sqrt(draws.var() + by_seed.var(ddof=1) / seeds))
    return Interval(value, max(value - reach, 0.0 if against is None else -1.0), min(value + reach, 1.0), n, METHOD)


def bca(value: float, draws: Floats, without: Floats) -> Interval:
    """Efron's bias-corrected and accelerated 95 % interval of any number.

    Args:
        value: what was measured.
        draws: the same of samples drawn with replacement. R.
        without: the same with one observation left out, for each. N.
    """
    off = without.mean() - without
    spread = float((off**2).sum()) ** 1.5
    acceleration = float((off**3).sum()) / (6 * spread) if spread else 0.0
    below = float(np.mean(draws < value) + np.mean(draws == value) / 2)
    bias = NORMAL.inv_cdf(min(max(below, 0.5 / draws.size), 1 - 0.5 / draws.size))
    tails = [bias + NORMAL.inv_cdf(at) for at in (0.025, 0.975)]
    low, high = np.quantile(draws, [NORMAL.cdf(bias + tail / (1 - acceleration * tail)) for tail in tails])
    return Interval(value, min(value, float(low)), max(value, float(high)), without.size, "bca")


def _crossing(above: Callable[[float], bool], low: float, high: float) -> float:
    """Where what is true at the low end ceases to be."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) else (low, middle)
    return (low + high) / 2


def _flipped(differences: Floats) -> float:
    """How often sums as far from 0 come about where each picture's difference has either sign. S N."""
    of_picture = np.abs(differences.mean(0))
    sizes, counts = np.unique(of_picture.round(12), return_counts=True)
    ups = np.random.default_rng(FLIPS).binomial(counts, 0.5, (FLIPS, len(counts)))
    sums, seen = np.abs((2 * ups - counts) @ sizes), abs(float(differences.mean(0).sum()))
    return (1 + float(np.sum(sums >= seen - 1e-9))) / (1 + FLIPS)


def _places(confidence: Floats) -> Indices:
    return np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.intp)


def _error(gap: Floats, places: Indices, rows: Indices) -> Floats:
    """Expected calibration errors of resampled pictures. R N -> R."""
    cells = places[rows] + BINS * np.arange(len(rows))[:, None]
    sums = np.bincount(cells.ravel(), gap[rows].ravel(), minlength=BINS * len(rows))
    return np.abs(sums.reshape(-1, BINS)).sum(1) / rows.shape[1]


def _without_each(gap: Floats, places: Indices) -> Floats:
    """The calibration error with each picture left out: only the sum of its own bin is another. N."""
    sums = np.bincount(places, gap, minlength=BINS)
    changed = np.abs(sums[places] - gap) - np.abs(sums[places])
    return (np.abs(sums).sum() + changed) / (gap.size - 1)
