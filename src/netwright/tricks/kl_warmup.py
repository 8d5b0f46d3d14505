"""Lets the divergence of random codes cost nothing at first, and its full price from some time on."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.nn.output import Decoded
from netwright.tricks._code import NO_CODE, charged, require_random

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class KlWarmup(Trick):
    """The network's beta is multiplied by what rises linearly from 0 to 1, so that codes are used before they cost.

    Evaluation has the full price throughout.

    Attributes:
        until: the progress from which on the price is the full one.
    """

    until: Annotated[float, Between(0, 1)] = 0.3

    card = Card(
        paper="Bowman et al., Generating sentences from a continuous space, CoNLL 2016; "
        "Sønderby et al., Ladder variational autoencoders, NeurIPS 2016",
        neutral={"until": 0.0},
        strong={"until": 1.0},
        ranges={"until": Range(0.1, 0.8)},
        treats=(Symptom.POSTERIOR_COLLAPSE,),
        tasks=("reconstruction",),
        why=NO_CODE,
    )

    def start(self, run: "Run") -> None:
        """Codes have to be random."""
        require_random(self.name, run.model)

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""
        return charged(loss, self.warmed) if self.until else loss

    def warmed(self, output: Decoded, run: "Run") -> Decoded:
        """An output with the beta of now."""
        return replace(output, beta=output.beta * warmth(run.progress, self.until))


def warmth(progress: float, until: float) -> float:
    """min(1, progress / until), and 1 where there is no warm-up."""
    return progress / until if progress < until else 1.0
