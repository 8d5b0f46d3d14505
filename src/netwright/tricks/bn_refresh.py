"""Computes batch normalisation's statistics afresh for the network that is handed on."""

import copy
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

from torch import nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.augment import labelled_batches
from netwright.engine.trick import Card, Trick
from netwright.nn.norm import batch_norms, refresh_

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
        after=("dropout", "early_stopping", "ema", "lookahead", "swa"),
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
            refresh_(refreshed, islice(labelled_batches(self.run), self.batches))
        return refreshed
