"""Stops when validation no longer improves, and keeps the best weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class EarlyStopping(Trick):
    """Stops after `patience` epochs in which validation loss did not fall by more than `min_delta`.

    Attributes:
        patience: epochs to wait for an improvement.
        min_delta: how much validation loss has to fall to count as one.
        restore_best: whether the best epoch's weights become the model, or the last's. The best were chosen by
            validation, so their score there is optimistic.
    """

    patience: Annotated[int, Between(1, 10_000)] = 10
    min_delta: Annotated[float, Between(0)] = 0.0
    restore_best: bool = True

    card = Card(
        paper="Prechelt, Early stopping — but when?, in Neural Networks: Tricks of the Trade, 1998",
        strong={"patience": 1, "min_delta": 10.0},
        treats=(Symptom.OVERFITTING, Symptom.WASTED_EPOCHS),
        after=(
            "ema",
            "swa",
        ),
    )

    def start(self, run: "Run") -> None:
        """Nothing is best yet."""
        if run.validate is None:
            raise NetwrightError(
                "early_stopping needs validation data", "give a val split, or --without early_stopping"
            )
        self.run = run
        self.best_loss_ = float("inf")
        self.best_epoch_ = 0
        self.since_ = 0  # the epoch after which patience began
        self.best_state_: dict[str, Any] = {}

    def after_epoch(self, run: "Run") -> None:
        """Remember the best; stop when it is too long ago."""
        loss = run.history[-1]["val_loss"]
        if loss < self.best_loss_ - self.min_delta:
            self.best_loss_, self.best_epoch_ = loss, run.epoch
            if self.restore_best:
                self.best_state_ = {k: v.detach().clone() for k, v in self.current.state_dict().items()}
        elif run.epoch - max(self.best_epoch_, self.since_) >= self.patience:
            run.stopped = f"early_stopping: validation loss was best at epoch {self.best_epoch_}"

    def overruled(self, run: "Run") -> None:
        """Patience begins anew; the best stays the best."""
        self.since_ = run.epoch

    def predictor(self, module: nn.Module) -> nn.Module:
        """While training, the network as it is; once finished, the best there was, if that is to be restored."""
        self.current = module
        if self.run.finished and self.best_state_:
            module.load_state_dict(self.best_state_)
        return module
