"""One class for each picture: cross-entropy over soft targets; accuracy is the headline."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from netwright.core.options import Between


@dataclass(frozen=True)
class Classification:
    """Classification into `classes` classes. Outputs are logits, N K."""

    classes: Annotated[int, Between(2)] = 10

    name = "classification"

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """Class indices as probabilities. N -> N K."""
        return torch.nn.functional.one_hot(label, self.classes).float()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy in nats. N K, N K -> scalar."""
        return cross_entropy(output, target).mean()

    def metrics(self, output: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Accuracy (1 where the largest logit is the label's) and cross-entropy of each sample. N."""
        correct = (output.argmax(1) == label).float()
        return {"accuracy": correct, "loss": cross_entropy(output, self.batch(output, label))}


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """−Σ target · log softmax(output), in float32 whatever the network computed in. N K, N K -> N."""
    return -(target * output.float().log_softmax(1)).sum(1)
