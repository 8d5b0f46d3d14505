"""Who may stop a run early: a search that compares it with others while it trains."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Pruning:
    """One trial of a search, as its worker finds it again.

    Attributes:
        storage: address of the search's storage.
        study: its name there.
        trial: the trial's number in it.
        metric: what is told after each epoch, as "val_accuracy".
    """

    storage: str
    study: str
    trial: int
    metric: str

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)
