"""Sides that differ: in the share of each class, and in the size, shape, brightness and contrast of their pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import Finding
from netwright.report.words import split_name

Values = NDArray[np.float64]
LEAST_DISTANCE, LEAST_SHARE, SURE = 0.2, 0.1, 0.01


@dataclass(frozen=True)
class Measure:
    """A number for each picture.

    Attributes:
        name: what it is called.
        of: the numbers from rows of FACT.
        tolerance: a difference that nobody would call one.
        said: how to say that a picture is over some value.
        shown: the value as it is shown, from the number.
    """

    name: str
    of: Callable[[NDArray[np.void]], Values]
    tolerance: float
    said: str
    shown: Callable[[float], float] = float


def _log_size(facts: NDArray[np.void]) -> Values:
    return np.log2(facts["width"].astype(float) * facts["height"]) / 2


def _log_aspect(facts: NDArray[np.void]) -> Values:
    return np.log2(facts["width"].astype(float) / facts["height"])


FIVE_PERCENT = float(np.log2(1.05))
MEASURES = (
    Measure("size", _log_size, FIVE_PERCENT, "larger than {0:.0f} × {0:.0f} px", lambda log: 2**log),
    Measure("aspect", _log_aspect, FIVE_PERCENT, "wider than {:.2f} of the height", lambda log: 2**log),
    Measure("brightness", lambda facts: facts["brightness"].astype(float), 0.02, "mean grey over {:.2f}"),
    Measure("contrast", lambda facts: facts["contrast"].astype(float), 0.02, "spread of greys over {:.2f}"),
)


@dataclass(frozen=True)
class Comparison:
    """One measure on two sides.

    Attributes:
        measure: which one.
        at: the value at which the sides differ most.
        shares: of the pictures of each side that are over it.
        p: how often chance alone would give shares that differ as much, were there only this one comparison.
    """

    measure: Measure
    at: float
    shares: tuple[float, float]
    p: float

    @property
    def distance(self) -> float:
        """From 0, the same, to 1, nothing in common."""
        return abs(self.shares[0] - self.shares[1])

    def __str__(self) -> str:
        said = self.measure.said.format(self.measure.shown(self.at))
        return f"{said}: {self.shares[0]:.0%} and {self.shares[1]:.0%}"


def shifts(subject: Subject) -> list[Finding]:
    """Measures by which two sides can be told apart, judged by how much and not only by how surely."""
    pairs = list(combinations(subject.sides, 2))
    tests = len(pairs) * len(MEASURES)
    found: list[Finding] = []
    for sides in pairs:
        facts = [subject.facts[subject.sides[side]] for side in sides]
        made = [compared(measure, *map(measure.of, facts)) for measure in MEASURES]
        clear = [each for each in made if each.distance >= LEAST_DISTANCE and each.p * tests < SURE]
        found += [_shifted(sides, clear, tests)] if clear else []
    return found


def class_shares(subject: Subject) -> list[Finding]:
    """Classes that make up another share of one side than of another."""
    found: list[Finding] = []
    if subject.several_labels:
        return found
    pairs = list(combinations(subject.per_class, 2))
    for one, other in pairs:
        table = np.stack([subject.per_class[one], subject.per_class[other]])
        table = table[:, table.any(0)]
        if table.shape[1] < 2 or not table.any(1).all():
            continue
        shares = table / table.sum(1, keepdims=True)
        moved = float(np.abs(shares[0] - shares[1]).sum() / 2)
        if moved >= LEAST_SHARE and homogeneity(table) * len(pairs) < SURE:
            found.append(_other_shares(subject, one, other, moved))
    return found


def compared(measure: Measure, one: Values, other: Values) -> Comparison:
    """Two samples of a measure: where their distribution functions differ most (Kolmogorov and Smirnov).

    Differences within the measure's tolerance do not count, so the distance is at most theirs. The probability is that
    of large samples; ties and tolerance make it too large, never too small.
    """
    forth, back = _apart(one, other, measure.tolerance), _apart(other, one, measure.tolerance)
    at, *shares = forth if forth[2] - forth[1] >= back[2] - back[1] else (back[0], back[2], back[1])
    p = float(kolmogorov(np.sqrt(len(one) * len(other) / (len(one) + len(other))) * abs(shares[0] - shares[1])))
    return Comparison(measure, at, (shares[0], shares[1]), p)


def _apart(low: Values, high: Values, tolerance: float) -> tuple[float, float, float]:
    """The value over which there is least of `low` and most of `high`, were that lower by the tolerance; and both."""
    low, high = np.sort(low), np.sort(high)
    over = 1 - np.arange(1, len(low) + 1) / len(low), 1 - np.searchsorted(high, low + tolerance, "right") / len(high)
    most = int((over[1] - over[0]).argmax())
    return float(low[most]), float(over[0][most]), float(over[1][most])


def homogeneity(table: NDArray[np.int64]) -> float:
    """How often chance gives rows of counts, R C, that differ as much (Pearson's chi-squared test)."""
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    squared = float(((table - expected) ** 2 / expected).sum())
    return float(chdtrc((table.shape[0] - 1) * (table.shape[1] - 1), squared))


def _shifted(sides: tuple[str, str], clear: Sequence[Comparison], tests: int) -> Finding:
    one, other = map(split_name, sides)
    title = f"{one} and {other} differ in {', '.join(each.measure.name for each in clear)}"
    chance = min(1.0, max(each.p for each in clear) * tests)
    detail = f"{'; '.join(map(str, clear))} (p ≤ {chance:.1g}, corrected for {tests} comparisons)"
    fix = f"find out why, as another camera or source; a score on {other} measures that as well"
    return Finding("shift", "warning", title, detail, fix, len(clear))


def _other_shares(subject: Subject, one: str, other: str, moved: float) -> Finding:
    shares = [subject.per_class[side] / subject.per_class[side].sum() for side in (one, other)]
    most = int(np.abs(shares[0] - shares[1]).argmax())
    title = f"{split_name(one)} and {split_name(other)} hold the classes in other shares"
    detail = (
        f"{moved:.0%} of the pictures would have to change class; the most in '{subject.classes[most]}': "
        f"{shares[0][most]:.0%} of {split_name(one)}, {shares[1][most]:.0%} of {split_name(other)}"
    )
    fix = "read balanced accuracy beside accuracy, or split anew with equal shares"
    return Finding("shift_classes", "warning", title, detail, fix, 1)
