"""Trains the extra heads that some networks have half-way, so that the gradient reaches early layers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, LossFn, Range, Trick
from netwright.nn.output import Outputs

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class AuxiliaryHeads(Trick):
    """loss(scores) + weight · Σ loss(auxiliary scores), for networks with such heads (googlenet, fcn_resnet50).

    Without it the heads stay as they were drawn. They are never part of a prediction.
    """

    weight: Annotated[float, Between(0)] = 0.3

    card = Card(
        paper="Szegedy et al., Going deeper with convolutions, CVPR 2015, §5",
        neutral={"weight": 0.0},
        strong={"weight": 1.0},
        ranges={"weight": Range(0.1, 0.6)},
        treats=(Symptom.VANISHING_GRADIENTS,),
        tasks=("classification", "multi_label", "segmentation"),
        why={
            "reconstruction": "no autoencoder has a second decoder half-way that such a loss could train",
        },
    )

    def loss(self, loss: LossFn) -> LossFn:
        """Wrap the loss."""

        def with_heads(output: Any, batch: "Batch", run: "Run") -> Tensor:
            if not isinstance(output, Outputs):
                raise NetwrightError(
                    f"{type(run.model).__name__} has no auxiliary heads",
                    "leave the trick out (--without auxiliary_heads), or choose a network that has some: googlenet, "
                    "or fcn_resnet50 for masks",
                )
            total = loss(output, batch, run)
            for scores in output.auxiliary:
                total = total + self.weight * loss(scores, batch, run)
            return total

        return with_heads if self.weight else loss
