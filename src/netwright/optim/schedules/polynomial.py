"""Falls as a power of what is left of the run, as segmentation's "poly" recipes do (Liu, Rabinovich & Berg 2016)."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class Polynomial(Schedule):
    """floor + (1 − floor) · (1 − p) ^ power."""

    power: Annotated[float, Between(0, 100)] = 0.9
    floor: Annotated[float, Between(0, 1)] = 0.0

    def shape(self, progress: float) -> float:
        """1 at the start, `floor` at the end."""
        return self.floor + (1 - self.floor) * (1 - progress) ** self.power
