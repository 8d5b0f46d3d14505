"""Starts every residual block as its shortcut."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from netwright.core.errors import NetwrightError
from netwright.core.symptoms import Symptom
from netwright.engine.augment import plain_batches
from netwright.engine.residual import branch_ends
from netwright.engine.trick import Card, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class ZeroInitResidual(Trick):
    """The weight of the norm that a residual branch ends with is zero; of its last convolution where it ends with one.

    Branches are found by calling the network, so that any network with residual sums will do.
    """

    card = Card(
        paper="Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, arXiv:1706.02677, 2017",
        treats=(Symptom.UNSTABLE_LOSS, Symptom.EXPLODING_GRADIENTS),
        after=("init", "norm", "whitening"),
        fresh=True,
    )

    @torch.no_grad()
    def start(self, run: "Run") -> None:
        """Silence each branch.

        Raises:
            NetwrightError: there is none.
        """
        ends = branch_ends(run.model, next(plain_batches(run))[:2])
        if not ends:
            raise NetwrightError(
                f"{type(run.model).__name__} has no residual branches to start from zero",
                "choose a residual network, such as resnet18, or leave it out: --without zero_init_residual",
            )
        for parameter in (parameter for end in ends for parameter in end):
            parameter.zero_()
