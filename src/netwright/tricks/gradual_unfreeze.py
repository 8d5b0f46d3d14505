"""Trains the head first, then stage after stage from the last to the first."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from torch import nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.plans import Group, OptimPlan
from netwright.engine.run import Passed
from netwright.engine.trick import Card, GradFn, Range, Trick
from netwright.nn.depth import depths
from netwright.nn.frozen import frozen

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class GradualUnfreeze(Trick):
    """Until a stage joins, it stands still: no gradient, no momentum or weight decay, and norms keep their statistics.

    Stages join evenly, so that a new head does not spoil at once what others have learnt. When is a function of the
    run's time alone. A decoder is the last stage, and all of it joins at once.

    Attributes:
        until: when the first stage joins, and with it everything trains, as a part of the run; at 1 it never does.
    """

    until: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Howard & Ruder, Universal language model fine-tuning for text classification, ACL 2018, §3.3",
        neutral={"until": 0.0},
        strong={"until": 1.0},
        ranges={"until": Range(0.2, 0.9)},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "it begins with a head alone, and an autoencoder has none; layer_decay slows what "
            "lies deeper",
        },
        after=("head", "layer_decay", "no_decay"),
        excludes=("layer_freezing", "max_norm"),  # which would end what has hardly begun, and move what stands still
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Remember where depths can be read, once every trick has changed the network."""
        self.network = module
        return module

    def optim(self, plan: OptimPlan) -> OptimPlan:
        """A group for each stage, which is trained from its time on."""
        self.parameters: list[tuple[nn.Parameter, float]] = []
        self.layers: list[tuple[nn.Module, float]] = []
        if not self.until:
            return plan
        found = depths(self.network)
        times = joining_times(found.stages, self.until)
        self.parameters = [(p, times[found.of[name]]) for name, p in self.network.named_parameters()]
        self.layers = [(self.network.get_submodule(name), times[depth]) for name, depth in found.layers.items()]
        return plan.parted(lambda name, _: times[found.of[name]], _since)

    def gradient(self, gradient: GradFn) -> GradFn:
        """Without what has not joined yet."""

        def partly(batch: "Batch", run: "Run") -> Passed:
            parameters = [parameter for parameter, time in self.parameters if run.time < time]
            with frozen(parameters, [layer for layer, time in self.layers if run.time < time]):
                return gradient(batch, run)

        return partly


def _since(group: Group, time: float) -> Group:
    return replace(group, since=time)


def joining_times(stages: int, until: float) -> list[float]:
    """When each depth joins, from the first stage to the head: until · (stages − depth) / stages."""
    return [until * (stages - depth) / stages if stages else 0.0 for depth in range(stages + 1)]
