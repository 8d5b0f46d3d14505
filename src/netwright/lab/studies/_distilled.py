"""Classification in which classes learnt earlier are looked after (Li & Hoiem 2016, arXiv:1606.09282)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Careful:
    """Classes as they are, of which only the new ones compete: older ones' scores are not pushed down.

    The loss is the cross-entropy over the classes from `first` on. The paper gives new classes a head of their own.

    Args:
        classes: K, all so far.
        first: the first that the cross-entropy compares; labels lie from there on.
    """

    classes: int
    first: int = 0

    name = "classification"

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """Class indices as probabilities. N -> N K."""
        return nn.functional.one_hot(label, self.classes).float()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """In nats, a mean over the batch. N K, N K -> scalar."""
        return cross_entropy(output[:, self.first :], target[:, self.first : self.classes]).mean()

    def metrics(self, output: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Accuracy and cross-entropy of each sample among all classes. N."""
        correct = (output.argmax(1) == label).float()
        target = nn.functional.one_hot(label, self.classes).float()
        return {"accuracy": correct, "loss": cross_entropy(output, target)}


@dataclass(frozen=True, kw_only=True)
class Distilled(Careful):
    """The same, and the answers of an older network are to stay.

    To the loss it adds weight · T² · KL(teacher ‖ network) over the teacher's classes, both softened by the temperature
    T. T² keeps the gradient's size (Hinton et al. 2015, arXiv:1503.02531).

    Args:
        teacher: gives scores of the first classes, N old, for pictures as the network sees them.
        temperature: T.
        weight: of what is added.
    """

    teacher: nn.Module
    temperature: float = 2.0
    weight: float = 1.0

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """Class indices as probabilities, and beside them the teacher's. N -> N K+old."""
        teacher = self.teacher.to(image.device).eval()
        with torch.no_grad():
            soft = (teacher(image).float() / self.temperature).softmax(1)
        return torch.cat([super().batch(image, label), soft], 1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """In nats, a mean over the batch. N K, N K+old -> scalar."""
        soft = target[:, self.classes :]
        kept = distillation(output[:, : soft.shape[1]], soft, self.temperature)
        return super().loss(output, target) + self.weight * kept


def cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """−Σ target · log softmax(output). N K, N K -> N."""
    return -(target * output.float().log_softmax(1)).sum(1)


def distillation(output: Tensor, soft: Tensor, temperature: float) -> Tensor:
    """T² · KL(soft ‖ softmax(output / T)), a mean over the batch. N old, N old -> scalar."""
    log_probability = (output.float() / temperature).log_softmax(1)
    # xlogy is 0 where the teacher's probability is.
    gap = torch.xlogy(soft, soft) - soft * log_probability
    return temperature**2 * gap.sum(1).mean()
