"""Weighs each class in the loss by how rare it is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged, several
from netwright.engine.plans import DataPlan
from netwright.engine.trick import Card, LossFn, Trick

if TYPE_CHECKING:
    from netwright.engine.run import Run, Task


@dataclass
class ClassWeights(Trick):
    """The term of class k in the cross-entropy is multiplied by 1 / E_k, E_k = (1 − βⁿ) / (1 − β) for n samples.

    E_k is the effective number of samples: all alike at beta = 0, and n itself at 1, which gives inverse frequency.
    Weights have mean one over the training samples, so that the learning rate means what it did. Of masks, every
    pixel is a sample; of so many, only a beta close to 1 tells one number from another.
    """

    beta: Annotated[float, Between(0, 1)] = 1.0

    card = Card(
        paper="Cui et al., Class-balanced loss based on effective number of samples, CVPR 2019",
        neutral={"beta": 0.0},
        strong={"beta": 1.0},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("classification", "segmentation"),
        why={
            "reconstruction": "it weighs classes, and a picture is given back without one",
        },
        after=("balanced_sampling", "dice", "tversky"),
    )

    def data(self, plan: DataPlan) -> DataPlan:
        """Count the classes."""
        self.counts = class_counts(self.name, plan) if self.beta else None
        return plan

    def start(self, run: "Run") -> None:
        """The weights, on the run's device.

        Raises:
            NetwrightError: classes of masks overlap, so that a pixel is not a sample of one of them.
        """
        if several(run.task):
            raise NetwrightError(
                "class_weights weighs classes that exclude each other, and these may overlap",
                "use --with focal or --with dice, or leave it out with --without class_weights",
            )
        if self.counts is not None:
            self.weights = weights(self.counts, self.beta).float().to(run.profile.device)

    def loss(self, loss: LossFn) -> LossFn:
        """Judge with weighted targets, in which cross-entropy is linear."""
        return judged(loss, self.criterion) if self.beta else loss

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Scores and targets, N K …, -> scalar."""
        return task.loss(output, target * self.weights.view(-1, *[1] * (target.dim() - 2)))


def weights(counts: Tensor, beta: float) -> Tensor:
    """One weight a class, with mean one over the samples counted. K, float64 -> K."""
    effective = counts if beta == 1 else (1 - beta**counts) / (1 - beta)
    return counts.sum() / (counts / effective).sum() / effective


@runtime_checkable
class Counted(Protocol):
    """A source of masks that knows how many pixels of each class an epoch has."""

    @property
    def pixel_counts(self) -> np.ndarray:
        """Labelled pixels of each class in what an epoch draws, int64 K."""
        ...


def class_counts(name: str, plan: DataPlan) -> Tensor:
    """How many samples of each class an epoch draws, on average; 1 for a class that it never draws. K, float64.

    Of masks, the pixels of each class.

    Raises:
        NetwrightError: for the trick `name`: the labels cannot be seen.
    """
    if isinstance(plan.train, Counted):
        return torch.from_numpy(np.maximum(plan.train.pixel_counts, 1).astype(np.float64))
    if plan.train.labels is None:
        raise NetwrightError(
            f"{name} cannot see the labels of this dataset",
            "give the dataset a `targets` list, as torchvision's have; for masks of your own, use --with dice",
        )
    labels = plan.train.labels
    drawn = None if plan.weights is None else len(labels) * plan.weights / plan.weights.sum()
    counts = np.bincount(labels, weights=drawn, minlength=plan.classes)
    return torch.from_numpy(np.where(counts > 0, counts, 1.0))
