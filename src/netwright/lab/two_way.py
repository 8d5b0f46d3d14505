"""How sure a mean over seeds and pictures is, when the same pictures are seen with every seed.

Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007; Owen & Eckles, Bootstrapping data arrays of
arbitrary order, Annals of Applied Statistics 6, 2012. Resampling both ways counts what is peculiar to one seed on one
picture three times; here it is counted once, and few seeds widen the interval as Student's t does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.records.intervals import Interval, resample, wilson

Floats = NDArray[np.float64]
METHOD = "two_way"
RESAMPLES = 2000


def two_way_draws(values: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """Means as other seeds and other pictures would have given them, for several measurements at once.

    The measurements share their seeds and pictures, and so they share what is drawn. With one seed nothing is known
    of what another would change, and only pictures are drawn.

    Args:
        values: K S N: of K measurements, by seed and picture.
        seed: of the draws.
        resamples: R.

    Returns:
        R K.
    """
    pictures = values.mean(1)  # K S N -> K N
    means = pictures.mean(1)  # K
    spread = _spread(values)

    def drawn(rows: NDArray[np.intp]) -> Floats:
        return np.stack([each[rows].mean(1) for each in pictures], 1)  # R N -> R K

    of_pictures = resample(drawn, values.shape[2], seed=seed, resamples=resamples) - means
    of_seeds = _of_seeds(values.mean(2) - means[:, None], spread.rest, seed, resamples)
    return means + spread.share * of_pictures + of_seeds


def two_way(values: Floats, *, seed: int = 0, confidence: float = 0.95) -> Interval:
    """The mean of S N values by seed and picture, with an interval for both.

    The bounds stay within what one value can be: -1 or 0 to 1.
    """
    n = values.shape[1]
    mean, first = float(values.mean()), float(values.flat[0])
    if first in (0.0, 1.0) and (values == first).all():
        return wilson(round(first * n), n)  # nothing varies: a resampled mean would be as sure of it as of nothing
    return _bounds(two_way_draws(values[None], seed=seed)[:, 0], mean, n, -1 if values.min() < 0 else 0, confidence)


def _bounds(draws: Floats, mean: float, n: int, least: int, confidence: float) -> Interval:
    """The middle of the draws, from `least` to 1 at most."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2]).clip(least, 1)
    return Interval(mean, min(mean, float(low)), max(mean, float(high)), n, METHOD)


@dataclass(frozen=True)
class _Spread:
    """Of K measurements.

    Attributes:
        share: by what the pictures' means over seeds are to be scaled to spread as they would with endless seeds.
        rest: standard error that one picture with one seed leaves in the mean, as far as the seeds' own means, which
            hold it too, happen to show less.
    """

    share: Floats
    rest: Floats


def _spread(values: Floats) -> _Spread:
    """By the two-way analysis of variance: mean squares between pictures, between seeds, and of what is left."""
    count, seeds, pictures = values.shape
    if seeds < 2 or pictures < 2:
        return _Spread(np.ones(count), np.zeros(count))
    mean = values.mean((1, 2), keepdims=True)
    of_seed, of_picture = values.mean(2, keepdims=True) - mean, values.mean(1, keepdims=True) - mean
    between_seeds = pictures * np.square(of_seed).sum((1, 2)) / (seeds - 1)
    between_pictures = seeds * np.square(of_picture).sum((1, 2)) / (pictures - 1)
    left = np.square(values - mean - of_seed - of_picture).sum((1, 2)) / ((seeds - 1) * (pictures - 1))
    part = np.divide(left, between_pictures, out=np.zeros(count), where=between_pictures > 0)
    hidden = np.maximum(0, left - between_seeds) / (seeds * pictures)
    return _Spread(np.sqrt(np.maximum(0, 1 - part)), np.sqrt(hidden))


def _of_seeds(deviations: Floats, rest: Floats, seed: int, resamples: int) -> Floats:
    """What other seeds would move the means by: multipliers instead of resampling, which few seeds are too few for.

    Each mean's draws are Student's t with S - 1 degrees of freedom times its standard error, and a normal part for
    the rest. K S -> R K.
    """
    measurements, count = deviations.shape
    if count < 2:
        return np.zeros((resamples, measurements))
    draw = np.random.default_rng((seed, count))
    multipliers = draw.standard_normal((resamples, count)) / np.sqrt(draw.chisquare(count - 1, (resamples, 1)) / count)
    return multipliers @ deviations.T / count + draw.standard_normal((resamples, measurements)) * rest
