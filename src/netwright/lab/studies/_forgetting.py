"""What is left of classes learnt earlier: pure functions of who was right about which picture after which step."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Course:
    """One strategy with one seed, measured after the base classes and after each step.

    Attributes:
        correct: 1 where a picture was classified rightly, 0 where not, NaN before its class had come. T N.
        group: with which step each picture's class came, from 0 for the base classes. N.
    """

    correct: Floats
    group: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """T, the base classes counted."""
        return len(self.correct)

    @cached_property
    def accuracy(self) -> Floats:
        """Of each group after each step; NaN where it had not come. T T."""
        found = np.full((self.steps, self.steps), np.nan)
        for step in range(self.steps):
            for group in range(step + 1):
                found[step, group] = self.correct[step, self.group == group].mean()
        return found

    def so_far(self, step: int) -> Floats:
        """Who was right among all pictures whose classes had come, else NaN. N."""
        return np.where(self.group <= step, self.correct[step], np.nan)

    def of_group(self, step: int, group: int) -> Floats:
        """Who was right in one group, else NaN. N."""
        return np.where(self.group == group, self.correct[step], np.nan)

    def lost(self, step: int, group: int) -> Floats:
        """Picture by picture, a group's best accuracy before a step minus that after it, else NaN. N.

        The mean is the forgetting of Chaudhry et al. 2018 (arXiv:1801.10112): negative where the step made it better.
        """
        best = int(np.argmax(self.accuracy[group:step, group])) + group
        return self.of_group(best, group) - self.of_group(step, group)

    def forgetting(self, step: int) -> Floats:
        """Values whose mean is that of the earlier groups' forgetting, each group counting alike; else NaN. N.

        Args:
            step: from 1.
        """
        found = _mean_of_means(np.stack([self.lost(step, group) for group in range(step)]))
        return np.where(self.group < step, found, np.nan)

    def incremental(self) -> Floats:
        """Values whose mean is the average over steps of the accuracy so far, as in Rebuffi et al. 2017. N."""
        return _mean_of_means(self.correct)


def _mean_of_means(values: Floats) -> Floats:
    """For each picture the mean of some means, and what it adds to them by being unlike each.

    So the mean is that of the means, and the spread that of a mean of ratios: pictures are not unlike one another by
    how often they are counted alone. M N, NaN where a mean is not over a picture -> N.
    """
    known, n = ~np.isnan(values), int((~np.isnan(values)).any(0).sum())
    counts = known.sum(1, keepdims=True)
    means = np.nan_to_num(values).sum(1, keepdims=True) / counts
    return means.mean() + (np.where(known, values - means, 0.0) * (n / counts)).mean(0)


def course(correct: list[Floats], labels: list[NDArray[np.int64]], ends: list[int]) -> Course:
    """From what each step's trial gave.

    Args:
        correct: after each step, of the pictures of all classes so far, always in one order.
        labels: their classes, numbered as they came.
        ends: how many classes had come after each step.
    """
    last = labels[-1]
    full = np.full((len(ends), len(last)), np.nan)
    for step, (values, end) in enumerate(zip(correct, ends, strict=True)):
        full[step, last < end] = values
    return Course(full, np.searchsorted(np.asarray(ends), last, side="right"))
