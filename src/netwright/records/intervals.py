"""How sure a number is: Wilson intervals for proportions, BCa bootstrap intervals for means (Efron 1987)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

NORMAL = NormalDist()
CHUNK = 4_000_000  # indices drawn at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A measured value, its confidence interval, and how many observations it rests on."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def __str__(self) -> str:
        return self.percent() if self.method == "wilson" else f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def percent(self, digits: int = 1) -> str:
        """The value and its interval as percentages: `98.3 % [96.4, 99.2]`."""
        value, low, high = (f"{100 * number:.{digits}f}" for number in (self.value, self.low, self.high))
        return f"{value} % [{low}, {high}]"

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; a number that is not known is null."""
        unknown = {name: None for name in ("value", "low", "high") if not math.isfinite(getattr(self, name))}
        return asdict(self) | unknown

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Interval":
        """The interval that `to_json` wrote; what is missing becomes NaN."""
        value, low, high = (
            math.nan if fields.get(name) is None else float(fields[name]) for name in ("value", "low", "high")
        )
        return cls(value, low, high, int(fields.get("n") or 0), str(fields.get("method") or ""))


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927): stays in [0, 1] and holds near 0 and 1.

    Raises:
        ValueError: more successes than trials, or a negative count.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0, "wilson")
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # At 0 and n the bound is exact; rounding must not move the value out of its own interval.
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return Interval(p, low, high, n, "wilson")


def bootstrap_mean(values: ArrayLike, *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95) -> Interval:
    """The BCa bootstrap interval of a mean: corrected for the bias and the skew of what was measured.

    Args:
        values: the observations, as losses of single images; fewer than two, or one not finite, give NaN bounds.
        seed: of the resampling; the same seed gives the same interval.
        resamples: how many means are drawn.
        confidence: how often an interval made like this holds the true mean.
    """
    data = np.asarray(values, np.float64).ravel()
    if data.size < 2 or not np.isfinite(data).all():
        return Interval(float(data.mean()) if data.size else math.nan, math.nan, math.nan, data.size, "bca")
    means = resample(lambda rows: data[rows].mean(axis=1), data.size, seed=seed, resamples=resamples)
    mean = float(data.mean())
    low, high = np.quantile(means, corrected_tails(data, means, NORMAL.inv_cdf((1 + confidence) / 2)))
    return Interval(mean, min(mean, float(low)), max(mean, float(high)), data.size, "bca")


def of_values(values: ArrayLike) -> Interval:
    """The interval of a mean: Wilson's if every value is 0 or 1, as in accuracy, otherwise the bootstrap's."""
    data = np.asarray(values, np.float64).ravel()
    return wilson(int(data.sum()), data.size) if np.isin(data, (0, 1)).all() else bootstrap_mean(data)


def resample(statistic: Callable[[Indices], Floats], n: int, *, seed: int = 0, resamples: int = 2000) -> Floats:
    """A statistic of many samples drawn with replacement.

    Args:
        statistic: maps indices (R, n) to R values.
        n: the number of observations.
        seed: of the draws.
        resamples: how many samples are drawn.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // n)
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([statistic(generator.integers(n, size=(size, n), dtype=np.intp)) for size in sizes])


def corrected_tails(data: Floats, means: Floats, reach: float) -> tuple[float, float]:
    """The quantiles of the resampled means at which the BCa interval ends.

    Args:
        data: what was measured. N.
        means: of samples drawn from it. R.
        reach: how many standard errors a normal interval would go to each side, as 1.96.
    """
    deviation = data - data.mean()
    spread = float((deviation**2).sum()) ** 1.5
    # For a mean the jackknife estimate of the acceleration has this closed form.
    acceleration = float((deviation**3).sum()) / (6 * spread) if spread else 0.0
    below = float(np.mean(means < data.mean()) + np.mean(means == data.mean()) / 2)
    bias = NORMAL.inv_cdf(min(max(below, 0.5 / means.size), 1 - 0.5 / means.size))
    tails = (bias + sign * reach for sign in (-1, 1))
    low, high = (NORMAL.cdf(bias + tail / (1 - acceleration * tail)) for tail in tails)
    return low, high
