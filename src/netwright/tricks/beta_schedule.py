"""Changes what the divergence of random codes costs as the run goes on."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.nn.output import Decoded
from netwright.tricks._code import NO_CODE, charged, require_random

if TYPE_CHECKING:
    from netwright.engine.run import Run

Kind = Literal["linear", "cosine", "cyclical"]
MOVING = 0.5  # of each cycle, after which it stays at its end: R of Fu et al.


@dataclass
class BetaSchedule(Trick):
    """The network's beta is multiplied by what goes from `first` to `last`. Evaluation has the network's own.

    Attributes:
        kind: straight, or along half a cosine, over the whole run; or in cycles, each of which goes straight from one
            to the other in its first half and stays there in its second.
        first: what beta is multiplied by at first.
        last: and in the end.
        cycles: how many, of "cyclical".
    """

    kind: Kind = "cyclical"
    first: Annotated[float, Between(0, 1000)] = 0.0
    last: Annotated[float, Between(0, 1000)] = 1.0
    cycles: Annotated[int, Between(1, 1000)] = 4

    card = Card(
        paper="Fu et al., Cyclical annealing schedule: a simple approach to mitigating KL vanishing, NAACL 2019",
        neutral={"first": 1.0, "last": 1.0},
        strong={"first": 0.0, "last": 4.0, "cycles": 2},
        ranges={"first": Range(0.0, 0.5), "last": Range(0.5, 4.0, log=True)},
        treats=(Symptom.POSTERIOR_COLLAPSE,),
        tasks=("reconstruction",),
        why=NO_CODE,
        excludes=("kl_warmup",),
    )

    def start(self, run: "Run") -> None:
        """Codes have to be random."""
        require_random(self.name, run.model)

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""
        return loss if self.first == self.last == 1 else charged(loss, self.scheduled)

    def scheduled(self, output: Decoded, run: "Run") -> Decoded:
        """An output with the beta of now."""
        way = travelled(run.progress, self.kind, self.cycles)
        return replace(output, beta=output.beta * (self.first + (self.last - self.first) * way))


def travelled(progress: float, kind: str, cycles: int = 1) -> float:
    """How much of the way from start to end is behind, in [0, 1], when `progress` of the run is."""
    if kind == "linear":
        return progress
    if kind == "cosine":
        return (1 - math.cos(math.pi * progress)) / 2
    within = progress * cycles % 1.0 if progress < 1 else 1.0
    return min(1.0, within / MOVING)
