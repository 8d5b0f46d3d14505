"""Mixes each picture with versions of itself that went through chains of operations."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.engine.warp import Warp, resample
from netwright.tricks._pixels import per_sample
from netwright.tricks._policy import Drawn, Operation, Space, Span, moves, retouched

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run

SPACE = Space(
    (
        Span(Operation.SHEAR_X, 0, 0.3, signed=True),
        Span(Operation.SHEAR_Y, 0, 0.3, signed=True),
        Span(Operation.TRANSLATE_X, 0, 1 / 3, signed=True),
        Span(Operation.TRANSLATE_Y, 0, 1 / 3, signed=True),
        Span(Operation.ROTATE, 0, 30, signed=True),
        Span(Operation.POSTERIZE, 4, 0),
        Span(Operation.SOLARIZE, 1, 0),
        Span(Operation.AUTOCONTRAST),
        Span(Operation.EQUALIZE),
    ),
    magnitudes=10,
)


@dataclass
class Augmix(Trick):
    """(1 − m) x + m Σ wᵢ chainᵢ(x) with w from a Dirichlet and m from a Beta distribution, both with `alpha`.

    The paper's second part, a loss that compares the scores of three such mixtures, is not in it.

    Attributes:
        severity: each operation's magnitude is one of the lowest `severity` of ten.
        width: how many chains.
        depth: the most operations in a chain; 1 … depth are as likely.
        alpha: large values mix evenly.
    """

    severity: Annotated[int, Between(1, 10)] = 3
    width: Annotated[int, Between(1, 10)] = 3
    depth: Annotated[int, Between(0, 10)] = 3
    alpha: Annotated[float, Between(0.1, 100)] = 1.0

    card = Card(
        paper="Hendrycks et al., AugMix: A simple method to improve robustness and uncertainty, ICLR 2020",
        neutral={"depth": 0},
        strong={"severity": 10},
        ranges={"severity": Range(1, 6)},
        treats=(Symptom.OVERFITTING, Symptom.OVERCONFIDENCE),
        tasks=("classification", "multi_label"),
        why={
            "segmentation": "it blends copies of a picture that were moved differently, and one mask cannot follow "
            "them all; randaugment moves the picture once, and the mask with it",
            "reconstruction": "what it compares are class probabilities of copies; denoise shows a corrupted copy "
            "and asks for the clean picture",
        },
    )

    def pixels(self, batch: "Batch", run: "Run") -> "Batch":
        """v ↦ (1 − m) v + m Σ wᵢ chainᵢ(v)."""
        if not self.depth:
            return batch
        weights = self.weights(run)
        mixed = batch.image * per_sample(1 - weights.sum(1))
        for weight, drawn in zip(weights.unbind(1), self.chains(run), strict=True):
            chain = batch.image
            for operation, level in drawn:
                chain = performed(chain, operation, level)
            mixed += chain * per_sample(weight)
        return batch.changed(image=mixed.clamp_(0, 1))

    def chains(self, run: "Run") -> list[Drawn]:
        """The operations of each chain; behind a chain's end they are the identity."""
        uniform = run.uniform(self.name, self.width * (3 * self.depth + 1)).unflatten(1, (self.width, -1))
        drawn = [SPACE.draw(u[:, 1:].unflatten(1, (self.depth, 3)), range(self.severity)) for u in uniform.unbind(1)]
        length = (uniform[:, :, :1] * self.depth).floor() + 1
        ended = torch.arange(self.depth, device=uniform.device) >= length  # N width depth
        return [
            Drawn(each.operation.masked_fill(over, Operation.IDENTITY), each.level)
            for each, over in zip(drawn, ended.unbind(1), strict=True)
        ]

    def weights(self, run: "Run") -> Tensor:
        """m wᵢ: a Dirichlet's and a Beta's draw are Gamma's, over their sum. N width."""
        draws = gamma(run.uniform(f"{self.name} weights", self.width + 2), self.alpha)
        chains, skip = draws[:, : self.width], draws[:, self.width :]
        return (chains / chains.sum(1, keepdim=True) * skip[:, :1] / skip.sum(1, keepdim=True)).float()


def gamma(uniform: Tensor, alpha: float) -> Tensor:
    """Gamma(alpha, 1) draws from uniform ones, by the inverse of its distribution. Any shape; float64."""
    from scipy.special import gammaincinv

    middles = uniform.double() + 2.0**-25  # of the 2²⁴ steps a draw can fall into, so that none is zero
    values: np.ndarray = gammaincinv(alpha, middles.cpu().numpy())
    return torch.from_numpy(values).to(uniform.device)


def performed(image: Tensor, operation: Tensor, level: Tensor) -> Tensor:
    """One geometric or pixel operation on each picture. N C H W."""
    out = retouched(image.clone(memory_format=torch.contiguous_format), Drawn(operation[:, None], level[:, None]))
    where = ((operation >= Operation.SHEAR_X) & (operation <= Operation.ROTATE)).nonzero()[:, 0]
    if len(where):
        size = (image.shape[2], image.shape[3])
        matrix = moves(Drawn(operation[where, None], level[where, None]), size, size)[:, 0]
        out[where] = resample(image[where], Warp.centre(len(where), size, size, image.device).then(matrix))
    return out
