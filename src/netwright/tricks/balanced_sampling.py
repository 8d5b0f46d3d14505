"""Draws rare classes more often."""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.plans import DataPlan
from netwright.engine.trick import Card, Range, Trick


@dataclass
class BalancedSampling(Trick):
    """Samples are drawn with replacement, each with weight n_class ^ −power.

    Attributes:
        power: 1 draws every class equally often, 0.5 is the square-root compromise.
    """

    power: Annotated[float, Between(0, 1)] = 1.0

    card = Card(
        paper="Mahajan et al., Exploring the limits of weakly supervised pretraining, ECCV 2018, §2.2",
        strong={"power": 1.0},
        ranges={"power": Range(0.0, 1.0)},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("classification",),
        why={
            "multi_label": "a picture may show frequent classes beside a rare one",
            "segmentation": "a picture has no one class; crops are drawn so that rare classes appear, and "
            "class_weights weighs them",
            "reconstruction": "pictures need no classes there; repeat those that are rare in the data itself",
        },
    )

    def data(self, plan: DataPlan) -> DataPlan:
        """Weigh every sample."""
        if plan.train.labels is None:
            raise NetwrightError(
                "balanced_sampling cannot see the labels of this dataset",
                "give the dataset a `targets` list, as torchvision's have",
            )
        return replace(plan, weights=weights(plan.train.labels, plan.classes, self.power))


def weights(labels: np.ndarray, classes: int, power: float) -> np.ndarray:
    """One weight a sample; they sum to one. N -> N."""
    counts = np.bincount(labels, minlength=classes)
    each = counts[labels].astype(float) ** -power
    return each / each.sum()
