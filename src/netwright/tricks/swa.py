"""Predicts with the mean of the weights that the last epochs ended with."""

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
class Swa(Trick):
    """The mean over the ends of all epochs from `begin` of the run on.

    It wants a rate that stays high, as a constant or cyclic schedule's does, so that the weights it averages differ.
    Buffers, such as batch normalisation's statistics, are averaged alike; `bn_refresh` computes them anew.
    """

    begin: Annotated[float, Between(0, 1)] = 0.75

    card = Card(
        paper="Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018",
        neutral={"begin": 1.0},
        strong={"begin": 0.0},
        ranges={"begin": Range(0.5, 0.9)},
        treats=(Symptom.NOISY_WEIGHTS, Symptom.SHARP_MINIMUM),
        after=("lookahead", "max_norm"),
        excludes=("ema",),
    )

    def start(self, run: "Run") -> None:
        """Nothing is averaged yet."""
        self.mean_ = {name: value.detach().clone() for name, value in run.model.state_dict().items()}
        self.epochs_ = 0

    @torch.no_grad()
    def after_step(self, run: "Run") -> None:
        """At the last update of an epoch, before it is validated, add its weights to the mean."""
        if run.step % run.loader.steps == 0 and run.progress >= self.begin:
            self.epochs_ += 1
            add_to_mean(self.mean_, run.model.state_dict(), self.epochs_)

    def predictor(self, module: nn.Module) -> nn.Module:
        """A copy of the network with the mean weights, once there are some."""
        if not self.epochs_:
            return module
        averaged = copy.deepcopy(module)
        averaged.load_state_dict(self.mean_)
        return averaged


def add_to_mean(mean: dict[str, Tensor], state: dict[str, Tensor], n: int) -> None:
    """The mean of n − 1 states becomes that of n, in place; whole numbers are the latest."""
    for name, value in state.items():
        if value.is_floating_point():
            mean[name].lerp_(value, 1 / n)
        else:
            mean[name].copy_(value)
