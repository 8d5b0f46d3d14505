"""How often a plan would resolve an effect of a given size, and how many seeds that takes.

The case is always this: `effects` tested at once, of which one is there and the others are not. Holm then asks of the
one that its p is at most alpha / effects; where several are there, the later ones are asked for less, and power is
higher. Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988; Holm, Scandinavian Journal of Statistics
6, 1979.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from scipy.stats import qmc

from netwright.core.errors import NetwrightError, unknown
from netwright.lab._stat_spread import mixture, reach, tail
from netwright.lab.sign_flips import seeds_p

Floats = NDArray[np.float64]
Test = Literal["auto", "sign_flip", "t"]
TESTS = ("auto", "sign_flip", "t")
ALPHA, POWER = 0.05, 0.8
ROOM = 8  # signs are flipped where the least p they can give is this often below what is asked for
ENUMERATED = 10  # seeds; with more, flips find what Student's t finds
EXACT = 1e-9  # what rounding may add to a p
DRAWS = 10  # 2^10 quasi-random studies
NODES = 60
SEARCHED = 40  # seeds above the normal approximation's number
# Before any run nothing is known of an ablation; these are what is usual, and no more.
LUCK = 0.007  # of a seed with a whole network, as standard deviation of paired differences on endless pictures
DIFFER = 0.15  # the share of pictures about which two single networks disagree
SHARED = 0.015  # the share that differs whatever the seed; five tricks on 385 digits left 0.5 % at most


def power(
    effect: float,
    *,
    seeds: int,
    sd_seeds: float,
    sd_pictures_of_mean: float,
    effects: int = 1,
    alpha: float = ALPHA,
    test: Test = "auto",
) -> float:
    """The share of studies that would say `helps` or `harms`, where one of `effects` is there and the others are not.

    Args:
        effect: the true mean difference.
        seeds: paired seeds. One tells nothing of another: 0.
        sd_seeds: standard deviation of the seeds' mean differences, on the same pictures.
        sd_pictures_of_mean: standard error that the pictures leave, with endless seeds.
        effects: tested at once, with Holm's correction.
        alpha: share of studies without any effect that may name one.
        test: "sign_flip", "t", or "auto" as `chosen` does.

    Returns:
        From 0 to 1: by quadrature for "t", from 1024 quasi-random studies for "sign_flip".

    Raises:
        NetwrightError: a number is out of range, or there is no such test.
    """
    check(effects=effects, alpha=alpha, test=test)
    study = Study(sd_seeds**2, sd_pictures_of_mean**2, seeds, alpha / effects)
    if seeds < 2:
        return 0.0
    return study.found(effect, flips=_enumerated(test, seeds, effects, alpha))


def power_of_equivalence(
    effect: float,
    margin: float,
    *,
    seeds: int,
    sd_seeds: float,
    sd_pictures_of_mean: float,
    effects: int = 1,
    alpha: float = ALPHA,
) -> float:
    """The share of studies that would show the effect to be smaller than a margin (two one-sided tests).

    Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987. Arguments as of `power`.
    """
    if seeds < 2:
        return 0.0
    study = Study(sd_seeds**2, sd_pictures_of_mean**2, seeds, alpha / effects)
    return study.within(effect, margin)


def seeds_needed(
    effect: float,
    *,
    sd_seeds: float,
    sd_pictures_of_mean: float,
    effects: int = 1,
    alpha: float = ALPHA,
    test: Test = "auto",
    power: float = POWER,
    margin: float | None = None,
) -> int | None:
    """The fewest seeds with which an effect would be resolved; None if pictures limit, with endless seeds too.

    Args:
        effect: the true mean difference.
        sd_seeds: as in `power`.
        sd_pictures_of_mean: as in `power`.
        effects: tested at once.
        alpha: as in `power`.
        test: as in `power`.
        power: how often it should be resolved.
        margin: None asks for a difference to be shown; a margin, for it to be shown to be smaller than that.
    """
    check(effects=effects, alpha=alpha, test=test)
    distance, level = (abs(effect), alpha / effects / 2) if margin is None else (margin - abs(effect), alpha / effects)
    # Of an effect within a margin on both sides either may fail; where it is at 0, both as often.
    missed = 1 - power if margin is None or effect else (1 - power) / 2
    left = (distance / -(special.ndtri(level) + special.ndtri(missed))) ** 2 - sd_pictures_of_mean**2
    if distance <= 0 or left <= 0:
        return None
    start = max(2, int(np.ceil(sd_seeds**2 / left)), fewest_seeds(effects, alpha) if test == "sign_flip" else 2)
    for seeds in range(start, start + SEARCHED):
        study = Study(sd_seeds**2, sd_pictures_of_mean**2, seeds, alpha / effects)
        flips = _enumerated(test, seeds, effects, alpha)
        if (study.found(effect, flips=flips) if margin is None else study.within(effect, margin)) >= power:
            return seeds
    return start + SEARCHED


def smallest_effect(
    *,
    seeds: int,
    sd_seeds: float,
    sd_pictures_of_mean: float,
    effects: int = 1,
    alpha: float = ALPHA,
    test: Test = "auto",
    power: float = POWER,
) -> float:
    """The effect that so many seeds would resolve with this power; infinite where no effect is large enough.

    Arguments as of `power`. Sign flips of too few seeds cannot give a p that Holm accepts (`fewest_seeds`).
    """
    check(effects=effects, alpha=alpha, test=test)
    flips = _enumerated(test, seeds, effects, alpha)
    if seeds < 2 or (flips and seeds < fewest_seeds(effects, alpha)):
        return float("inf")
    study = Study(sd_seeds**2, sd_pictures_of_mean**2, seeds, alpha / effects)
    error = float(np.sqrt(study.of_seeds + study.pictures))
    critical = None if flips else study.critical()
    if error == 0:
        return 0.0

    def lacking(effect: float) -> float:
        if critical is not None:
            return study.shown(effect, critical) - power
        return study.found(effect, flips=True) - power

    widest = 4.0 * error
    while lacking(widest) < 0:
        widest *= 2
    return optimize.root_scalar(lacking, bracket=(0.0, widest), xtol=2e-3 * error).root


@dataclass(frozen=True)
class Foreseen:
    """What an effect's mean is guessed to owe to seeds and pictures, for `power` and the functions beside it."""

    sd_seeds: float
    sd_pictures_of_mean: float


def foreseen_error(
    pictures: int,
    *,
    weights: Sequence[float] = (1.0, -1.0),
    luck: float = LUCK,
    differ: float = DIFFER,
    shared: float = SHARED,
) -> Foreseen:
    """What to reckon with before any run.

    Two single networks disagree about many pictures, and most of that is luck which goes with the seed: the mean over
    endless seeds keeps only pictures that an arm changes whatever the seed. So disagreement is no error of pictures;
    what seeds vary by has differ / N as part of its variance.

    Args:
        pictures: N, on which runs are measured.
        weights: of the runs that the effect is a sum of. The seeds' part falls with the sum of their squares: with 8
            runs times ± 1/4 it is half that of two runs. What a trick makes of a picture stays.
        luck: standard deviation of paired differences between seeds, on pictures without end.
        differ: the share of pictures about which two single runs disagree.
        shared: the share about which they would with any seed.
    """
    seeds = (luck**2 + differ / pictures) * sum(weight**2 for weight in weights) / 2
    return Foreseen(float(seeds**0.5), float((shared / pictures) ** 0.5))


def foreseen_effect(
    pictures: int,
    *,
    seeds: int,
    weights: Sequence[float] = (1.0, -1.0),
    effects: int = 1,
    alpha: float = ALPHA,
    test: Test = "auto",
) -> float | None:
    """The effect that a plan should resolve in 4 of 5 studies, by `foreseen_error`; None where none is large enough.

    Arguments as of `foreseen_error` and `power`.
    """
    given = asdict(foreseen_error(pictures, weights=weights))
    found = smallest_effect(seeds=seeds, effects=effects, alpha=alpha, test=test, **given)
    return found if np.isfinite(found) and found <= 1 else None


def fewest_seeds(effects: int = 1, alpha: float = ALPHA) -> int:
    """The fewest seeds whose flipped signs can give a p that Holm accepts: 2^(1 - S) effects ≤ alpha."""
    return 1 + max(0, int(np.ceil(np.log2(effects / alpha) - 1e-9)))


def chosen(test: Test, seeds: int, effects: int, alpha: float = ALPHA) -> Literal["sign_flip", "t"]:
    """Which test "auto" stands for: decided from numbers of seeds and effects, never from what was measured.

    Sign flips where the least p they can give leaves room below what Holm asks for: at the least p itself each seed
    has to agree and pictures may leave no doubt, and with 6 effects and 8 seeds that finds two thirds of what
    Student's t finds.
    """
    if test != "auto":
        return test
    return "sign_flip" if seeds >= fewest_seeds(effects, alpha / ROOM) else "t"


def check(*, effects: int, alpha: float, test: str) -> None:
    """What tests and plans ask of their numbers.

    Raises:
        NetwrightError: one cannot be.
    """
    if test not in TESTS:
        raise unknown("test", test, TESTS)
    if not 0 < alpha < 1:
        raise NetwrightError(f"alpha is {alpha}, and a share of studies is between 0 and 1", "leave it at 0.05")
    if effects < 1:
        raise NetwrightError(f"{effects} effects cannot be tested", "compare at least one arm with the baseline")


@dataclass(frozen=True)
class Study:
    """What a study of so many seeds is taken to be: normal effects of seeds and of pictures.

    Attributes:
        variance: of the seeds' means on the same pictures.
        pictures: variance of the mean that pictures leave.
        seeds: S, at least 2.
        level: what p must be at most.
    """

    variance: float
    pictures: float
    seeds: int
    level: float

    @property
    def of_seeds(self) -> float:
        """Variance of the mean that seeds leave."""
        return self.variance / self.seeds

    def _estimates(self) -> tuple[Floats, Floats]:
        """What the study may find seeds to leave, and how often."""
        scales, weights = mixture(self.seeds - 1, NODES)
        return self.of_seeds / scales, weights

    def critical(self, sides: int = 2) -> Floats:
        """How far the mean has to be from 0, for each of what the study may find. NODES."""
        return reach(self._estimates()[0], self.pictures, self.seeds - 1, self.level / sides)

    def shown(self, effect: float, critical: Floats) -> float:
        """How often the mean is as far as that, on either side."""
        error = np.sqrt(self.of_seeds + self.pictures)
        if error == 0:
            return float(effect != 0)
        both = special.ndtr((effect - critical) / error) + special.ndtr((-effect - critical) / error)
        return float(both @ self._estimates()[1])

    def within(self, effect: float, margin: float) -> float:
        """How often the mean is that far inside of both ends of the margin."""
        error = np.sqrt(self.of_seeds + self.pictures)
        if error == 0:
            return float(abs(effect) < margin)
        inside = np.maximum(0.0, margin - self.critical(1))
        both = special.ndtr((inside - effect) / error) - special.ndtr((-inside - effect) / error)
        return float(both @ self._estimates()[1])

    def found(self, effect: float, *, flips: bool) -> float:
        """How often p is small enough, by flips or by Student's t."""
        if not flips:
            return self.shown(effect, self.critical())
        return float(np.mean(self._flipped(effect) <= self.level * (1 + EXACT)))

    def _flipped(self, effect: float) -> Floats:
        """p of quasi-random studies, by flips where Student's t agrees. 2^DRAWS."""
        drawn = _normal(self.seeds)
        shared = effect + drawn[:, -1:] * np.sqrt(self.pictures)
        by_seed = shared + drawn[:, :-1] * np.sqrt(self.variance)
        found = by_seed.var(1, ddof=1) / self.seeds
        by_t = 2 * tail(np.abs(by_seed.mean(1)), found, self.pictures, self.seeds - 1)
        return np.maximum(seeds_p(by_seed, self.pictures), by_t)


def _enumerated(test: Test, seeds: int, effects: int, alpha: float) -> bool:
    """Whether flips have to be gone through: those of many seeds find what Student's t finds."""
    many = seeds > max(ENUMERATED, fewest_seeds(effects, alpha / ROOM))
    return chosen(test, seeds, effects, alpha) == "sign_flip" and not many


@lru_cache(maxsize=32)
def _normal(seeds: int) -> Floats:
    """Independent normal numbers, spread evenly (Sobol). 2^DRAWS, seeds + 1."""
    return special.ndtri(qmc.Sobol(seeds + 1, rng=np.random.default_rng(0)).random_base2(DRAWS))
