"""Drops by a factor at given times, as ResNet's recipe for CIFAR does (He et al. 2015)."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class MultiStep(Schedule):
    """The rate is multiplied by `factor` at each of the times in `at`, given as parts of the run."""

    at: tuple[Annotated[float, Between(0, 1)], ...] = (0.5, 0.75)
    factor: Annotated[float, Between(0, 1)] = 0.1

    def shape(self, progress: float) -> float:
        """factor ^ (how many times have passed)."""
        return self.factor ** sum(progress >= time for time in self.at)
