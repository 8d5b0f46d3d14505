"""Predicts with an exponential moving average of the weights."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class Ema(Trick):
    """average ← d · average + (1 − d) · weights after every step, with d = min(decay, (1 + t) / (10 + t)).

    The ramp lets short runs profit too. Buffers, such as batch normalisation's statistics, are averaged alike.
    """

    decay: Annotated[float, Between(0, 0.999999)] = 0.99

    card = Card(
        paper="Polyak & Juditsky, Acceleration of stochastic approximation by averaging, SIAM J. Control 1992",
        neutral={"decay": 0.0},
        strong={"decay": 0.5},
        ranges={"decay": Range(0.9, 0.999)},
        treats=(Symptom.NOISY_WEIGHTS,),
        after=("lookahead", "max_norm"),
    )

    def start(self, run: "Run") -> None:
        """Begin with the weights as they are."""
        self.average_ = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
        self.steps_ = 0

    @torch.no_grad()
    def after_step(self, run: "Run") -> None:
        """Move the average towards the weights."""
        self.steps_ += 1
        decay = min(self.decay, self.steps_ / (9 + self.steps_))
        average, current = _floating(self.average_, run.model.state_dict())
        torch._foreach_lerp_(average, current, 1 - decay)

    def predictor(self, module: nn.Module) -> nn.Module:
        """A copy of the network with the averaged weights."""
        averaged = copy.deepcopy(module)
        state = {k: v if v.is_floating_point() else module.state_dict()[k] for k, v in self.average_.items()}
        averaged.load_state_dict(state)
        return averaged


def _floating(average: dict[str, Tensor], state: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    names = [name for name, value in average.items() if value.is_floating_point()]
    return [average[name] for name in names], [state[name] for name in names]
