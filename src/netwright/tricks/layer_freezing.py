"""Trains early layers for a part of the run only, and saves their backward pass from then on."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from torch import nn

from netwright.core.options import Between
from netwright.engine.plans import Group, OptimPlan
from netwright.engine.run import Passed
from netwright.engine.trick import Card, GradFn, Trick
from netwright.nn.ends import head_parameters, owners

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class LayerFreezing(Trick):
    """Each layer's schedule ends at a time of its own, from `first` for the first layer to the run's end for its heads.

    From its time on a layer stands still: neither momentum nor weight decay moves it, its norms keep their statistics,
    and no gradient is computed for it. Layers count in the order in which the network registers them.

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
        self.layers = list(zip(body, freezing_times(len(body) + 1, self.first, self.power), strict=False))
        until = {id(p): time for layer, time in self.layers for p in layer.parameters(recurse=False)}
        return replace(plan, groups=tuple(part for group in plan.groups for part in self._parts(group, until)))

    def gradient(self, gradient: GradFn) -> GradFn:
        """Without what is frozen."""

        def partly(batch: "Batch", run: "Run") -> Passed:
            with frozen([layer for layer, time in self.layers if run.time >= time]):
                return gradient(batch, run)

        return partly

    def _parts(self, group: Group, until: dict[int, float]) -> Iterator[Group]:
        for time in sorted({until.get(id(p), 1.0) for _, p in group.parameters}):
            pairs = tuple((name, p) for name, p in group.parameters if until.get(id(p), 1.0) == time)
            rate = group.rate / time if self.scaled else group.rate
            yield replace(group, parameters=pairs, until=time, rate=rate)


def freezing_times(layers: int, first: float, power: float) -> list[float]:
    """When each of the layers freezes: (f + (1 − f) · l / (layers − 1)) ^ power with f ^ power = `first`."""
    root = first ** (1 / power)
    places = [layer / (layers - 1) for layer in range(layers)] if layers > 1 else []
    between = [float((root + (1 - root) * place) ** power) for place in places[1:-1]]
    return [first, *between, 1.0] if layers > 1 else [1.0] * layers  # the ends exactly, whatever powers round to


@contextmanager
def frozen(layers: list[nn.Module]) -> Generator[None]:
    """For a while, layers take no gradient of their own and behave as in evaluation."""
    parameters = [p for layer in layers for p in layer.parameters(recurse=False) if p.requires_grad]
    before = [layer.training for layer in layers]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        for layer in layers:
            layer.training = False
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for layer, training in zip(layers, before, strict=True):
            layer.training = training
