"""Computes batch normalisation's statistics afresh for the network that is handed on."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.augment import plain_batches
from netwright.engine.trick import Card, Trick
from netwright.nn.init import evaluating
from netwright.nn.norm import batch_norms

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class BnRefresh(Trick):
    """Running statistics are those of weights that have changed since; averaged weights never had any.

    They become plain means over training batches, seen as evaluation would see them, in a copy of the network.

    Attributes:
        batches: training batches to go through, at most an epoch.
        when: once, for the network that is handed on ("end"), or at every validation too ("epoch"), at its cost.
    """

    batches: Annotated[int, Between(1)] = 100
    when: Literal["end", "epoch"] = "end"

    card = Card(
        paper="Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI 2018",
        treats=(Symptom.NOISY_WEIGHTS,),
        after=("early_stopping", "ema", "lookahead", "swa"),
    )

    def start(self, run: "Run") -> None:
        """Where the pictures come from."""
        self.run = run

    def predictor(self, module: nn.Module) -> nn.Module:
        """A copy with fresh statistics; the network itself while training, unless told otherwise."""
        if not batch_norms(module) or not (self.run.finished or self.when == "epoch"):
            return module
        refreshed = copy.deepcopy(module)
        with self.run.profile.autocast():
            refresh_(refreshed, islice(plain_batches(self.run), self.batches))
        return refreshed


def refresh_(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Statistics of every batch norm become the mean of those of the batches, N C H W each; nothing else trains.

    Dropout is off, as it will be in use. Norms that are not used in evaluation, as of auxiliary heads, are reset.
    """
    norms = batch_norms(model)
    momenta = [norm.momentum for norm in norms]
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a plain mean
            norm.train()
        for batch in batches:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
