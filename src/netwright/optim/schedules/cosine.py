"""Half a cosine from the peak to the floor (Loshchilov & Hutter, SGDR, 2017, without restarts)."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule, half_cosine


@dataclass(frozen=True)
class Cosine(Schedule):
    """floor + (1 − floor) · (1 + cos π p) / 2."""

    floor: Annotated[float, Between(0, 1)] = 0.0

    def shape(self, progress: float) -> float:
        """1 at the start, `floor` at the end."""
        return half_cosine(1.0, self.floor, progress)
