"""What penalties share: something about the network, or about what it gives, is added to the loss."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import Tensor

from netwright.core.options import Between
from netwright.engine.trick import LossFn, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run

AFTER = ("auxiliary_heads",)  # which asks for the loss once a head, and a penalty is to be counted once


@dataclass
class Penalty(Trick, ABC):
    """loss + strength · measure."""

    strength: Annotated[float, Between(0)] = 0.0

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""

        def penalised(output: Any, batch: "Batch", run: "Run") -> Tensor:
            return loss(output, batch, run) + self.strength * self.measure(output, run)

        return penalised if self.strength else loss

    @abstractmethod
    def measure(self, output: Any, run: "Run") -> Tensor | float:
        """What is to be small, a scalar: of the run's network, or of what that gave."""
