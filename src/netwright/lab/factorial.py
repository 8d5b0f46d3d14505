"""Regular two-level designs: which runs tell several factors apart (Box & Hunter, Technometrics 3, 1961).

The runs of 2^(k-p) are a full factorial in k-p factors; each of the other p is switched as a product of those. Of all
such products those are taken that confound least, in the order of Fries & Hunter (Minimum aberration 2^(k-p) designs,
Technometrics 22, 1980). Without replicates, effects are judged as by Daniel (Technometrics 1, 1959) and Lenth (Quick
and easy analysis of unreplicated factorials, Technometrics 31, 1989).
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from netwright.core.errors import NetwrightError, listed

LETTERS = "ABCDEFGHJKL"  # I stands for the column in which nothing changes
MOST_RUNS = 128
FRACTION = re.compile(r"2\s*(?:\^|\*\*)\s*\(?\s*(\d+)\s*(?:-\s*(\d+)\s*)?\)?")
ROMAN = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")
WORDS = 9  # of a defining relation, on one line
BETWEEN = " × "
OUTLYING = 2.5  # times the first guess of the error: such effects are not taken for noise (Lenth 1989)
MEDIAN_TO_ERROR = 1.5  # the median of |z| is 0.675 standard errors


@dataclass(frozen=True)
class Contrast:
    """A main effect or a two-way interaction, as signs of the runs.

    Attributes:
        factors: one or two of the design's.
        signs: +1 or -1 for each run, in the design's order.
        aliases: other main effects and two-way interactions with the same signs: only their sum can be told.
    """

    factors: tuple[str, ...]
    signs: tuple[int, ...]
    aliases: tuple[str, ...]

    @property
    def name(self) -> str:
        """`flip`, or `flip × ema`."""
        return BETWEEN.join(self.factors)


@dataclass(frozen=True)
class Design:
    """Which factors are on in which runs.

    Sets of factors are numbers whose bit i is factor i. All generators are positive, so that the run with every factor
    on belongs to each fraction.

    Attributes:
        factors: their names; the first k-p are switched freely.
        products: for each of the other p, the set of free factors whose product it is.
    """

    factors: tuple[str, ...]
    products: tuple[int, ...] = ()

    @property
    def free(self) -> int:
        """How many factors are switched freely: k-p."""
        return len(self.factors) - len(self.products)

    @property
    def runs(self) -> int:
        """2^(k-p)."""
        return 1 << self.free

    @property
    def title(self) -> str:
        """`2^(6-2)`, or `2^3`."""
        k, p = len(self.factors), len(self.products)
        return f"2^({k}-{p})" if p else f"2^{k}"

    @cached_property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """+1 where a factor is on in a run, -1 where it is off; the first factor changes fastest. runs k."""
        columns = [self._signs(1 << factor) for factor in range(len(self.factors))]
        return tuple(zip(*columns, strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the runs: the factors that are on, as `flip+ema`, or `none`."""
        return tuple("+".join(self.on(row)) or "none" for row in self.rows)

    def on(self, row: Sequence[int]) -> tuple[str, ...]:
        """The factors that are on in a row."""
        return tuple(factor for factor, sign in zip(self.factors, row, strict=True) if sign > 0)

    @cached_property
    def words(self) -> tuple[int, ...]:
        """Sets of factors whose product is the same in every run, shortest first: the defining relation."""
        words = [0]
        for place, product in enumerate(self.products, start=self.free):
            words += [word ^ product ^ (1 << place) for word in words]
        return tuple(sorted(words[1:], key=lambda word: (word.bit_count(), _letters(word))))

    @property
    def resolution(self) -> int | None:
        """The shortest word's length; None where nothing is confounded."""
        return self.words[0].bit_count() if self.words else None

    @property
    def clear(self) -> str:
        """What its resolution means, in words."""
        if self.resolution is None:
            return "every effect is clear of every other"
        return {
            3: "what a trick does by itself is mixed up with interactions of two others",
            4: "what tricks do by themselves is clear of interactions of two, which are mixed up with one another",
        }.get(self.resolution, "what tricks do by themselves, and interactions of two, are clear of one another")

    @property
    def generators(self) -> tuple[str, ...]:
        """As `E = ABC`, in letters that stand for the factors in their order."""
        places = range(self.free, len(self.factors))
        return tuple(f"{LETTERS[at]} = {_letters(word)}" for at, word in zip(places, self.products, strict=True))

    @property
    def relation(self) -> str:
        """As `I = ABCE = ABDF = CDEF`; empty where nothing is confounded."""
        return " = ".join(["I", *map(_letters, self.words)]) if self.words else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a fraction cannot tell apart, and how it is made, for the terminal."""
        if self.resolution is None:
            return ()
        words = self.relation.split(" = ")
        more = f" = … ({len(words) - WORDS} more)" if len(words) > WORDS else ""
        letters = ", ".join(f"{letter} {name}" for letter, name in zip(LETTERS, self.factors, strict=False))
        return (
            f"{self.title} has resolution {ROMAN[self.resolution]}: {self.clear}",
            f"generators {', '.join(self.generators)}; {' = '.join(words[:WORDS])}{more}; {letters}",
        )

    @cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        """Main effects, then one two-way interaction of each chain of those that cannot be told apart."""
        sets = [1 << factor for factor in range(len(self.factors))]
        sets += [one | other for one, other in combinations(sets, 2)]
        seen: dict[int, list[int]] = {}
        for effect in sets:
            seen.setdefault(min({effect, *(effect ^ word for word in self.words)}), []).append(effect)
        return tuple(self._contrast(effect, others) for effect, *others in seen.values())

    def _contrast(self, effect: int, others: Iterable[int]) -> Contrast:
        return Contrast(self._names(effect), self._signs(effect), tuple(BETWEEN.join(self._names(o)) for o in others))

    def _names(self, members: int) -> tuple[str, ...]:
        return tuple(name for at, name in enumerate(self.factors) if members >> at & 1)

    def _signs(self, members: int) -> tuple[int, ...]:
        """The product of some factors' signs in each run: bit i of a run's number says whether free factor i is on."""
        for place, product in enumerate(self.products, start=self.free):
            if members >> place & 1:
                members ^= product ^ (1 << place)
        return tuple(-1 if (members & ~run).bit_count() % 2 else 1 for run in range(self.runs))

    def to_json(self) -> dict[str, Any]:
        """What ablation.json holds of it."""
        return {
            "title": self.title,
            "runs": self.runs,
            "factors": list(self.factors),
            "generators": list(self.generators),
            "relation": self.relation,
            "resolution": self.resolution,
            "rows": [list(row) for row in self.rows],
        }


def design(factors: Sequence[str], fraction: str = "full") -> Design:
    """The regular design of least aberration for some factors.

    Args:
        factors: their names, two to eleven.
        fraction: "full", or "2^(k-p)" with the k of these factors.

    Raises:
        NetwrightError: too few or too many factors or runs, or a fraction of another number of factors.
    """
    k = len(factors)
    if not 2 <= k <= len(LETTERS):
        fix = f'choose 2 to {len(LETTERS)}, as in --tricks "mixup, ema, schedule"'
        raise NetwrightError(f"a factorial of {k} factor{'s' * (k != 1)}: {listed(factors) or 'none'}", fix)
    return Design(tuple(factors), least_aberration(k, _left_out(fraction, factors)))


def designs(k: int) -> list[str]:
    """The fractions that k factors have: those that tell all main effects apart, in at most 128 runs."""
    every = [0, *(p for p in range(1, k) if 1 << (k - p) > k)]
    there = ((p, 1 << (k - p)) for p in every if 1 << (k - p) <= MOST_RUNS)
    return [f"{f'2^({k}-{p})' if p else 'full'} ({runs} runs)" for p, runs in there]


def _left_out(fraction: str, factors: Sequence[str]) -> int:
    """The p of a fraction as a user writes it."""
    k, text = len(factors), fraction.strip()
    read = FRACTION.fullmatch(text)
    fix = f"for {k} factors there are: {', '.join(designs(k))}"
    if text != "full" and read is None:
        raise NetwrightError(f"cannot read the fraction '{fraction}'", fix)
    asked, p = (int(read[1]), int(read[2] or 0)) if read else (k, 0)
    if asked != k:
        problem = f"{fraction} is for {asked} factors, and there are {k}: {listed(factors)}"
        raise NetwrightError(problem, f"{fix}; or choose {asked} with --tricks")
    if p and (p >= k or 1 << (k - p) <= k):
        raise NetwrightError(f"{fraction} has too few runs to tell {k} factors apart", fix)
    if 1 << (k - p) > MOST_RUNS:
        raise NetwrightError(f"{fraction} of {k} factors is {1 << (k - p)} runs for each seed", fix)
    return p


@cache
def least_aberration(k: int, p: int) -> tuple[int, ...]:
    """The products of the p added factors: the fewest words of three factors, then of four, and so on.

    Every further product only adds words, so a branch that is no better than the best design is left. Free factors may
    be renamed, so the longest product is the first so many of them.
    """
    free = k - p
    products = [word for word in range(1, 1 << free) if word.bit_count() > 1]
    products.sort(key=lambda word: (-word.bit_count(), word))
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []  # each better than the one before

    def grow(start: int, chosen: tuple[int, ...], words: list[int]) -> None:
        lengths = _lengths(words, k)
        if found and lengths >= found[-1][0]:
            return
        if len(chosen) == p:
            found.append((lengths, chosen))
            return
        for at in range(start, len(products)):
            product = products[at]
            if chosen or product == (1 << product.bit_count()) - 1:
                added = product | 1 << (free + len(chosen))
                grow(at + 1, (*chosen, product), words + [word ^ added for word in words])

    grow(0, (), [0])
    return found[-1][1]


def _lengths(words: Sequence[int], k: int) -> tuple[int, ...]:
    """How many words have 3, 4, ... k factors."""
    counts = [0] * (k + 1)
    for word in words:
        counts[word.bit_count()] += 1
    return tuple(counts[3:])


def _letters(word: int) -> str:
    return "".join(letter for at, letter in enumerate(LETTERS) if word >> at & 1)


def half_normal(effects: Mapping[str, float]) -> dict[str, float]:
    """Quantiles of |z| against which sizes of effects are drawn: noise lies on a line through 0 (Daniel 1959).

    Args:
        effects: by name.

    Returns:
        The quantile of each, from the smallest effect to the largest.
    """
    order = sorted(effects, key=lambda name: abs(effects[name]))
    return {name: float(ndtri(0.5 + 0.5 * (at + 0.5) / len(order))) for at, name in enumerate(order)}


@dataclass(frozen=True)
class Lenth:
    """How far effects of nothing reach, judged from the effects themselves, most of which are taken for noise.

    Attributes:
        error: the pseudo standard error of an effect.
        margin: half the width of a confidence interval for one effect.
        simultaneous: the same, so wide that all intervals hold together.
    """

    error: float
    margin: float
    simultaneous: float


def lenth(effects: Iterable[float], *, confidence: float = 0.95) -> Lenth:
    """Lenth's margins of error (1989), with Student's t of a third as many degrees of freedom as there are effects.

    Args:
        effects: contrasts with the same standard error.
        confidence: of the intervals.

    Raises:
        ValueError: no effects.
    """
    sizes = np.abs(np.fromiter(effects, float))
    if not sizes.size:
        raise ValueError("no effects")
    first = MEDIAN_TO_ERROR * float(np.median(sizes))
    error = MEDIAN_TO_ERROR * float(np.median(sizes[sizes < OUTLYING * first])) if first else 0.0
    degrees = sizes.size / 3
    together = math.pow(confidence, 1 / sizes.size)
    margin, simultaneous = (error * float(stdtrit(degrees, (1 + level) / 2)) for level in (confidence, together))
    return Lenth(error, margin, simultaneous)


def two_way_table(means: Mapping[str, float], plan: Design, a: str, b: str) -> tuple[tuple[float, float], ...]:
    """Means over the runs with two factors off or on: rows are `a` off and on, columns `b` off and on.

    Args:
        means: of each run, by its name.
        plan: the design.
        a: a factor.
        b: another.
    """
    first, second = plan.factors.index(a), plan.factors.index(b)
    values = np.array([means[name] for name in plan.names])
    rows = np.array(plan.rows)

    def mean(one: int, other: int) -> float:
        return float(values[(rows[:, first] == one) & (rows[:, second] == other)].mean())

    return (mean(-1, -1), mean(-1, 1)), (mean(1, -1), mean(1, 1))
