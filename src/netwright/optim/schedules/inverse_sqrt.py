"""Falls as one over the square root of time, as transformers' first recipe does (Vaswani et al. 2017)."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class InverseSqrt(Schedule):
    """1 / √(1 + t / timescale), t since the warm-up; with `timescale` equal to `warmup` it is the paper's formula.

    Attributes:
        timescale: the part of the run after which the rate has fallen to 1 / √2 of the peak.
    """

    timescale: Annotated[float, Between(1e-6, 1)] = 0.1

    def shape(self, progress: float) -> float:
        """1 at the start."""
        return (1 + progress * (1 - self.warmup) / self.timescale) ** -0.5
