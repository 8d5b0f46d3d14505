"""Puts each sample several times in a batch, augmented each time in another way."""

from dataclasses import dataclass, replace
from typing import Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.plans import DataPlan
from netwright.engine.trick import Card, Range, Trick


@dataclass
class RepeatedAugmentation(Trick):
    """A batch of n holds n / repeats different samples, so an epoch sees 1 / repeats of them, in as many steps.

    Only netwright's tricks draw for each copy: the random transforms of a dataset of one's own give all copies of a
    sample the same picture.
    """

    repeats: Annotated[int, Between(1, 64)] = 3

    card = Card(
        paper="Berman et al., MultiGrain: A unified image embedding for classes and instances, arXiv 1902.05509; "
        "Hoffer et al., Augment your batch: Improving generalization through instance repetition, CVPR 2020",
        neutral={"repeats": 1},
        strong={"repeats": 4},
        ranges={"repeats": Range(2, 5)},
        treats=(Symptom.OVERFITTING,),
    )

    def data(self, plan: DataPlan) -> DataPlan:
        """Repeat samples in their batch."""
        return replace(plan, repeats=self.repeats)
