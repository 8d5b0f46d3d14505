"""One cycle: up to the peak and down to almost nothing, both along half cosines (Smith & Topin 2018)."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Momentum, Schedule, half_cosine


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Rises from peak / `start` to the peak during `warmup` of the run, then falls to peak / (`start` · `end`).

    Attributes:
        momentum: its least and its greatest value, as (0.85, 0.95): it falls while the rate rises, and rises again.
            Without it the optimiser's own stays as it is.
    """

    warmup: Annotated[float, Between(0, 1)] = 0.3
    start: Annotated[float, Between(1)] = 25.0
    end: Annotated[float, Between(1)] = 1e4
    momentum: tuple[Momentum, Momentum] | None = None

    def climb(self, progress: float) -> float:
        """From 1 / start to 1."""
        return half_cosine(1 / self.start, 1.0, progress)

    def shape(self, progress: float) -> float:
        """From 1 to 1 / (start · end)."""
        return half_cosine(1.0, 1 / (self.start * self.end), progress)

    def momentum_at(self, progress: float) -> float | None:
        """From the greatest to the least during the warm-up, and back in the rest."""
        if self.momentum is None:
            return None
        least, greatest = self.momentum
        if progress < self.warmup:
            return half_cosine(greatest, least, progress / self.warmup)
        return half_cosine(least, greatest, self.after_warmup(progress))
