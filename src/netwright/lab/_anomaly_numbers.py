"""What scores of normal pictures allow to say: a threshold for so many false alarms, p-values, AUROC with intervals.

Conformal p-values and thresholds: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; for
outliers Bates et al., arXiv:2104.08279. AUROC: DeLong et al., Biometrics 44, 1988; Newcombe, Statistics in Medicine 25,
2006, method 5.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, rankdata, t

from netwright.core.errors import NetwrightError
from netwright.lab._stat_spread import reach
from netwright.records.intervals import NORMAL, Interval

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
HALVINGS = 60
RESAMPLES = 1000
FEWEST = 5  # pictures of a kind: of fewer a variance says next to nothing
AT_ONCE = 4_000_000  # weights drawn at once: 32 MB


@dataclass(frozen=True)
class Threshold:
    """Scores above it count as anomalies.

    Attributes:
        value: the `rank`-th smallest score of `n` normal pictures.
        rank: ⌈(n + 1)(1 − wanted)⌉.
        n: normal pictures that it was set on.
        wanted: the rate of false alarms that was asked for.
    """

    value: float
    rank: int
    n: int
    wanted: float

    @property
    def false_alarms(self) -> Interval:
        """Of new normal pictures, how many will be flagged: the mean, and where 95 in 100 such thresholds lie.

        The rate of a threshold that is an order statistic is distributed as Beta(n + 1 − rank, rank), whatever the
        scores are like; where they tie, it is at most that.
        """
        a, b = self.n + 1 - self.rank, self.rank
        low, high = (float(beta.ppf(tail, a, b)) for tail in (0.025, 0.975))
        return Interval(a / (self.n + 1), low, high, self.n, "beta")

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        own = {"value": self.value, "rank": self.rank, "n": self.n, "wanted": self.wanted}
        return {**own, "false_alarms": self.false_alarms.to_json()}


def threshold_for(normal: Floats, wanted: float) -> Threshold:
    """The least score of normal pictures above which at most so many new ones lie, on average.

    Args:
        normal: scores of normal pictures that nothing was trained on. n.
        wanted: rate of false alarms, between 0 and 1.

    Raises:
        NetwrightError: no rate, a score that is not a number, or too few pictures for this rate.
    """
    n = len(normal)
    if not 0 < wanted < 1:
        raise NetwrightError(f"false alarms cannot be {wanted:g}", "give a share between 0 and 1: --false-alarms 0.05")
    if not np.isfinite(normal).all():
        lost = int((~np.isfinite(normal)).sum())
        problem = f"{lost} of {n} scores of normal pictures are not numbers"
        raise NetwrightError(problem, "train again: the network gives values without bounds")
    share = Fraction(str(wanted))
    rank = n + 1 - math.floor((n + 1) * share)  # exact: 20 · 0.95 must not round up to rank 20
    if rank > n:
        need = math.ceil(1 / share) - 1
        least = math.ceil(1000 / (n + 1)) / 1000
        fix = f"give {need} or more: --normal DATA" + (f"; or --false-alarms {least:g}" if least < 1 else "")
        raise NetwrightError(f"{n} normal pictures cannot give a threshold with {100 * wanted:g} % false alarms", fix)
    return Threshold(float(np.sort(normal)[rank - 1]), rank, n, wanted)


def p_values(scores: Floats, normal: Floats) -> Floats:
    """How often a normal picture scores as high: (1 + #{normal ≥ score}) / (n + 1). N, n -> N.

    A picture is above `threshold_for` a rate where its p is at most that rate.
    """
    below = np.searchsorted(np.sort(normal), scores, side="left")
    return (1 + len(normal) - below) / (len(normal) + 1)


@dataclass(frozen=True, eq=False)
class Separation:
    """How well scores tell some pictures from others.

    Attributes:
        auroc: how often one of the others scores higher than a normal one, ties counted half.
        influence: what each picture adds to its error: the sum of their squares is DeLong's variance. N.
        others: how many pictures are to be found.
        normal: how many are not.
    """

    auroc: float
    influence: Floats
    others: int
    normal: int

    @property
    def interval(self) -> Interval:
        """95 %, for other pictures like these: the wider, at each end, of DeLong's on the logit scale and Newcombe's.

        DeLong's alone has no width where the separation is perfect, Newcombe's alone is too narrow where the spread of
        the others is larger: for 10 to 200 pictures a side and AUROC 0.7 to 0.999 either falls below 90 in 100, and the
        wider of both held the truth in 93 or more.
        """
        variance = float((self.influence**2).sum())
        ends = (_logit(self.auroc, variance), _newcombe(self.auroc, self.others, self.normal))
        low, high = min(one for one, _ in ends), max(other for _, other in ends)
        return Interval(self.auroc, low, high, self.others + self.normal, "delong_newcombe")


def separation(scores: Floats, other: Flags) -> Separation:
    """AUROC and what each picture adds to its error.

    Args:
        scores: the higher, the odder. N.
        other: which pictures are to be found. N.

    Raises:
        NetwrightError: all are of one kind.
    """
    others, normal = int(other.sum()), int((~other).sum())
    if not others or not normal:
        raise NetwrightError("AUROC wants normal pictures and others, and there is one kind", "give some of both")
    ranks, placed = rankdata(scores), np.empty(len(scores))
    placed[other] = (ranks[other] - rankdata(scores[other])) / normal
    placed[~other] = 1 - (ranks[~other] - rankdata(scores[~other])) / others
    auroc = float(placed[other].mean())
    sides = np.where(other, others, normal)
    influence = (placed - auroc) / sides * np.sqrt(sides / np.maximum(sides - 1, 1))
    return Separation(auroc, influence, others, normal)


def mean_interval(values: Floats, influence: Floats) -> Interval:
    """The mean of AUROCs, or of their differences, over classes and trainings, for other pictures and trainings.

    Pictures that several of them share are counted once: influences are added before they are squared.

    Args:
        values: S C, by training and class.
        influence: S C N, of each picture on each.

    Returns:
        `n` counts pictures. With one training the interval is for other pictures only.
    """
    by_seed, seeds = values.mean(1), len(values)
    mean, each = float(values.mean()), influence.mean(1)  # S N
    of_mean = float((each.mean(0) ** 2).sum())
    if seeds == 1:
        far = NORMAL.inv_cdf(0.975) * of_mean**0.5
    else:
        own = float((each**2).sum(1).mean())
        shared = max(0.0, (seeds * of_mean - own) / (seeds - 1))
        far = float(reach(by_seed.var(ddof=1) / seeds, shared, seeds - 1, 0.025))
    return Interval(mean, mean - far, mean + far, influence.shape[-1], "delong")


def difference_interval(ones: Sequence[Sequence[Separation]], others: Sequence[Sequence[Separation]]) -> Interval:
    """By how much one score's AUROC is higher than another's, on the same pictures, on average over classes.

    The normal interval is widened to Student's with as many degrees of freedom as the smallest kind of pictures allows:
    its variance is estimated from no more.

    Args:
        ones: by training and class, S C.
        others: of the other score, S C.

    Returns:
        NaN bounds where one kind has fewer than FEWEST pictures, or where no picture tells the two scores apart.
    """
    pairs = [list(zip(*rows, strict=True)) for rows in zip(ones, others, strict=True)]
    values = np.array([[one.auroc - other.auroc for one, other in row] for row in pairs])
    influence = np.array([[one.influence - other.influence for one, other in row] for row in pairs])
    fewest = min(min(one.others, one.normal) for row in ones for one in row)
    if fewest < FEWEST or not influence.any():
        return Interval(float(values.mean()), math.nan, math.nan, influence.shape[-1], "delong")
    wider = float(t.ppf(0.975, fewest - 1)) / NORMAL.inv_cdf(0.975)
    return mean_interval(values, influence * wider)


def average_precision(scores: Floats, other: Flags, weights: Floats | None = None) -> Floats:
    """Σ (recall − recall before) · precision over thresholds from the highest score down; ties are one threshold.

    Args:
        scores: N.
        other: which pictures are to be found. N.
        weights: how often each picture counts, ... N; by default once.

    Returns:
        Of the leading shape of `weights`.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    counted = np.ones(len(scores)) if weights is None else weights[..., order]
    found = np.cumsum(counted * other[order], -1)[..., ends]
    flagged = np.cumsum(np.broadcast_to(counted, (*found.shape[:-1], len(scores))), -1)[..., ends]
    precision = found / np.maximum(flagged, 1e-300)
    steps = np.diff(found, axis=-1, prepend=0.0) / found[..., -1:]
    return (steps * precision).sum(-1)


def precision_interval(scores: Floats, other: Flags, *, seed: int = 0) -> Interval:
    """Average precision for other pictures, as many of each kind: the percentile bootstrap.

    Returns:
        NaN bounds where the separation is perfect, so that no resample differs.
    """
    draw, drawn = np.random.default_rng(seed), list[Floats]()
    at_once = max(1, AT_ONCE // len(scores))
    for start in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - start)
        weights = np.empty((size, len(scores)))
        for side in (other, ~other):
            count = int(side.sum())
            weights[:, side] = draw.multinomial(count, np.full(count, 1 / count), size)
        drawn.append(average_precision(scores, other, weights))
    means, value = np.concatenate(drawn), float(average_precision(scores, other))
    low, high = (float(end) for end in np.quantile(means, (0.025, 0.975)))
    if means.max() - means.min() < 1e-12:
        low = high = math.nan
    return Interval(value, low, high, len(scores), "bootstrap")


def _logit(auroc: float, variance: float) -> tuple[float, float]:
    """DeLong's interval, symmetric in log(A / (1 − A)) as it cannot be in A."""
    if not 0 < auroc < 1 or variance <= 0:
        return auroc, auroc
    centre = math.log(auroc / (1 - auroc))
    far = NORMAL.inv_cdf(0.975) * variance**0.5 / (auroc * (1 - auroc))
    low, high = (1 / (1 + math.exp(-min(max(centre + sign * far, -700.0), 700.0))) for sign in (-1, 1))
    return low, high


def _newcombe(auroc: float, others: int, normal: int) -> tuple[float, float]:
    """All values from which the one seen lies at most 1.96 of their own standard errors away."""
    z = NORMAL.inv_cdf(0.975)
    half = (others + normal) / 2 - 1

    def fits(true: float) -> bool:
        spread = 1 + half * ((1 - true) / (2 - true) + true / (1 + true))
        return (true - auroc) ** 2 <= z**2 * true * (1 - true) * spread / (others * normal)

    return _end(fits, auroc, 0.0), _end(fits, auroc, 1.0)


def _end(fits: Callable[[float], bool], inner: float, outer: float) -> float:
    """Where between a value that fits and an end of the range the last one does, by halving."""
    if inner == outer:
        return outer
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if fits(middle) else (inner, middle)
    return inner
