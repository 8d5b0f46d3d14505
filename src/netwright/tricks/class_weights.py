"""Weighs each class in the loss by how rare it is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged
from netwright.engine.plans import DataPlan
from netwright.engine.trick import Card, LossFn, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run, Task


@dataclass
class ClassWeights(Trick):
    """The term of class k in the cross-entropy is multiplied by 1 / E_k, E_k = (1 − βⁿ) / (1 − β) for n samples.

    E_k is the effective number of samples: all alike at beta = 0, and n itself at 1, which gives inverse frequency.
    Weights have mean one over the training samples, so that the learning rate means what it did.
    """

    beta: Annotated[float, Between(0, 1)] = 1.0

    card = Card(
        paper="Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019",
        neutral={"beta": 0.0},
        strong={"beta": 1.0},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("classification",),
        after=("balanced_sampling",),
    )

    def data(self, plan: DataPlan) -> DataPlan:
        """Count the classes."""
        self.counts = class_counts(self.name, plan) if self.beta else None
        return plan

    def start(self, run: "Run") -> None:
        """The weights, on the run's device."""
        if self.counts is not None:
            self.weights = weights(self.counts, self.beta).float().to(run.profile.device)

    def loss(self, loss: LossFn) -> LossFn:
        """Judge with weighted targets, in which cross-entropy is linear."""
        return judged(loss, self.criterion) if self.beta else loss

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Scores and targets, N K, -> scalar."""
        return task.loss(output, target * self.weights)


def weights(counts: Tensor, beta: float) -> Tensor:
    """One weight a class, with mean one over the samples counted. K, float64 -> K."""
    effective = counts if beta == 1 else (1 - beta**counts) / (1 - beta)
    return counts.sum() / (counts / effective).sum() / effective


def class_counts(name: str, plan: DataPlan) -> Tensor:
    """How many samples of each class an epoch draws, on average; 1 for a class that it never draws. K, float64.

    Raises:
        NetwrightError: for the trick `name`: the labels cannot be seen.
    """
    if plan.train.labels is None:
        raise NetwrightError(
            f"{name} cannot see the labels of this dataset",
            "give the dataset a `targets` list, as torchvision's have",
        )
    labels = plan.train.labels
    drawn = None if plan.weights is None else len(labels) * plan.weights / plan.weights.sum()
    counts = np.bincount(labels, weights=drawn, minlength=plan.classes)
    return torch.from_numpy(np.where(counts > 0, counts, 1.0))
