"""Means and differences of the study of autoencoders, for other seeds and other pictures, and how they are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netwright.lab._stat_intervals import pictures_interval
from netwright.lab.compare import difference_interval
from netwright.lab.studies._autoencoders_arms import Arm
from netwright.lab.studies._autoencoders_measure import CLEAN, Measured
from netwright.lab.two_way import two_way
from netwright.records.intervals import Interval
from netwright.tasks.reconstruction import LEAST

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Results:
    """What every arm reached: by seed and picture, paired between arms.

    Attributes:
        arms: in the order of tables.
        by_arm: for each arm's name, a measurement a seed.
    """

    arms: Sequence[Arm]
    by_arm: Mapping[str, Sequence[Measured]]

    def makes(self, arm: str, shown: str = CLEAN) -> bool:
        """Whether an arm makes pictures of what is shown."""
        return shown in self.by_arm[arm][0].errors

    def errors(self, arm: str, shown: str = CLEAN) -> Floats:
        """Squared errors by seed and picture, of an arm that makes some. S M."""
        return np.stack([one.errors[shown] for one in self.by_arm[arm]])

    def right(self, arm: str, labels: int) -> Floats:
        """Whether the probe was right, by seed and picture. S M."""
        return np.stack([one.probes[labels].right for one in self.by_arm[arm]])

    def edges(self, labels: int) -> tuple[int, int]:
        """How many probes chose a penalty at the end of what was tried, and how many there are."""
        seen = [one.probes[labels].edge for ones in self.by_arm.values() for one in ones]
        return sum(seen), len(seen)

    def code(self, arm: str, what: str) -> list[float]:
        """What is known of an arm's codes, by seed; empty where nothing is."""
        return [one.codes[what] for one in self.by_arm[arm] if what in one.codes]


def mean_error(values: Floats) -> Interval:
    """The mean of squared errors, for other seeds and pictures; of one seed, for other pictures. S M."""
    found = _mean(values)
    return replace(found, low=max(0.0, found.low))


def mean_psnr(values: Floats) -> Interval:
    """The mean of pictures' PSNR, in dB. S M squared errors."""
    return _mean(-10 * np.log10(np.maximum(values, LEAST)))


def mean_share(values: Floats) -> Interval:
    """The mean of right or wrong. S M."""
    return two_way(values, difference=False)


def less_error(values: Floats, than: Floats) -> Interval:
    """Squared errors minus others', paired by seed and picture: below 0 where they are smaller. S M each."""
    return _mean(values - than)


def more_right(values: Floats, than: Floats) -> Interval:
    """Shares minus others', paired by seed and picture. S M each."""
    return two_way(values - than, difference=True)


def thousandths(found: Interval, *, signed: bool = False) -> str:
    """Squared errors, as they are read: 0.0104 -> `10.4`."""
    one = "{:+.2f}" if signed else "{:.2f}"
    value, low, high = (one.format(1000 * number) for number in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def decibels(found: Interval) -> str:
    """`21.3 [21.2, 21.4]`."""
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def points(found: Interval) -> str:
    """Percentage points: `+1.2 [0.3, 2.1]`."""
    return f"{100 * found.value:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def at_most(found: Interval) -> float:
    """How large a difference that is not resolved may be."""
    return max(abs(found.low), abs(found.high))


def resolved(found: Interval) -> bool:
    """Whether 0 is left out."""
    return found.low > 0 or found.high < 0


def _mean(values: Floats) -> Interval:
    return difference_interval(values) if len(values) > 1 else pictures_interval(values)
