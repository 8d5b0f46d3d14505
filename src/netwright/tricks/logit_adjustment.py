"""Adds how frequent each class is to its score in training, so that rare classes must win by more."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import judged, several
from netwright.engine.plans import DataPlan
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.tricks.class_weights import class_counts

if TYPE_CHECKING:
    from netwright.engine.run import Run, Task


@dataclass
class LogitAdjustment(Trick):
    """loss(scores + tau · log π) with π the shares of the classes; predictions are made from the scores alone.

    At tau = 1 that is consistent for the balanced error, the mean over classes. In masks, shares are of labelled
    pixels.
    """

    tau: Annotated[float, Between(0, 10)] = 1.0

    card = Card(
        paper="Menon et al., Long-tail learning via logit adjustment, ICLR 2021",
        neutral={"tau": 0.0},
        strong={"tau": 3.0},
        ranges={"tau": Range(0.25, 2)},
        treats=(Symptom.CLASS_IMBALANCE,),
        tasks=("classification", "segmentation"),
        why={
            "multi_label": "shares of classes that exclude each other are what it adds, and these labels do not",
            "reconstruction": "it is about how frequent classes are, and a picture is given back without one",
        },
        after=("balanced_sampling", "dice", "tversky"),
    )

    def data(self, plan: DataPlan) -> DataPlan:
        """Count the classes."""
        self.counts = class_counts(self.name, plan) if self.tau else None
        return plan

    def start(self, run: "Run") -> None:
        """The adjustment, on the run's device.

        Raises:
            NetwrightError: classes of masks overlap, so that their shares are not of one whole.
        """
        if several(run.task):
            raise NetwrightError(
                "logit_adjustment adds the shares of classes that exclude each other, and these may overlap",
                "use --with focal or --with dice, or leave it out with --without logit_adjustment",
            )
        if self.counts is not None:
            shares = self.counts / self.counts.sum()
            self.adjustment = (self.tau * shares.log()).float().to(run.profile.device)

    def loss(self, loss: LossFn) -> LossFn:
        """Judge adjusted scores."""
        return judged(loss, self.criterion) if self.tau else loss

    def criterion(self, task: "Task", output: Tensor, target: Tensor) -> Tensor:
        """Scores and targets, N K …, -> scalar."""
        return task.loss(output.float() + self.adjustment.view(-1, *[1] * (output.dim() - 2)), target)
