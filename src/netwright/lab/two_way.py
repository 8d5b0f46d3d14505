"""How sure a mean over seeds and pictures is, when the same pictures are seen with several seeds.

Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007; Owen & Eckles, Bootstrapping data arrays of
arbitrary order, Annals of Applied Statistics 6, 2012. Resampling both ways counts what is peculiar to one seed on one
picture three times; here it is counted once, and few seeds widen the interval as Student's t does. A seed need not have
seen every picture: what two of them share is found from the pictures that both saw.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.records.intervals import CHUNK, Interval, wilson

Floats = NDArray[np.float64]
METHOD = "two_way"
RESAMPLES = 2000
OF_ONE = 8000  # the ends of Student's t with two degrees of freedom lie far out, and want many
FLIPS = 20_000
EXACT = 1e-9  # what rounding may add to a mean


def two_way_draws(values: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """Means as other seeds and other pictures would have given them, for several measurements at once.

    The measurements share their seeds and pictures, and so they share what is drawn. With one seed nothing is known
    of what another would change, and only pictures are drawn.

    Args:
        values: K S N: of K measurements, by seed and picture; NaN where a seed did not see a picture.
        seed: of the draws.
        resamples: R.

    Returns:
        R K.
    """
    parts = [_Parts.of(each) for each in values]
    of_pictures = _of_pictures(np.stack([part.pictures for part in parts]), seed, resamples)
    deviations, rest = np.stack([part.seeds for part in parts]), np.array([part.rest for part in parts])
    means = np.array([part.mean for part in parts])
    return means + of_pictures + _of_seeds(deviations, rest, seed, resamples)


def two_way(values: Floats, *, difference: bool | None = None, seed: int = 0, confidence: float = 0.95) -> Interval:
    """The mean over seeds of their means over pictures, with an interval for both.

    Of a difference two more pictures are counted, of which each side wins one (Bonett & Price, Journal of Educational
    and Behavioral Statistics 37, 2012), so that few that differ are not taken for all there could be; and 0 is left out
    only where flipping signs picture by picture, which knows nothing of normal distributions, leaves it out too.

    Args:
        values: S N, by seed and picture; NaN where a seed did not see a picture.
        difference: whether they are differences, from -1 to 1, rather than shares, from 0 to 1; None takes them for
            differences where one is below 0.
        seed: of the draws.
        confidence: how often an interval made like this holds the mean of all seeds and pictures.

    Returns:
        `n` counts pictures that some seed saw. NaN where a seed saw none.
    """
    known = ~np.isnan(values)
    n = int(known.any(0).sum())
    if not values.size or not known.any(1).all():
        return Interval(np.nan, np.nan, np.nan, n, METHOD)
    mean = float(np.nanmean(values, 1).mean())
    difference = bool((values[known] < 0).any()) if difference is None else difference
    if not difference and (len(values) == 1 or np.ptp(values[known]) < EXACT) and _right_or_wrong(values[known]):
        return wilson(round(mean * n), n)  # one seed, or nothing varies: a resampled mean would be sure of it
    seen = np.hstack([values, np.tile([1.0, -1.0], (len(values), 1))]) if difference else values
    draws, least = two_way_draws(seen[None], seed=seed, resamples=OF_ONE)[:, 0], -1 if difference else 0
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2]).clip(least, 1)
    if difference and not _clear(values, seed, confidence):
        low, high = min(low, 0), max(high, 0)
    return Interval(mean, min(mean, float(low)), max(mean, float(high)), n, METHOD)


def above(found: Interval) -> bool:
    """Whether it is clear that a difference is above zero."""
    return found.low > 0


def below(found: Interval) -> bool:
    """Whether it is clear that it is below."""
    return found.high < 0


@dataclass(frozen=True)
class _Parts:
    """What one mean owes to whom.

    Attributes:
        mean: over seeds of their means.
        pictures: what drawing a picture once more adds to the mean, scaled to spread as pictures would with endless
            seeds. N, 0 in sum.
        seeds: by how much each seed's own mean is off. S.
        rest: standard error that single pictures with single seeds leave in the mean, as far as the seeds' own means,
            which hold it too, happen to show less.
    """

    mean: float
    pictures: Floats
    seeds: Floats
    rest: float

    @classmethod
    def of(cls, values: Floats) -> "_Parts":
        """By the covariances of seeds' means, which pictures seen by both make; an analysis of variance. S N."""
        known = ~np.isnan(values)
        seen = known.astype(np.float64)
        counts = seen.sum(1)
        means = np.nan_to_num(values).sum(1) / counts
        off = np.where(known, values - means[:, None], 0.0)
        each, shared = 1 / counts, seen @ seen.T
        # Means are taken off that hold the same pictures: without bias by what that takes of the products.
        left = 1 - each[:, None] - each + shared * np.outer(each, each)
        products = np.outer(each, each) * (off @ off.T)
        together = np.divide(products, left, out=np.zeros_like(left), where=left > EXACT)
        count, own = len(values), float(np.diag(together).mean())
        common = own if count < 2 else max(0.0, float(together.sum() - together.trace()) / (count * (count - 1)))
        pictures = (off * each[:, None]).mean(0)
        spread = float(np.square(pictures).sum())
        seeds, hidden = means - means.mean(), max(0.0, own - common)
        rest = 0.0 if count < 2 else max(0.0, hidden - float(seeds.var(ddof=1))) / count
        scaled = pictures * np.sqrt(common / spread) if spread > EXACT**2 else np.zeros_like(pictures)
        return cls(float(means.mean()), scaled, seeds, float(np.sqrt(rest)))


def _of_pictures(parts: Floats, seed: int, resamples: int) -> Floats:
    """What other pictures would move the means by. K N -> R K."""
    # Drawing pictures is drawing how many of each kind there are: often there are few kinds, and many pictures.
    kinds, counts = np.unique(parts, axis=1, return_counts=True)
    draw, n = np.random.default_rng(seed), parts.shape[1]
    rows = max(1, CHUNK // len(counts))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    drawn = [draw.multinomial(n, counts / n, size) @ kinds.T for size in sizes]
    return np.concatenate(drawn) - parts.sum(1)


def _of_seeds(deviations: Floats, rest: Floats, seed: int, resamples: int) -> Floats:
    """What other seeds would move the means by: multipliers instead of resampling, which few seeds are too few for.

    Each mean's draws are Student's t with S - 1 degrees of freedom times its standard error, and a normal part for
    the rest. K S -> R K.
    """
    measurements, count = deviations.shape
    if count < 2:
        return np.zeros((resamples, measurements))
    draw, half = np.random.default_rng((seed, count)), -(-resamples // 2)
    multipliers = draw.standard_normal((half, count)) / np.sqrt(draw.chisquare(count - 1, (half, 1)) / count)
    found = multipliers @ deviations.T / count + draw.standard_normal((half, measurements)) * rest
    return np.concatenate([found, -found])[:resamples]  # both signs of each: what is symmetrical is seen to be


def _right_or_wrong(values: Floats) -> bool:
    return bool((np.minimum(np.abs(values), np.abs(values - 1)) < EXACT).all())


def _clear(values: Floats, seed: int, confidence: float) -> bool:
    """Whether differences add up to more than they would if each picture's had come with either sign. S N."""
    known = ~np.isnan(values)
    of_picture = np.where(known, values, 0.0) / known.sum(1, keepdims=True)
    sizes, counts = np.unique(np.abs(of_picture.sum(0)).round(12), return_counts=True)
    draw = np.random.default_rng((seed, FLIPS))
    ups = draw.binomial(counts, 0.5, (FLIPS, len(counts)))
    sums = np.abs((2 * ups - counts) @ sizes)
    return float(np.mean(sums >= abs(of_picture.sum()) - EXACT)) <= 1 - confidence
