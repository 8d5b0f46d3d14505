"""One cycle: up to the peak and down to almost nothing, both along half cosines (Smith & Topin 2018)."""

import math
from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Rises from peak / `start` to the peak during `warmup` of the run, then falls to peak / (`start` · `end`)."""

    warmup: Annotated[float, Between(0, 1)] = 0.3
    start: Annotated[float, Between(1)] = 25.0
    end: Annotated[float, Between(1)] = 1e4

    def __call__(self, progress: float) -> float:
        """The factor at a time in [0, 1]."""
        if progress < self.warmup:
            return _between(1 / self.start, 1.0, progress / self.warmup)
        return super().__call__(progress)

    def shape(self, progress: float) -> float:
        """From 1 to 1 / (start · end)."""
        return _between(1.0, 1 / (self.start * self.end), progress)


def _between(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
