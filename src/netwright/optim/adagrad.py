"""Adagrad: each weight's rate falls with the sum of its squared gradients (Duchi, Hazan & Singer 2011)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from netwright.core.options import Between
from netwright.optim._library import Library

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class Adagrad(Library):
    """torch's Adagrad; weight decay is added to the gradient. It has no momentum, so a schedule's is ignored."""

    lr: Annotated[float, Between(0)] = 1e-2
    epsilon: Annotated[float, Between(0)] = 1e-10

    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """torch.optim.Adagrad."""
        from torch.optim import Adagrad as Torch

        return Torch(groups, lr=self.lr, eps=self.epsilon)
