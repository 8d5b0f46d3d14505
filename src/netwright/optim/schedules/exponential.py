"""Falls by the same part in every step."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class Exponential(Schedule):
    """`end` ^ p: from the peak to `end` times the peak."""

    end: Annotated[float, Between(1e-12, 1)] = 0.01

    def shape(self, progress: float) -> float:
        """1 at the start, `end` at the end."""
        return self.end**progress
