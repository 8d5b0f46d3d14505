"""What optimisers share: parameter groups, their state, and one foreach update for each group.

Ours rather than torch.optim's, because those import the compiler (2.5 s) at their first step; each is tested to
give torch.optim's weights. See docs/adr/0004-own-optimizers.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.engine.plans import Group

Tensors = list[Tensor]


@dataclass
class Base(ABC):
    """An optimiser: its fields are its options, `start` gives it parameters.

    Attributes:
        lr: peak learning rate; the schedule multiplies it.
        weight_decay: how strongly weights are drawn to zero.
    """

    lr: Annotated[float, Between(0)] = 0.1
    weight_decay: Annotated[float, Between(0)] = 0.0

    #: Names of the state tensors kept for each parameter.
    slots: ClassVar[tuple[str, ...]] = ()

    def start(self, groups: Sequence[Group]) -> None:
        """Take parameters and make their state."""
        self.groups = list(groups)
        self.parameters = [p for group in groups for _, p in group.parameters]
        self.state_ = {slot: [torch.zeros_like(p) for p in self.parameters] for slot in self.slots}
        self.steps_ = 0

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Update every parameter that has a gradient, at `factor` times the peak learning rate."""
        self.steps_ += 1
        first = 0
        for group in self.groups:
            last = first + len(group.parameters)
            self._step_group(group, first, last, factor)
            first = last

    def rate(self, factor: float) -> float:
        """The learning rate of the first group."""
        return self.lr * factor * self.groups[0].rate

    def memory(self) -> dict[str, Any]:
        """State for a checkpoint."""
        return {"state": self.state_, "steps": self.steps_}

    def recall(self, memory: dict[str, Any]) -> None:
        """Take the state back, in place."""
        self.steps_ = memory["steps"]
        for slot, tensors in memory["state"].items():
            for mine, saved in zip(self.state_[slot], tensors, strict=True):
                mine.copy_(saved)

    @abstractmethod
    def update(self, weights: Tensors, gradients: Tensors, state: dict[str, Tensors], lr: float, decay: float) -> None:
        """Change `weights` and `state` in place."""

    def _step_group(self, group: Group, first: int, last: int, factor: float) -> None:
        wanted = [i for i in range(first, last) if self.parameters[i].grad is not None]
        if wanted:
            weights: Tensors = [self.parameters[i] for i in wanted]
            gradients = [p.grad for p in weights if p.grad is not None]
            state = {slot: [tensors[i] for i in wanted] for slot, tensors in self.state_.items()}
            self.update(weights, gradients, state, self.lr * factor * group.rate, self.weight_decay * group.decay)
