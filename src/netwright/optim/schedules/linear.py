"""A straight line from the peak to the floor."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class Linear(Schedule):
    """1 − (1 − floor) · p."""

    floor: Annotated[float, Between(0, 1)] = 0.0

    def shape(self, progress: float) -> float:
        """1 at the start, `floor` at the end."""
        return 1 - (1 - self.floor) * progress
