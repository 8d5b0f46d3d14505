"""Computes the gradient of a batch in parts, so that a large batch fits in little memory."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.criterion import several
from netwright.engine.run import Passed, of_pictures
from netwright.engine.trick import Card, GradFn, Trick
from netwright.nn.output import Decoded

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run


@dataclass
class Accumulate(Trick):
    """The batch is cut into `parts`; their gradients are weighted by their size and added.

    The batch size stays what the recipe says: it is the update that counts. The gradient equals the whole batch's,
    except through batch normalisation and losses of regions, which see each part by itself. Of masks, a part counts by
    its labelled pixels.
    """

    parts: Annotated[int, Between(1, 1024)] = 2

    card = Card(
        paper="Goyal et al., Accurate, large minibatch SGD, arXiv 1706.02677, §3",
        neutral={"parts": 1},
        strong={"parts": 4},
        treats=(Symptom.OUT_OF_MEMORY,),
    )

    @property
    def passes(self) -> int:
        """One for each part."""
        return self.parts

    def gradient(self, gradient: GradFn) -> GradFn:
        """Wrap the gradient."""

        def in_parts(batch: "Batch", run: "Run") -> Passed:
            bounds = [len(batch) * i // self.parts for i in range(self.parts + 1)]
            pieces = [slice(a, b) for a, b in pairwise(bounds) if b > a]
            if len(pieces) == 1:
                return gradient(batch, run)
            whole = counted(batch, run)
            parts = [batch.take(piece) for piece in pieces]
            return _joined([_weighted(gradient, part, run, share(part, run, whole, len(parts))) for part in parts])

        return in_parts


def share(part: "Batch", run: "Run", whole: int | Tensor, parts: int) -> float | Tensor:
    """How much a part counts, by what its loss is a mean over; all alike where the whole batch has nothing of it."""
    own = counted(part, run)
    if isinstance(own, Tensor) and isinstance(whole, Tensor):
        return torch.where(whole > 0, own / whole.clamp(min=1), 1 / parts)
    return own / whole


def counted(batch: "Batch", run: "Run") -> int | Tensor:
    """What the task's mean loss is a mean over: samples; of masks labelled pixels, or known targets."""
    if batch.target.dim() < 3 or of_pictures(run.task):
        return len(batch)
    known = ~batch.target.isnan() if several(run.task) else batch.target.sum(1) > 0
    return known.sum()


def _weighted(gradient: GradFn, part: "Batch", run: "Run", share: float | Tensor) -> tuple[float | Tensor, Passed]:
    """A part's gradient, scaled by the part's share of the batch and added to what was there."""
    before = [p.grad for p in run.optimizer.parameters]
    for parameter in run.optimizer.parameters:
        parameter.grad = None
    passed = gradient(part, run)
    for parameter, held in zip(run.optimizer.parameters, before, strict=True):
        if parameter.grad is not None:
            parameter.grad.mul_(share)
            if held is not None:
                parameter.grad.add_(held)
        else:
            parameter.grad = held
    return share, passed


def _joined(parts: list[tuple[float | Tensor, Passed]]) -> Passed:
    loss = torch.stack([share * passed.loss for share, passed in parts]).sum()
    return Passed(loss, _together([passed.output for _, passed in parts]))


def _together(outputs: list[Any]) -> Any:
    """The parts' outputs as the whole batch's."""
    first = outputs[0]
    if isinstance(first, Decoded):
        names = [name for name, value in vars(first).items() if isinstance(value, Tensor)]
        return replace(first, **{name: torch.cat([getattr(each, name) for each in outputs]) for name in names})
    return torch.cat(outputs) if isinstance(first, Tensor) else outputs
