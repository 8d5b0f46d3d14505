"""Lets every dimension of a random code tell so much of a picture at no cost."""

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
class FreeBits(Trick):
    """The divergence of a dimension counts as `nats` at least: below that, using it less saves nothing.

    It is the mean over the batch that counts, as in the paper, not that of each picture. With `accumulate` it is the
    mean over each part. Evaluation charges everything.

    Attributes:
        nats: free for each dimension; a bit is log 2 ≈ 0.69 of them.
    """

    nats: Annotated[float, Between(0, 100)] = 0.1

    card = Card(
        paper="Kingma et al., Improved variational inference with inverse autoregressive flow, NeurIPS 2016, §C.8",
        neutral={"nats": 0.0},
        strong={"nats": 2.0},
        ranges={"nats": Range(0.01, 1.0, log=True)},
        treats=(Symptom.POSTERIOR_COLLAPSE,),
        tasks=("reconstruction",),
        why=NO_CODE,
    )

    def start(self, run: "Run") -> None:
        """Codes have to be random."""
        require_random(self.name, run.model)

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""
        return charged(loss, self.freed) if self.nats else loss

    def freed(self, output: Decoded, run: "Run") -> Decoded:
        """An output of which so many nats are not charged."""
        return replace(output, floor=self.nats)
