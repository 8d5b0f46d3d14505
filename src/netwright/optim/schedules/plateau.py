"""Drops by a factor whenever the loss has stopped falling."""

from dataclasses import dataclass
from typing import Annotated

from netwright.core.options import Between
from netwright.optim.schedules._schedule import History, Schedule


@dataclass(frozen=True)
class Plateau(Schedule):
    """The rate is multiplied by `factor` after more than `patience` epochs without a lower loss.

    The loss is that of validation, or of training where there is none.

    Attributes:
        patience: epochs in a row that may pass without improvement.
        min_delta: by how much the loss must fall to count as lower.
        floor: the least factor.
    """

    factor: Annotated[float, Between(0, 1)] = 0.1
    patience: Annotated[int, Between(0, 10_000)] = 5
    min_delta: Annotated[float, Between(0)] = 1e-4
    floor: Annotated[float, Between(0, 1)] = 0.0

    def shape(self, progress: float) -> float:
        """1: time alone changes nothing."""
        return 1.0

    def seen(self, history: History) -> float:
        """factor ^ (plateaus so far), but not below the floor."""
        losses = [row.get("val_loss", row["train_loss"]) for row in history]
        return max(self.floor, self.factor ** plateaus(losses, self.patience, self.min_delta))


def plateaus(losses: list[float], patience: int, min_delta: float) -> int:
    """How often more than `patience` losses in a row were not lower than the best before; each time counts anew."""
    best, waited, found = float("inf"), 0, 0
    for loss in losses:
        waited += 1
        if loss < best - min_delta:
            best, waited = loss, 0
        if waited > patience:
            waited, found = 0, found + 1
    return found
