"""Drops by a factor at even intervals, as ResNet's recipe does every 30 epochs (He et al. 2015)."""

import math
from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class Step(Schedule):
    """The rate is multiplied by `factor` after `every` part of the run; for times of your own take `multi_step`."""

    every: Annotated[float, Between(1e-6, 1)] = 0.3
    factor: Annotated[float, Between(0, 1)] = 0.1

    def shape(self, progress: float) -> float:
        """factor ^ ⌊progress / every⌋."""
        return self.factor ** math.floor(progress / self.every + 1e-9)  # 0.3 / 0.1 is a little less than 3
