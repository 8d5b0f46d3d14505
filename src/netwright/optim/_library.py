"""Optimisers of torch and timm, fitted to our groups, schedules and checkpoints.

Their import takes seconds, so it waits for `start`: only those who name one of them pay for it.
See docs/adr/0012-library-optimizers.md.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netwright.engine.plans import Group
from netwright.optim._optimizer import Common

if TYPE_CHECKING:
    from torch.optim import Optimizer

# Scalars that the libraries keep in main memory, wherever the parameter is.
COUNTERS = ("step", "mu_product")


@dataclass
class Library(Common):
    """An optimiser that a library has: subclasses say which one and give it their options."""

    def start(self, groups: Sequence[Group]) -> None:
        """Build the library's optimiser."""
        super().start(groups)
        self.library = self.build([self.described(group) for group in self.groups])

    @abstractmethod
    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """The library's optimiser over these parameter groups."""

    def described(self, group: Group) -> dict[str, Any]:
        """One of our groups as the libraries describe one."""
        return {"params": [parameter for _, parameter in group.parameters]}

    def step(self, *factors: float, momentum: float | None = None) -> None:
        """Tell every group its rate, decay and momentum, then let the library update."""
        for (_, lr, decay), group in zip(self.paced(factors), self.library.param_groups, strict=True):
            group |= {"lr": lr, "weight_decay": decay}
            if momentum is not None:
                group |= steered(group, momentum)
        self.library.step()

    def memory(self) -> dict[str, Any]:
        """What the library keeps for each parameter, by its place, and the tensors it keeps for each group."""
        state = {str(i): dict(self.library.state[p]) for i, p in enumerate(self.parameters) if p in self.library.state}
        return {"state": state, "groups": [_tensors(group) for group in self.library.param_groups]}

    def recall(self, memory: dict[str, Any]) -> None:
        """Take the state back as it was: the libraries' own loading would change the precision of some of it."""
        self.library.state.clear()
        for place, state in memory["state"].items():
            parameter = self.parameters[int(place)]
            self.library.state[parameter] = {k: _placed(k, value, parameter) for k, value in state.items()}
        for group, saved in zip(self.library.param_groups, memory["groups"], strict=True):
            for name in _tensors(group):
                del group[name]
            group |= {name: value.clone() for name, value in saved.items()}


def steered(group: dict[str, Any], momentum: float) -> dict[str, Any]:
    """What carries momentum in a group of the libraries: `momentum`, the first of `betas`, or nothing."""
    found: dict[str, Any] = {"momentum": momentum} if "momentum" in group else {}
    return found | ({"betas": (momentum, *group["betas"][1:])} if "betas" in group else {})


def _tensors(group: dict[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in group.items() if isinstance(value, Tensor)}


def _placed(name: str, value: Any, parameter: nn.Parameter) -> Any:
    """A saved value where the library expects it, laid out in memory as the parameter is so that sums round alike."""
    if not isinstance(value, Tensor):
        return value
    if name in COUNTERS:
        return value.detach().to("cpu", copy=True)
    if value.shape != parameter.shape:
        return value.detach().to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
