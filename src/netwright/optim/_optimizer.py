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
# At 1 an average would never move, and its correction for bias would divide by zero.
Beta = Annotated[float, Between(0, 0.9999999)]


@dataclass
class Common(ABC):
    """An optimiser: its fields are its options, `start` gives it parameters.

    Attributes:
        lr: peak learning rate; the schedule multiplies it.
        weight_decay: how strongly weights are drawn to zero.
    """

    lr: Annotated[float, Between(0)] = 0.1
    weight_decay: Annotated[float, Between(0)] = 0.0

    def start(self, groups: Sequence[Group]) -> None:
        """Take parameters and make their state."""
        self.groups = list(groups)
        self.parameters = [p for group in groups for _, p in group.parameters]

    @abstractmethod
    def step(self, *factors: float, momentum: float | None = None) -> None:
        """Update every parameter that has a gradient.

        Args:
            factors: multiples of the peak learning rate, one for each group or one for all.
            momentum: in place of the optimiser's own, if the schedule has one; those without momentum ignore it.
        """

    @abstractmethod
    def memory(self) -> dict[str, Any]:
        """State for a checkpoint."""

    @abstractmethod
    def recall(self, memory: dict[str, Any]) -> None:
        """Take the state back."""

    def paced(self, factors: tuple[float, ...]) -> list[tuple[Group, float, float]]:
        """Each group with its learning rate and its weight decay."""
        each = factors * len(self.groups) if len(factors) == 1 else factors
        pairs = zip(self.groups, each, strict=True)
        return [(group, self.lr * factor * group.rate, self.weight_decay * group.decay) for group, factor in pairs]


@dataclass
class Base(Common):
    """An optimiser of our own: it names its state tensors in `slots` and writes `update`."""

    #: Names of the state tensors kept for each parameter.
    slots: ClassVar[tuple[str, ...]] = ()

    def start(self, groups: Sequence[Group]) -> None:
        """Take parameters and make their state."""
        super().start(groups)
        self.state_ = {slot: [torch.zeros_like(p) for p in self.parameters] for slot in self.slots}
        self.steps_ = 0
        self.scheduled: float | None = None

    @torch.no_grad()
    def step(self, *factors: float, momentum: float | None = None) -> None:
        """Update every parameter that has a gradient, at `factors` times the peak learning rate."""
        self.steps_ += 1
        self.scheduled = momentum
        first = 0
        for group, lr, decay in self.paced(factors):
            last = first + len(group.parameters)
            self._step_group(first, last, lr, decay)
            first = last

    def inertia(self, own: float) -> float:
        """The momentum of this step: the schedule's if it has one, else the optimiser's own."""
        return own if self.scheduled is None else self.scheduled

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

    def _step_group(self, first: int, last: int, lr: float, decay: float) -> None:
        wanted = [i for i in range(first, last) if self.parameters[i].grad is not None]
        if wanted:
            weights: Tensors = [self.parameters[i] for i in wanted]
            gradients = [p.grad for p in weights if p.grad is not None]
            state = {slot: [tensors[i] for i in wanted] for slot, tensors in self.state_.items()}
            self.update(weights, gradients, state, lr, decay)
