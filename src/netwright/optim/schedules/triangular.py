"""Cyclical learning rates: straight up to the peak and down again, several times (Smith 2017)."""

import math
from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Momentum, Schedule


@dataclass(frozen=True)
class Triangular(Schedule):
    """From `floor` to the peak and back in each of `cycles`, each time `shrink` times as high above the floor.

    Attributes:
        shrink: 1 is the paper's "triangular", 0.5 its "triangular2".
        momentum: its least and its greatest value, as (0.85, 0.95): it falls while the rate rises, and rises again.
            Without it the optimiser's own stays as it is.
    """

    cycles: Annotated[int, Between(1, 1000)] = 4
    floor: Annotated[float, Between(0, 1)] = 0.1
    shrink: Annotated[float, Between(0, 1)] = 1.0
    momentum: tuple[Momentum, Momentum] | None = None

    def shape(self, progress: float) -> float:
        """floor + (1 − floor) · height."""
        return self.floor + (1 - self.floor) * self.height(progress)

    def height(self, progress: float) -> float:
        """How far up the triangle: 0 at the ends of each cycle, shrink ^ (cycles done) in its middle."""
        cycle = min(math.floor(progress * self.cycles), self.cycles - 1)
        return self.shrink**cycle * (1 - abs(2 * (progress * self.cycles - cycle) - 1))

    def momentum_at(self, progress: float) -> float | None:
        """The greatest at the floor, the least at the peak."""
        if self.momentum is None:
            return None
        least, greatest = self.momentum
        return greatest - (greatest - least) * self.height(max(0.0, self.after_warmup(progress)))
