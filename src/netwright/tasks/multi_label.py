"""Any number of classes for each picture: binary cross-entropy; the share of labels right is the headline."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.nn.losses import binary_cross_entropy


@dataclass(frozen=True)
class MultiLabel:
    """A yes or no for each of `classes` classes. Outputs are logits, N K; a class is named where its logit is positive.

    Labels are N K: 1 where the picture shows the class, 0 where it does not, and −1 or NaN where nobody looked.
    Unknown labels count in no loss and no metric: a sample's values are means over its known labels, so that a sample
    weighs the same however many those are (Durand et al., CVPR 2019). With scikit-learn's names, `accuracy` is 1
    where every label is right, `f1_samples` is each sample's F1, and 1 where there was nothing to find and nothing was
    found; `label_accuracy` is one minus its `hamming_loss`. A target that is unknown is NaN, and stays so when mixed.
    """

    classes: Annotated[int, Between(1)] = 10

    name = "multi_label"

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """Labels as probabilities, NaN where unknown. N K -> N K.

        Raises:
            NetwrightError: labels are not one number for each class.
        """
        if label.shape[1:] != (self.classes,):
            raise NetwrightError(
                f"multi_label wants {self.classes} labels a picture, and these have the shape {tuple(label.shape[1:])}",
                "give each picture a 0 or 1 for every class; -1 or NaN where it is not known",
            )
        return label.float().masked_fill(~(label >= 0), torch.nan)  # NaN is not at least 0 either

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean over samples of the mean binary cross-entropy over known classes, in nats. N K, N K -> scalar."""
        return binary_cross_entropy(output, target).mean()

    def metrics(self, output: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Share of labels right, whether all are, F1, and binary cross-entropy of each sample. N."""
        known = label >= 0
        found, there = (output > 0) & known, (label > 0) & known
        wrong, size = (found != there).sum(1), known.sum(1)
        return {
            "label_accuracy": 1 - wrong / size.clamp(min=1),
            "accuracy": (wrong == 0).float(),
            "f1_samples": f1(found, there),
            "loss": binary_cross_entropy(output, self.batch(output, label)),
        }


def f1(found: Tensor, there: Tensor) -> Tensor:
    """2 · hits / (found + there), and 1 where both are none. N K, N K, true or false -> N."""
    hits, total = (found & there).sum(1), found.sum(1) + there.sum(1)
    return torch.where(total > 0, 2 * hits / total.clamp(min=1), 1.0)
