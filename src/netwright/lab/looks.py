"""Looking while seeds are added, without finding more than is there; and where more seeds are worth most.

What may be found wrongly is spent as seeds come in (Lan & DeMets, Biometrika 70, 1983), little at first and most at
the end, as O'Brien & Fleming's bounds do (Biometrics 35, 1979). Each look gets what has been added since the look
before, and the looks are planned before anything is measured. So all looks at an effect together find it wrongly in no
more than its share, by the union bound: whatever the looks have to do with one another, and however the data decide
which effect gets more seeds. Bounds for normal increments would be a little wider, but neither pictures that all looks
share nor sign flips have those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import special

from netwright.core.errors import NetwrightError
from netwright.lab._stat_verdict import HARMS, HELPS, Verdict, in_words
from netwright.lab.power import ALPHA, POWER, Test, check, fewest_seeds, power, power_of_equivalence

METHOD = "alpha spending, O'Brien-Fleming type, summed over looks planned ahead"
SOURCE = "Lan & DeMets, Biometrika 70, 1983"
FIRST, EVERY = 4, 2
LOOKS = 6  # or so: of a plan with eleven, the last look would have a fifth of alpha left
HOPE = 0.2  # power at a later look that is worth seeds where pictures seem to limit an effect
MARGIN = 0.01


@dataclass(frozen=True)
class Spending:
    """How much of alpha each look may spend, by number of seeds.

    Attributes:
        most_seeds: that an effect may get; all of alpha is spent there.
        alpha: share of studies without any effect that may name one, over all looks.
        effects: tested at once.
        test: "sign_flip" cannot use less than 2^(1 - S) effects, so looks that could find nothing are left out and
            spend nothing.
        first: seeds at the first look.
        every: seeds between looks; None: 2, or a sixth of the most, so that looks do not take each other's share.
        looks: numbers of seeds at which to look; follows from the rest.
    """

    most_seeds: int
    alpha: float = ALPHA
    effects: int = 1
    test: Test = "auto"
    first: int = FIRST
    every: int | None = None
    looks: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        check(effects=self.effects, alpha=self.alpha, test=self.test)
        every = max(EVERY, self.most_seeds // LOOKS) if self.every is None else self.every
        if self.most_seeds < 2 or self.first < 2 or every < 1:
            problem = f"looks from {self.first} to {self.most_seeds} seeds, {every} apart, cannot be planned"
            raise NetwrightError(problem, "plan for at least 2 seeds, and at least 1 between looks")
        places = sorted({*range(self.first, self.most_seeds, every), self.most_seeds})
        object.__setattr__(self, "looks", self._useful(places))

    def _useful(self, places: list[int]) -> tuple[int, ...]:
        """Those at which something could be found; the last is always one, since nothing is spent after it."""
        kept, spent = list[int](), 0.0
        for seeds in places:
            enough = self.test != "sign_flip" or seeds >= fewest_seeds(self.effects, self.spent(seeds) - spent)
            if enough or seeds == self.most_seeds:
                kept.append(seeds)
                spent = self.spent(seeds)
        return tuple(kept)

    def spent(self, seeds: int) -> float:
        """What may have been spent by then: 2 - 2 Φ(z / √t), t of the most seeds, Φ(z) = 1 - alpha / 2."""
        share = min(1.0, max(seeds, 1e-9) / self.most_seeds)
        return float(2 * special.ndtr(special.ndtri(self.alpha / 2) / share**0.5))

    def level(self, seeds: int, spent: float | None = None) -> float:
        """What an effect with so many seeds may spend at this look; 0 where no look was planned.

        Args:
            seeds: of the effect.
            spent: what went before; None takes it from the plan, as it has to be for the guarantee to hold.
        """
        if seeds not in self.looks:
            return 0.0
        before = [place for place in self.looks if place < seeds]
        spent = (self.spent(before[-1]) if before else 0.0) if spent is None else spent
        return max(0.0, self.spent(seeds) - spent)

    def levels(self, seeds: Mapping[str, int]) -> dict[str, float]:
        """For `compare`: by name of the effect, from its number of seeds."""
        return {name: self.level(count) for name, count in seeds.items()}

    def power(self, effect: float, margin: float, seeds: int, *, sd_seeds: float, sd_pictures_of_mean: float) -> float:
        """How often a look with so many seeds would show a difference, or that there is none, whichever is likelier."""
        alpha = self.level(seeds)
        if not alpha:
            return 0.0
        given: dict[str, Any] = {"seeds": seeds, "effects": self.effects, "alpha": alpha}
        given |= {"sd_seeds": sd_seeds, "sd_pictures_of_mean": sd_pictures_of_mean}
        return max(power(effect, test=self.test, **given), power_of_equivalence(effect, margin, **given))

    def after(self, seeds: int) -> int | None:
        """The next look; None after the last."""
        return next((place for place in self.looks if place > seeds), None)


def next_seeds(
    verdicts: Mapping[str, Verdict],
    costs: Mapping[str, float],
    *,
    spending: Spending,
    budget: float = np.inf,
    margin: float = MARGIN,
) -> dict[str, int]:
    """How many seeds to add to which effects before looking again.

    Effects that are resolved get none, nor do those that pictures limit so far that no look would show them in one of
    five studies. Of the others, those come first whose
    predicted power rises most for each second, to any later look, if they are what they seem; each goes to its next
    planned look.

    Args:
        verdicts: of the last look.
        costs: seconds that one more seed takes, by effect.
        spending: the plan.
        budget: seconds that may be spent before the next look.
        margin: as of `compare`.

    Returns:
        Only effects that get any. Empty: there is nothing left that seeds would resolve, or no money.

    Raises:
        NetwrightError: an effect has no cost.
    """
    missing = [name for name in verdicts if not costs.get(name, 0.0) > 0]
    if missing:
        raise NetwrightError(
            f"what a seed of '{missing[0]}' costs is not known", "give seconds above 0 for each effect"
        )
    gains = {
        name: _gain(found, costs[name], spending, margin)
        for name, found in verdicts.items()
        if _open(found, spending, margin)
    }
    added, left = dict[str, int](), budget
    for name in sorted(gains, key=lambda name: -gains[name]):
        place = spending.after(verdicts[name].n)
        more = 0 if place is None else place - verdicts[name].n
        if more and more * costs[name] <= left:
            added[name] = more
            left -= more * costs[name]
    return added


def kept(before: Mapping[str, Verdict], now: Mapping[str, Verdict], *, margin: float = MARGIN) -> dict[str, Verdict]:
    """The newest verdicts, with what an earlier look resolved and this one leaves open.

    Arms that effects share get seeds for each of them, so that an effect may be looked at again after it was resolved,
    with a level that finds it no more. What was found stays found: over all looks the least p of each effect, over
    what that look could spend, is below x in at most x of studies without it (the union bound), and Holm over those
    names all that Holm named at any look.

    Verdict, p, p_equivalence and test are then those of the earlier look, and `resolved_at` and the words say with how
    many seeds; effect, intervals and all else are the newest. Nothing is kept that the newest effect denies: one of
    the other sign, or as large as the margin where there was to be no difference larger than that.

    Args:
        before: of the look before, as this function gave it; {} at the first.
        now: of this look, by `compare`.
        margin: as of `compare`.
    """
    return {
        name: _kept(before[name], found, margin, len(now)) if name in before else found for name, found in now.items()
    }


def _kept(before: Verdict, now: Verdict, margin: float, effects: int) -> Verdict:
    different = before.verdict in (HELPS, HARMS)
    agrees = before.effect * now.effect > 0 if different else abs(now.effect) < margin
    stronger = now.verdict in (HELPS, HARMS) or (now.resolved and not different)
    if not before.resolved or stronger or not agrees:
        return now
    held = replace(
        now,
        verdict=before.verdict,
        p=before.p,
        p_equivalence=min(before.p_equivalence, now.p_equivalence),
        test=before.test,
        more_seeds=None,
        resolved_at=before.resolved_at or (before.n if before.n != now.n else None),
    )
    return in_words(held, margin=margin, effects=effects)


def _open(found: Verdict, spending: Spending, margin: float) -> bool:
    """Whether a later look may resolve it; of few seeds, that pictures limit it is a guess, and some hope is enough."""
    if found.resolved or spending.after(found.n) is None:
        return False
    if found.limited_by != "pictures":
        return True
    return any(_predicted(found, look, spending, margin) >= HOPE for look in spending.looks if look > found.n)


def _gain(found: Verdict, cost: float, spending: Spending, margin: float) -> float:
    """The steepest rise of power for a second; of one with less than two seeds nothing is known, and it comes first."""
    if found.n < 2:
        return float("inf")
    now = _predicted(found, found.n, spending, margin)
    later = [place for place in spending.looks if place > found.n]
    return max((_predicted(found, place, spending, margin) - now) / ((place - found.n) * cost) for place in later)


def _predicted(found: Verdict, seeds: int, spending: Spending, margin: float) -> float:
    """The power of a look; where hardly a picture differs, only `more_seeds` knows of it."""
    sds = {"sd_seeds": found.sd_seeds, "sd_pictures_of_mean": found.sd_pictures_of_mean}
    seen = spending.power(found.effect, margin, seeds, **sds)
    return seen if found.more_seeds is None or seeds < found.n + found.more_seeds else max(seen, POWER)
