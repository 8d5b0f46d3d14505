"""What paired differences say of each effect: helps, harms, no difference larger than a margin, or not resolved.

Each p covers other seeds and other pictures. Of the effects tested at once Holm's step-down (Scandinavian Journal of
Statistics 6, 1979) names one that is not there in alpha of the studies at most. How all of it is decided, and how
often it errs in simulated studies, is in docs/adr/0019.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netwright.core.errors import NetwrightError
from netwright.lab._stat_intervals import (
    COVERS,
    around,
    difference_interval,
    known,
    least_variance,
    pictures_interval,
    scalar_interval,
)
from netwright.lab._stat_spread import Spread, spread, tail
from netwright.lab._stat_verdict import EQUIVALENT, HARMS, HELPS, NOT_RESOLVED, POINTS, Verdict, in_words, points
from netwright.lab.looks import Spending
from netwright.lab.power import ALPHA, POWER, Test, check, chosen, seeds_needed
from netwright.lab.sign_flips import pictures_p, seeds_p, steps
from netwright.records.intervals import Interval

__all__ = ["COVERS", "Verdict", "compare", "difference_interval", "difference_p", "holm", "scalar_interval"]

Floats = NDArray[np.float64]
MARGIN = 0.01
CONFIDENCE = 0.95
MOST = 10_000  # seeds that are thought of


def compare(
    differences: Mapping[str, ArrayLike],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    test: Test = "auto",
    levels: Mapping[str, float] | None = None,
    spending: Spending | None = None,
    seed: int = 0,
    unit: str = POINTS,
) -> dict[str, Verdict]:
    """A verdict on each effect, from what it changed for each seed and test picture.

    Args:
        differences: S N by name of the effect, above 0 where it helps, each between -1 and 1. S may differ; a seed
            whose row is NaN is missing, and a picture that one of the others lacks is left out.
        margin: what is too small to matter, as 0.01 for one point.
        alpha: share of studies without any effect that may name one.
        test: "sign_flip", "t", or "auto", which decides from numbers of seeds and effects (`power.chosen`).
        levels: what of alpha each effect may spend at this look (`looks.Spending.levels`); None: what `spending`
            gives for its number of seeds, or all, in one look.
        spending: the looks that are planned; `more_seeds` then leads to one of them.
        seed: of what is resampled.
        unit: what a hundredth is called.

    Returns:
        By name, in the order given.

    Raises:
        NetwrightError: there is nothing to compare, an array has no such shape or values, or an option is out of range.
    """
    check(effects=len(differences), alpha=alpha, test=test)
    if not 0 < margin < 1:
        raise NetwrightError(f"the margin is {margin}, and a share of pictures is between 0 and 1", "one point is 0.01")
    parts = {name: _Part.of(name, values) for name, values in differences.items()}
    if levels is None and spending is not None:
        levels = spending.levels({name: part.seeds for name, part in parts.items()})
    spend = {name: alpha if levels is None else levels.get(name, 0.0) for name in parts}
    tests = {name: chosen(test, part.seeds, len(parts), spend[name] or alpha) for name, part in parts.items()}
    raw = {name: part.p(tests[name], seed) for name, part in parts.items()}
    within = {name: part.p_within(margin) for name, part in parts.items()}
    p, p_within = (
        dict(zip(parts, holm([_looked(each[name], spend[name], alpha) for name in parts]), strict=True))
        for each in (raw, within)
    )
    plan = {"effects": len(parts), "alpha": alpha, "test": test}
    made = {
        name: part.verdict(
            tests[name], raw[name], p[name], p_within[name], margin=margin, seed=seed, alpha=alpha, unit=unit
        )
        for name, part in parts.items()
    }
    advised = {name: parts[name].advised(each, margin, plan, spending) for name, each in made.items()}
    return {
        name: in_words(replace(each, spent=None if levels is None else spend[name]), margin=margin, effects=len(parts))
        for name, each in advised.items()
    }


def difference_p(values: ArrayLike, *, test: Literal["sign_flip", "t"] = "t", seed: int = 0) -> float:
    """Two-sided p of no difference, for other seeds and other pictures, as `compare` finds it before Holm. S N.

    Raises:
        NetwrightError: the array has no such shape or values.
    """
    return _Part.of("this", values).p(test, seed)


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted for being tested together: the smallest times their number, the next times one less, never falling."""
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted.tolist()


@dataclass(frozen=True, eq=False)
class _Part:
    """One effect's differences, and what they owe to seeds and pictures.

    Attributes:
        name: of the effect.
        values: S N, without what is missing.
        spread: of their mean; None for fewer than two seeds.
        least: the least variance of the mean.
    """

    name: str
    values: Floats
    spread: Spread | None
    least: float

    @classmethod
    def of(cls, name: str, values: ArrayLike) -> "_Part":
        """Checked and taken apart."""
        given = np.asarray(values, np.float64)
        if given.ndim != 2 or not given.shape[1]:
            problem = f"the differences of '{name}' have shape {given.shape}, and seeds x pictures are compared"
            raise NetwrightError(problem, "give an array of two dimensions, with at least one picture")
        held = known(given)
        if held.shape[0] and not held.shape[1]:
            raise NetwrightError(
                f"no picture of '{name}' was seen by all seeds", "evaluate all runs on the same pictures"
            )
        if held.size and not np.abs(held).max() <= 1:
            problem = f"the differences of '{name}' are not all between -1 and 1"
            raise NetwrightError(problem, "compare accuracies here; `difference_interval` is for losses")
        least = least_variance(held)
        return cls(name, held, spread(held).reaching(least) if len(held) > 1 else None, least)

    @property
    def seeds(self) -> int:
        """S."""
        return len(self.values)

    def p(self, test: str, seed: int) -> float:
        """Two-sided, of no effect. All that could be in doubt has to be clear: seeds, pictures, and few of either."""
        if self.spread is None:
            return 1.0
        flips = seeds_p(self.spread.by_seed, self.spread.of_pictures, seed=seed) if test == "sign_flip" else 0.0
        few = pictures_p(self.values) if steps(self.values) else 0.0
        return max(float(self.spread.p()), float(flips), few)

    def p_of_seeds(self, test: str, seed: int) -> float:
        """Two-sided, of no effect on these pictures."""
        if self.spread is None:
            return 1.0
        if test == "sign_flip":
            return float(seeds_p(self.spread.by_seed, seed=seed))
        alone = replace(self.spread, of_seeds=_of_seeds(self.values), of_pictures=np.zeros(()))
        return float(alone.p())

    def p_within(self, margin: float) -> float:
        """Of an effect as large as the margin: the larger of two one-sided tests (Schuirmann 1987)."""
        if self.spread is None:
            return 1.0
        return max(float(self.spread.p_above(-margin)), float(self.spread.p_below(margin)))

    def both(self, p: float) -> Interval:
        """For other seeds and other pictures; it holds 0 wherever the test cannot exclude it."""
        if self.spread is None:
            return Interval(self.effect, np.nan, np.nan, self.values.shape[1], "two_way")
        found = _possible(around(self.spread, float(self.spread.reach(CONFIDENCE))))
        if p <= 1 - CONFIDENCE:
            return found
        return replace(found, low=min(found.low, 0.0), high=max(found.high, 0.0))

    def over_pictures(self, seed: int) -> Interval:
        """For other pictures, with these seeds."""
        if not self.seeds:
            return Interval(np.nan, np.nan, np.nan, 0, "bca")
        return _possible(pictures_interval(self.values, least=self.least, seed=seed, confidence=CONFIDENCE))

    @property
    def of_pictures(self) -> float:
        """Variance that no more seeds would take off: of pictures, or what is left where hardly any differ."""
        if self.spread is None:
            return np.nan
        return max(float(self.spread.of_pictures), self.least - float(_of_seeds(self.values)))

    @property
    def effect(self) -> float:
        """The mean over seeds and pictures; NaN without any."""
        return float(self.values.mean()) if self.seeds else np.nan

    def verdict(
        self, test: str, raw: float, p: float, p_within: float, *, margin: float, alpha: float, seed: int, unit: str
    ) -> Verdict:
        """All that was found; what would resolve it comes with `advised`."""
        word = NOT_RESOLVED
        if p_within <= alpha:
            word = EQUIVALENT.format(points(margin, unit))
        if p <= alpha:
            word = HELPS if self.effect > 0 else HARMS
        by_seed = self.values.mean(1) if self.seeds else np.zeros(0)
        sd = float(by_seed.std(ddof=1)) if self.seeds > 1 else np.nan
        fields: dict[str, Any] = {
            "both": self.both(raw),
            "seeds": _possible(scalar_interval(by_seed, seed=seed, confidence=CONFIDENCE)),
            "pictures": self.over_pictures(seed),
            "p_raw": raw,
            "p_seeds": self.p_of_seeds(test, seed),
        }
        return Verdict(
            name=self.name,
            verdict=word,
            effect=self.effect,
            p=p,
            p_equivalence=p_within,
            test=test,
            n=self.seeds,
            by_seed=tuple(by_seed.tolist()),
            d_z=_d_z(self.effect, sd),
            same_sign=float(np.mean(np.sign(by_seed) == np.sign(self.effect))) if self.seeds else np.nan,
            sd_seeds=sd,
            sd_pictures_of_mean=self.of_pictures**0.5,
            more_seeds=None,
            limited_by="seeds",
            words="",
            unit=unit,
            **fields,
        )

    def advised(self, made: Verdict, margin: float, plan: Mapping[str, Any], spending: Spending | None) -> Verdict:
        """With how many more seeds would resolve it, if it is what it seems; and what its interval is wide for."""
        if self.spread is None:
            return made
        variance = float(_of_seeds(self.values))
        if made.resolved:
            return replace(made, limited_by="seeds" if variance >= self.of_pictures else "pictures")
        if self.least > variance + float(self.spread.of_pictures):
            ever, needed = self._going_on(margin, plan, spending)
        else:
            ever, needed = self._likely(margin, plan, spending)
        more = None if needed is None else max(1, needed - self.seeds)
        return replace(made, more_seeds=more, limited_by="seeds" if ever else "pictures")

    def _likely(self, margin: float, plan: Mapping[str, Any], spending: Spending | None) -> tuple[bool, int | None]:
        """Whether any number of seeds would resolve it in 4 of 5 studies, and which number, or which look."""
        sds = {
            "sd_seeds": (float(_of_seeds(self.values)) * self.seeds) ** 0.5,
            "sd_pictures_of_mean": self.of_pictures**0.5,
        }
        ways = (seeds_needed(self.effect, **sds, **plan), seeds_needed(self.effect, margin=margin, **sds, **plan))
        needed = [way for way in ways if way is not None]
        if spending is None or not needed:
            return bool(needed), min(needed, default=None)
        later = (look for look in spending.looks if look > self.seeds)
        return True, next((look for look in later if spending.power(self.effect, margin, look, **sds) >= POWER), None)

    def _going_on(self, margin: float, plan: Mapping[str, Any], spending: Spending | None) -> tuple[bool, int | None]:
        """The same where hardly a picture differs: p itself, if further seeds are like these."""
        few, off = pictures_p(self.values), abs(self.effect)
        level, variance = plan["alpha"] / plan["effects"], float(_of_seeds(self.values)) * self.seeds
        pictures = float(self.spread.of_pictures) if self.spread else 0.0

        def p(seeds: int) -> float:
            of_seeds = max(variance / seeds, self.least - pictures)
            sides = (tail(each, of_seeds, pictures, seeds - 1) for each in (margin - off, off))
            within, beyond = map(float, sides)
            return min(within, max(2 * beyond, few))

        if p(MOST) > level:
            return False, None
        if spending is None:
            places = range(self.seeds + 1, MOST + 1)
            return True, places[bisect_left(places, True, key=lambda seeds: p(seeds) <= level)]
        later = (look for look in spending.looks if look > self.seeds)
        needed = next((look for look in later if p(look) <= spending.level(look) / spending.effects), None)
        return needed is not None, needed


def _possible(found: Interval) -> Interval:
    """Without what no difference of shares can be."""
    low, high = (float(np.clip(end, -1.0, 1.0)) for end in (found.low, found.high))
    return replace(found, low=low, high=high)


def _looked(p: float, level: float, alpha: float) -> float:
    """p as it counts where only `level` of alpha may be spent at this look."""
    return min(1.0, p * (alpha / level)) if level > 0 else 1.0


def _of_seeds(values: Floats) -> Floats:
    return np.asarray(values.mean(1).var(ddof=1) / len(values))


def _d_z(effect: float, sd: float) -> float:
    """The mean over the seeds' standard deviation; NaN where that is 0."""
    return effect / sd if sd > 0 else np.nan
