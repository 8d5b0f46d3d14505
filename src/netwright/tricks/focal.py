"""Gives samples less weight the surer the network already is of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged, several
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.nn.losses import binary_cross_entropy, binary_cross_entropy_of_pixels, doubt

if TYPE_CHECKING:
    from netwright.engine.run import Task


@dataclass
class Focal(Trick):
    """Each term −t log p of the loss is multiplied by (1 − p)^gamma; soft targets t are averaged over.

    Where classes exclude each other, p is the softmax and the rest is the task's own loss: on masks a mean over all
    labelled pixels. Where they may overlap, p is the sigmoid of either answer, as in the paper; its α is for
    class_weights to give.
    """

    gamma: Annotated[float, Between(0, 10)] = 2.0

    card = Card(
        paper="Lin et al., Focal loss for dense object detection, ICCV 2017",
        neutral={"gamma": 0.0},
        strong={"gamma": 5.0},
        ranges={"gamma": Range(0.5, 5)},
        treats=(Symptom.CLASS_IMBALANCE, Symptom.OVERCONFIDENCE),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "it weighs samples by the probability of their class, and a picture is given back "
            "without one",
        },
        after=("dice", "logit_adjustment", "tversky"),  # so that p is the adjusted one, and regions are of all pixels
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Judge the scores in this way."""
        return judged(loss, self.criterion) if self.gamma else loss

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Scores and targets, N K …, -> scalar."""
        if not several(task):
            return task.loss(output, target * doubt(-output.float().log_softmax(1), self.gamma))
        if target.dim() > 2:
            return binary_cross_entropy_of_pixels(output, target, gamma=self.gamma)
        return binary_cross_entropy(output, target, gamma=self.gamma).mean()
