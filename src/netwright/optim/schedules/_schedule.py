"""What schedules share: an optional linear warm-up (Goyal et al. 2017) before their own shape."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between


@dataclass(frozen=True)
class Schedule(ABC):
    """A function of progress in [0, 1] to a factor of the peak learning rate.

    Attributes:
        warmup: the part of the run in which the rate climbs linearly from zero to its peak.
    """

    warmup: Annotated[float, Between(0, 1)] = 0.0

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        rest = 1.0 - self.warmup
        return self.shape((progress - self.warmup) / rest if rest else 1.0)

    @abstractmethod
    def shape(self, progress: float) -> float:
        """The factor after the warm-up; 0 is its end, 1 the end of the run."""
