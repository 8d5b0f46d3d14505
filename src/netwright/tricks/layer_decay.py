"""Trains early layers at smaller rates, since what they see is much the same in all pictures."""

from dataclasses import dataclass, replace
from typing import Annotated

from torch import nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.plans import Group, OptimPlan
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.depth import depths


@dataclass
class LayerDecay(Trick):
    """The rate of a stage is multiplied by `decay` for each step that it lies before the head, whose rate stays.

    What lies between the last feature map and the head counts to the last stage.

    Attributes:
        decay: the rate of each stage for one of the next.
    """

    decay: Annotated[float, Between(1e-6, 1)] = 0.7

    card = Card(
        paper="Howard & Ruder, Universal language model fine-tuning, ACL 2018, §3.2; Clark et al., ELECTRA, ICLR 2020; "
        "Bao et al., BEiT, ICLR 2022",
        neutral={"decay": 1.0},
        strong={"decay": 0.1},
        ranges={"decay": Range(0.2, 0.95)},
        treats=(Symptom.OVERFITTING,),
        after=("head", "no_decay"),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Remember where depths can be read, once every trick has changed the network."""
        self.network = module
        return module

    def optim(self, plan: OptimPlan) -> OptimPlan:
        """A group for each stage."""
        if self.decay == 1:
            return plan
        found = depths(self.network)

        def slowed(group: Group, depth: float) -> Group:
            return replace(group, rate=group.rate * decayed(self.decay, int(depth), found.stages))

        return plan.parted(lambda name, _: found.of[name], slowed)


def decayed(decay: float, depth: int, stages: int) -> float:
    """What a rate is multiplied by: decay ^ (stages − depth), 1 for the head."""
    return decay ** (stages - depth)
