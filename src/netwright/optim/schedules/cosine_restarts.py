"""Several half cosines, each back at the peak: SGDR (Loshchilov & Hutter 2017)."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule, half_cosine


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Falls from the peak to `floor` in each of `cycles`, `multiplier` times as long as the one before."""

    cycles: Annotated[int, Between(1, 1000)] = 3
    multiplier: Annotated[float, Between(0.1, 10)] = 2.0
    floor: Annotated[float, Between(0, 1)] = 0.0

    def shape(self, progress: float) -> float:
        """1 at the start of each cycle, `floor` at its end."""
        ends = list(accumulate(self.multiplier**i for i in range(self.cycles)))
        place = progress * ends[-1]
        begun, end = next(((a, b) for a, b in zip([0.0, *ends], ends, strict=False) if place < b), (0.0, place))
        return half_cosine(1.0, self.floor, (place - begun) / (end - begun))
