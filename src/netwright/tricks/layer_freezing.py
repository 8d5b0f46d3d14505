"""Trains early layers for a part of the run only, and saves their backward pass from then on."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from torch import nn

from netwright.core.options import Between
from netwright.engine.plans import Group, OptimPlan
from netwright.engine.run import Passed
from netwright.engine.trick import Card, GradFn, Range, Trick
from netwright.nn.ends import head_parameters, owners
from netwright.nn.frozen import frozen

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class LayerFreezing(Trick):
    """Each layer's schedule ends at a time of its own, from `first` for the first layer to the run's end for its heads.

    From its time on a layer stands still: neither momentum nor weight decay moves it, its norms keep their statistics,
    and no gradient is computed for it. Layers count in the order in which the network registers them; of a network
    without heads, such as an autoencoder, the last one trains to the end.

    Attributes:
        first: when the first layer freezes, as a part of the run.
        power: how the times grow with depth: 1 evenly, 3 as the paper's cubic rule, which freezes more layers early.
        scaled: multiply a layer's rate by what its time is shorter, so that it learns as much as if not frozen.
    """

    first: Annotated[float, Between(0.01, 1)] = 0.5
    power: Annotated[float, Between(1, 10)] = 3.0
    scaled: bool = True

    card = Card(
        paper="Brock et al., FreezeOut: accelerate training by progressively freezing layers, arXiv 1706.04983",
        neutral={"first": 1.0},
        strong={"first": 0.2},
        ranges={"first": Range(0.25, 0.75)},
        after=("head",),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Remember where the order of the layers can be read, once every trick has changed the network."""
        self.network = module
        return module

    def optim(self, plan: OptimPlan) -> OptimPlan:
        """A group for each time, whose schedule ends then."""
        heads = head_parameters(self.network)
        named = {id(p) for name, p in self.network.named_parameters() if name in heads}
        body = [layer for layer in owners(self.network) if not any(id(p) in named for p in layer.parameters())]
        self.layers = list(zip(body, freezing_times(len(body) + bool(heads), self.first, self.power), strict=False))
        until = {id(p): time for layer, time in self.layers for p in layer.parameters(recurse=False)}
        return plan.parted(lambda _, parameter: until.get(id(parameter), 1.0), self._ending)

    def gradient(self, gradient: GradFn) -> GradFn:
        """Without what is frozen."""

        def partly(batch: "Batch", run: "Run") -> Passed:
            still = [layer for layer, time in self.layers if run.time >= time]
            with frozen([p for layer in still for p in layer.parameters(recurse=False)], still):
                return gradient(batch, run)

        return partly

    def _ending(self, group: Group, time: float) -> Group:
        return replace(group, until=time, rate=group.rate / time if self.scaled else group.rate)


def freezing_times(layers: int, first: float, power: float) -> list[float]:
    """When each of the layers freezes: (f + (1 − f) · l / (layers − 1)) ^ power with f ^ power = `first`."""
    root = first ** (1 / power)
    places = [layer / (layers - 1) for layer in range(layers)] if layers > 1 else []
    between = [float((root + (1 - root) * place) ** power) for place in places[1:-1]]
    return [first, *between, 1.0] if layers > 1 else [1.0] * layers  # the ends exactly, whatever powers round to
