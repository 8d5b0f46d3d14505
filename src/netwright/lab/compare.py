"""What paired differences say of each effect: helps, harms, no difference larger than a margin, or not resolved.

Each p covers other seeds and other pictures. Of the effects tested at once Holm's step-down (Scandinavian Journal of
Statistics 6, 1979) names one that is not there in alpha of the studies at most. How all of it is decided, and how
often it errs in simulated studies, is in docs/adr/0019.
"""

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
from netwright.lab._stat_spread import Spread, spread
from netwright.lab._stat_verdict import EQUIVALENT, HARMS, HELPS, NOT_RESOLVED, Verdict, in_words, points
from netwright.lab.power import ALPHA, Test, check, chosen, seeds_needed
from netwright.lab.sign_flips import pictures_p, right_or_wrong, seeds_p
from netwright.records.intervals import Interval

__all__ = ["COVERS", "Verdict", "compare", "difference_interval", "difference_p", "holm", "scalar_interval"]

Floats = NDArray[np.float64]
MARGIN = 0.01
CONFIDENCE = 0.95


def compare(
    differences: Mapping[str, ArrayLike],
    *,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    test: Test = "auto",
    levels: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, Verdict]:
    """A verdict on each effect, from what it changed for each seed and test picture.

    Args:
        differences: S N by name of the effect, above 0 where it helps, each between -1 and 1. S may differ; a seed
            whose row is NaN is missing, and a picture that one of the others lacks is left out.
        margin: what is too small to matter, as 0.01 for one point.
        alpha: share of studies without any effect that may name one.
        test: "sign_flip", "t", or "auto", which decides from numbers of seeds and effects (`power.chosen`).
        levels: what of alpha each effect may spend at this look (`looks.Spending.levels`); None: all, in one look.
        seed: of what is resampled.

    Returns:
        By name, in the order given.

    Raises:
        NetwrightError: there is nothing to compare, an array has no such shape or values, or an option is out of range.
    """
    check(effects=len(differences), alpha=alpha, test=test)
    if not 0 < margin < 1:
        raise NetwrightError(f"the margin is {margin}, and a share of pictures is between 0 and 1", "one point is 0.01")
    parts = {name: _Part.of(name, values) for name, values in differences.items()}
    spend = {name: alpha if levels is None else levels.get(name, 0.0) for name in parts}
    tests = {name: chosen(test, part.seeds, len(parts), spend[name] or alpha) for name, part in parts.items()}
    raw = {name: part.p(tests[name], seed) for name, part in parts.items()}
    within = {name: part.p_within(margin) for name, part in parts.items()}
    p, p_within = (
        dict(zip(parts, holm([_looked(each[name], spend[name], alpha) for name in parts]), strict=True))
        for each in (raw, within)
    )
    plan = {"effects": len(parts), "alpha": alpha, "test": test}
    return {
        name: part.verdict(tests[name], raw[name], p[name], p_within[name], margin=margin, seed=seed, plan=plan)
        for name, part in parts.items()
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
        few = pictures_p(self.values) if right_or_wrong(self.values) else 0.0
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
        found = around(self.spread, float(self.spread.reach(CONFIDENCE)))
        if p <= 1 - CONFIDENCE:
            return found
        return Interval(found.value, min(found.low, 0.0), max(found.high, 0.0), found.n, found.method)

    def over_pictures(self, seed: int) -> Interval:
        """For other pictures, with these seeds."""
        if not self.seeds:
            return Interval(np.nan, np.nan, np.nan, 0, "bca")
        return pictures_interval(self.values, least=self.least, seed=seed, confidence=CONFIDENCE)

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
        self, test: str, raw: float, p: float, p_within: float, *, margin: float, plan: Mapping[str, Any], seed: int
    ) -> Verdict:
        """All of it; the plan is what the power depends on."""
        alpha = plan["alpha"]
        word = NOT_RESOLVED
        if p_within <= alpha:
            word = EQUIVALENT.format(points(margin))
        if p <= alpha:
            word = HELPS if self.effect > 0 else HARMS
        by_seed = self.values.mean(1) if self.seeds else np.zeros(0)
        sd = float(by_seed.std(ddof=1)) if self.seeds > 1 else np.nan
        more, limited = self._limits(word, margin, plan)
        fields: dict[str, Any] = {
            "both": self.both(raw),
            "seeds": scalar_interval(by_seed, seed=seed, confidence=CONFIDENCE),
            "pictures": self.over_pictures(seed),
            "p_raw": raw,
            "p_seeds": self.p_of_seeds(test, seed),
        }
        made = Verdict(
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
            more_seeds=more,
            limited_by=limited,
            words="",
            **fields,
        )
        return in_words(made, margin=margin, effects=plan["effects"])

    def _limits(self, word: str, margin: float, plan: Mapping[str, Any]) -> tuple[int | None, str]:
        """How many more seeds would resolve it, if it is what it seems; and what its interval is wide for."""
        if self.spread is None:
            return None, "seeds"
        variance = float(_of_seeds(self.values))
        if word != NOT_RESOLVED:
            return None, "seeds" if variance >= self.of_pictures else "pictures"
        given = {"sd_seeds": (variance * self.seeds) ** 0.5, "sd_pictures_of_mean": self.of_pictures**0.5, **plan}
        ways = (seeds_needed(self.effect, **given), seeds_needed(self.effect, margin=margin, **given))
        needed = [way for way in ways if way is not None]
        return (max(1, min(needed) - self.seeds), "seeds") if needed else (None, "pictures")


def _looked(p: float, level: float, alpha: float) -> float:
    """p as it counts where only `level` of alpha may be spent at this look."""
    return min(1.0, p * (alpha / level)) if level > 0 else 1.0


def _of_seeds(values: Floats) -> Floats:
    return np.asarray(values.mean(1).var(ddof=1) / len(values))


def _d_z(effect: float, sd: float) -> float:
    """The mean over the seeds' standard deviation; NaN where that is 0."""
    return effect / sd if sd > 0 else np.nan
