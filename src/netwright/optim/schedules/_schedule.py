"""What schedules share: an optional linear warm-up (Goyal et al. 2017) before their own shape."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from netwright.core.options import Between

History = Sequence[dict[str, Any]]
Momentum = Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class Schedule(ABC):
    """A function of progress in [0, 1] to a factor of the peak learning rate.

    Attributes:
        warmup: the part of the run in which the rate climbs linearly from zero to where the schedule begins.
    """

    warmup: Annotated[float, Between(0, 1)] = 0.0

    def __call__(self, progress: float, history: History = (), /) -> float:
        """The factor at a time in [0, 1], after epochs with these rows of metrics."""
        if progress < self.warmup:
            return self.climb(progress / self.warmup) * self.seen(history)
        return self.shape(self.after_warmup(progress)) * self.seen(history)

    @abstractmethod
    def shape(self, progress: float) -> float:
        """The factor after the warm-up; 0 is its end, 1 the end of the run."""

    def climb(self, progress: float) -> float:
        """The factor in the warm-up; 0 is its start, 1 its end."""
        return progress * self.shape(0.0)

    def seen(self, history: History) -> float:
        """What the run's metrics multiply the rate by; 1 for schedules that go by time alone."""
        return 1.0

    def momentum_at(self, progress: float) -> float | None:
        """The momentum at a time in [0, 1], or None to leave it to the optimiser."""
        return None

    def after_warmup(self, progress: float) -> float:
        """A time in the run as a part of what follows the warm-up."""
        rest = 1.0 - self.warmup
        return (progress - self.warmup) / rest if rest else 1.0


def half_cosine(first: float, last: float, progress: float) -> float:
    """From `first` at 0 to `last` at 1 along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
