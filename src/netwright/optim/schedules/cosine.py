"""Half a cosine from the peak to the floor (Loshchilov & Hutter, SGDR, 2017, without restarts)."""

import math
from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class Cosine(Schedule):
    """floor + (1 − floor) · (1 + cos π p) / 2."""

    floor: Annotated[float, Between(0, 1)] = 0.0

    def shape(self, progress: float) -> float:
        """1 at the start, `floor` at the end."""
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2
