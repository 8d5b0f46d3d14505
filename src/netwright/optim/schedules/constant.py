"""The peak learning rate throughout."""

from dataclasses import dataclass

from netwright.optim.schedules._schedule import Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """Factor 1 after the warm-up."""

    def shape(self, progress: float) -> float:
        """1."""
        return 1.0
