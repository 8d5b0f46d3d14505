"""Analysis of variance of a full factorial experiment in randomised blocks: every cell was tried with the same seeds.

Fisher, The design of experiments, 1935. Seeds are the blocks: what one of them does to all cells alike is taken out,
and what is left between seeds is the error that effects are measured against. It is taken for normally distributed and
as large in all cells; `uneven` and `crooked` look whether it is, and `permuted` does without. Nothing here compares two
cells: three runs each would not bear it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from netwright.core.errors import NetwrightError, unknown
from netwright.records.intervals import Interval

Floats = NDArray[np.float64]
SEEDS, RESIDUAL, TIMES = "seeds", "residual", " × "
ROUNDS = 9999
EXACT = 1e-12  # of the total sum of squares: what rounding leaves where nothing varies


@dataclass(frozen=True)
class Source:
    """One row of the table.

    Attributes:
        name: a factor, several (`blocks × layers`), `seeds` or `residual`.
        squares: sum of squares.
        df: degrees of freedom.
        f: its mean square over the residual's; None for seeds and residual, and where seeds leave no residual.
        p: the chance of such an F where nothing depends on this.
        eta: η², its share of the total sum of squares.
        omega: partial ω² (without η²'s bias), and Steiger's interval for the same share in the population.
    """

    name: str
    squares: float
    df: int
    f: float | None = None
    p: float | None = None
    eta: float = 0.0
    omega: Interval | None = None

    @property
    def mean(self) -> float:
        """The mean square."""
        return self.squares / self.df


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was analysed and what came of it.

    Attributes:
        values: by the levels of each factor, and by seed. L1 … Lk S.
        factors: their names, k.
        sources: factors, their interactions, seeds, residual.
    """

    values: Floats
    factors: tuple[str, ...]
    sources: tuple[Source, ...]

    def of(self, name: str) -> Source:
        """One row.

        Raises:
            NetwrightError: there is none of this name.
        """
        for source in self.sources:
            if source.name == name:
                return source
        raise unknown("source of variance", name, [source.name for source in self.sources])

    def axis(self, factor: str) -> int:
        """Which axis of the values a factor is.

        Raises:
            NetwrightError: there is none of this name.
        """
        if factor not in self.factors:
            raise unknown("factor", factor, self.factors)
        return self.factors.index(factor)

    def means(self, factor: str) -> Floats:
        """Of each level, over all others and over seeds. L."""
        axis = self.axis(factor)
        return self.values.mean(tuple(other for other in range(self.values.ndim) if other != axis))


@dataclass(frozen=True)
class Comparison:
    """Two levels of a factor, averaged over everything else.

    Attributes:
        level: the place of the one.
        other: of the one that it is compared with, which comes before.
        difference: of their means, with Tukey's interval: all of the factor's hold at once.
        p: for that difference among all of the factor's.
        levels: that the factor has.
        variance: of the difference, over seeds.
        df: that it was estimated with.
    """

    factor: str
    level: int
    other: int
    difference: Interval
    p: float
    levels: int
    variance: float
    df: float


def analyse(values: Floats, factors: Sequence[str], *, confidence: float = 0.9) -> Analysis:
    """The table: a row for each factor and each combination of them, the seeds, and the residual.

    Args:
        values: L1 … Lk S; as many levels as wanted of each factor, and the same seeds in all cells.
        factors: k names, in the order of the axes.
        confidence: of the effects' intervals. With 0.9 they leave out 0 just where p < 0.05 (Steiger, Beyond the F
            test, Psychological Methods 9, 2004).

    Raises:
        NetwrightError: one seed, a factor of one level, or a cell that lacks a seed. Sums of squares of unbalanced data
            would answer other questions, and a run that is missing can be made.
    """
    values = np.asarray(values, np.float64)
    _refuse(values, factors)
    total, count = float(np.square(values - values.mean()).sum()), values.shape[-1]
    residual = Source(RESIDUAL, float(np.square(_left(values)).sum()), (values.size // count - 1) * (count - 1))
    found = [_source(values, axes, factors) for axes in _subsets(range(len(factors)))]
    found = [_tested(source, residual, total, values.size, confidence) for source in found]
    seeds = _effect(values, (values.ndim - 1,))
    between = Source(SEEDS, float(np.square(seeds).sum()) * values.size / count, count - 1)
    rest = [replace(each, eta=each.squares / total if total else 0.0) for each in (between, residual)]
    return Analysis(values, tuple(factors), (*found, *rest))


def compare(analysis: Analysis, factor: str, *, confidence: float = 0.95) -> list[Comparison]:
    """Every two levels of a factor, by Tukey's range test on the residual's mean square (Tukey 1949; Kramer 1956).

    Raises:
        NetwrightError: no such factor.
    """
    means, residual = analysis.means(factor), analysis.of(RESIDUAL)
    levels, n = len(means), analysis.values.size // len(means)
    variance, df = 2 * residual.mean / n, residual.df
    reach = _reach(variance, levels, df, confidence)
    found: list[Comparison] = []
    for other, level in combinations(range(levels), 2):
        difference = float(means[level] - means[other])
        interval = Interval(difference, difference - reach, difference + reach, n, "tukey")
        p = _ranged(difference, variance, levels, df)
        found.append(Comparison(factor, level, other, interval, p, levels, variance, df))
    return found


def with_pictures(found: Comparison, values: Floats, *, confidence: float = 0.95) -> Comparison:
    """The same for other pictures as well, where each run's value was a mean over the same ones.

    What pictures add to the variance is what an analysis by seed and picture leaves of them when single pictures with
    single seeds are taken out, which the error over seeds holds already; degrees of freedom by Satterthwaite (1946).

    Args:
        found: over seeds.
        values: the difference by seed and picture, S N.
        confidence: of the interval.
    """
    n, added = values.shape[1], of_pictures(values)
    variance = found.variance + added
    df = variance**2 / (found.variance**2 / found.df + added**2 / (n - 1)) if variance else found.df
    mean, reach = found.difference.value, _reach(variance, found.levels, df, confidence)
    interval = Interval(mean, mean - reach, mean + reach, n, "tukey_pictures")
    p = _ranged(mean, variance, found.levels, df)
    return replace(found, difference=interval, p=p, variance=variance, df=df)


def of_pictures(values: Floats) -> float:
    """The variance that pictures leave in the mean of differences, however many seeds there are. S N."""
    seeds, n = values.shape
    left = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    single = float(np.square(left).sum()) / ((seeds - 1) * (n - 1))
    return max(0.0, (float(values.mean(0).var(ddof=1)) - single / seeds) / n)


def cell_intervals(analysis: Analysis, *, confidence: float = 0.95) -> list[Interval]:
    """Of each cell's mean, by the residual of all cells together: for reading cells of one picture against one another.

    They hold other seeds, but for what a seed does to all cells alike. The last factor's levels follow one another.
    """
    residual, count = analysis.of(RESIDUAL), analysis.values.shape[-1]
    reach = float(stats.t.ppf((1 + confidence) / 2, residual.df)) * float(np.sqrt(residual.mean / count))
    means = analysis.values.mean(-1).ravel().tolist()
    return [Interval(mean, mean - reach, mean + reach, count, "pooled_t") for mean in means]


def permuted(values: Floats, axis: int, *, rounds: int = ROUNDS, seed: int = 0) -> float:
    """p of a factor without normality or equal errors: its levels are shuffled within each cell of the others and seed.

    Exact, but for the draws, where the factor does nothing in any cell (Edgington 1980); what is compared is the sum of
    squares of its levels' means.

    Args:
        values: L1 … Lk S.
        axis: of the factor.
        rounds: how often it is shuffled.
        seed: of the shuffling.
    """
    rows = np.moveaxis(values, axis, -1).reshape(-1, values.shape[axis])
    draw, seen = np.random.default_rng(seed), float(rows.mean(0).var())
    drawn = np.array([draw.permuted(rows, axis=1).mean(0).var() for _ in range(rounds)])
    return float(1 + np.count_nonzero(drawn >= seen * (1 - 1e-9))) / (1 + rounds)


def uneven(values: Floats) -> float:
    """p for one cell's error being larger than those of the others, by Cochran's C (1941) with Bonferroni's bound.

    Args:
        values: L1 … Lk S.
    """
    count = values.shape[-1]
    variances = _left(values).reshape(-1, count).var(1)
    cells, total = len(variances), float(variances.sum())
    if cells < 2 or total <= EXACT * float(np.square(values).sum()):
        return 1.0
    share = float(variances.max()) / total
    return min(1.0, cells * float(stats.beta.sf(share, (count - 1) / 2, (cells - 1) * (count - 1) / 2)))


def crooked(values: Floats) -> float:
    """p for errors that are not normally distributed, by Shapiro and Wilk (1965); 1 where nothing varies.

    Args:
        values: L1 … Lk S.
    """
    left = _left(values).ravel()
    varies = float(np.square(left).sum()) > EXACT * float(np.square(values).sum())
    return float(stats.shapiro(left).pvalue) if varies else 1.0


def noncentral(f: float, df: int, residual: int, confidence: float) -> tuple[float, float]:
    """The interval of λ of which this F would be neither too small nor too large: P(F' ≥ f | λ) between the tails."""

    def below(weight: float) -> float:
        return float(stats.ncf.cdf(f, df, residual, weight) if weight else stats.f.cdf(f, df, residual))

    def solved(wanted: float) -> float:
        if below(0.0) <= wanted:
            return 0.0
        end = max(1.0, f * df)
        while below(end) > wanted:
            end *= 2

        def over(weight: float) -> float:
            return below(weight) - wanted

        return float(optimize.root_scalar(over, bracket=(0.0, end)).root)

    return solved((1 + confidence) / 2), solved((1 - confidence) / 2)


def _reach(variance: float, levels: int, df: float, confidence: float) -> float:
    """How far Tukey's interval goes, of a difference with this variance; of two levels it is Student's."""
    if levels == 2:
        return float(stats.t.ppf((1 + confidence) / 2, df)) * float(np.sqrt(variance))
    return float(stats.studentized_range.ppf(confidence, levels, df)) * float(np.sqrt(variance / 2))


def _ranged(difference: float, variance: float, levels: int, df: float) -> float:
    """Tukey's p; NaN where nothing varies."""
    if not variance:
        return float("nan")
    if levels == 2:
        return float(2 * stats.t.sf(abs(difference) / np.sqrt(variance), df))
    return float(stats.studentized_range.sf(abs(difference) / np.sqrt(variance / 2), levels, df))


def _refuse(values: Floats, factors: Sequence[str]) -> None:
    if values.ndim != len(factors) + 1:
        problem = f"values with {values.ndim} axes, for {len(factors)} factors and the seeds"
        raise NetwrightError(problem, f"give {len(factors) + 1} axes, the seeds last")
    for name, levels in zip(factors, values.shape, strict=False):
        if levels < 2:
            raise NetwrightError(f"factor {name} has {levels} level", "give two or more, or leave the factor out")
    if values.shape[-1] < 2:
        raise NetwrightError("one seed leaves nothing to measure effects against", "give two or more: --seeds 3")
    if not np.isfinite(values).all():
        *place, seed = (int(axis[0]) for axis in np.nonzero(~np.isfinite(values)))
        cell = ", ".join(f"{name} {level}" for name, level in zip(factors, place, strict=True))
        fix = "train it as well: in unbalanced data an effect depends on what was left out"
        raise NetwrightError(f"the cell at {cell} has no value for seed {seed}", fix)


def _subsets(axes: Sequence[int]) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(axes, size) for size in range(1, len(axes) + 1)))


def _marginal(values: Floats, axes: tuple[int, ...]) -> Floats:
    """Means over all other axes, which stay with length 1."""
    return values.mean(tuple(axis for axis in range(values.ndim) if axis not in axes), keepdims=True)


def _source(values: Floats, axes: tuple[int, ...], factors: Sequence[str]) -> Source:
    effect = _effect(values, axes)
    df = int(np.prod([values.shape[axis] - 1 for axis in axes]))
    name = TIMES.join(factors[axis] for axis in axes)
    return Source(name, float(np.square(effect).sum()) * values.size / effect.size, df)


def _effect(values: Floats, axes: tuple[int, ...]) -> Floats:
    """What these factors do together beyond what fewer of them do, by their levels."""
    effect = _marginal(values, axes) - values.mean()
    return effect - sum((_effect(values, fewer) for fewer in _subsets(axes)[:-1]), np.zeros(1))


def _tested(source: Source, residual: Source, total: float, n: int, confidence: float) -> Source:
    if residual.squares <= EXACT * total:
        return replace(source, eta=source.squares / total if total else 0.0)
    f = source.mean / residual.mean
    low, high = noncentral(f, source.df, residual.df, confidence)
    value = max(0.0, source.df * (f - 1) / (source.df * (f - 1) + n))
    low, high = low / (low + n), high / (high + n)
    omega = Interval(value, min(value, low), max(value, high), n, "noncentral_f")
    p = float(stats.f.sf(f, source.df, residual.df))
    return replace(source, f=f, p=p, eta=source.squares / total, omega=omega)


def _left(values: Floats) -> Floats:
    """What neither the cell nor the seed explains."""
    return values - values.mean(-1, keepdims=True) - _marginal(values, (values.ndim - 1,)) + values.mean()
