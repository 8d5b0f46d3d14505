"""Rewards predictions that keep some doubt: their entropy is taken from the loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch.nn.functional as F
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import several
from netwright.engine.trick import Card, Range
from netwright.nn.output import main_output
from netwright.tricks._penalty import AFTER, Penalty

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class ConfidencePenalty(Penalty):
    """loss − strength · mean entropy of what the main head predicts, in nats; where classes overlap, of each yes or no.

    Of masks it is the mean over all pixels, those too whose label is ignored: what is to be doubted needs no label.
    """

    strength: Annotated[float, Between(0, 100)] = 0.1

    card = Card(
        paper="Pereyra et al., Regularizing neural networks by penalizing confident output distributions, 2017",
        neutral={"strength": 0.0},
        strong={"strength": 2.0},
        ranges={"strength": Range(0.01, 1.0, log=True)},
        treats=(Symptom.OVERCONFIDENCE, Symptom.OVERFITTING),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "a reconstruction is no choice between classes that could be too sure; free_bits and "
            "kl_warmup are what keeps a code from saying too little, and a larger beta from saying too much",
        },
        after=AFTER,
    )

    def measure(self, output: Any, run: "Run") -> Tensor:
        """The mean of −H(p)."""
        doubt = binary_entropy if several(run.task) else entropy
        return -doubt(main_output(output).float()).mean()


def entropy(output: Tensor) -> Tensor:
    """−Σ p log p of p = softmax(output). N K … -> N …"""
    log = output.log_softmax(1)
    return -(log.exp() * log).sum(1)


def binary_entropy(output: Tensor) -> Tensor:
    """−p log p − (1 − p) log(1 − p) of p = sigmoid(output). Any shape."""
    return output.sigmoid() * F.softplus(-output) + (-output).sigmoid() * F.softplus(output)
