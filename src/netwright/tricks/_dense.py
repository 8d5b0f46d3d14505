"""What losses on masks share: what the task says of its classes, and sums over the pixels of a batch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

from netwright.engine.criterion import Judged

if TYPE_CHECKING:
    from netwright.engine.run import Task


@runtime_checkable
class Masked(Protocol):
    """A task that gives each pixel a class, as `segmentation` does."""

    background: bool
    several: bool

    @property
    def counted(self) -> slice:
        """The classes that means are over."""
        ...


@dataclass(frozen=True)
class Overlap:
    """Probabilities p and truth q of each class, summed over the pixels of a batch by their weight w. K each.

    Attributes:
        both: Σ w p q.
        found: Σ w p.
        there: Σ w q.
        found_squared: Σ w p².
        there_squared: Σ w q².
    """

    both: Tensor
    found: Tensor
    there: Tensor
    found_squared: Tensor
    there_squared: Tensor


def masked(task: "Task") -> Masked | None:
    """The task under all that judges in its place, if it is one of masks."""
    while isinstance(task, Judged):
        task = task.task
    return task if isinstance(task, Masked) else None


def overlap(task: "Task", output: Tensor, target: Tensor) -> Overlap:
    """The overlap for each of the classes that the task counts. N K …, N K … -> K.

    A pixel that is ignored has no weight, nor has a target that is not known; in float32.
    """
    asked = masked(task)
    several = asked is not None and asked.several
    p = output.float().sigmoid() if several else output.float().softmax(1)
    weight = (~target.isnan()).float() if several else target.sum(1, keepdim=True)
    t = target.nan_to_num() if several else target  # w q
    q = t / weight.clamp(min=1e-12)
    over = [0, *range(2, target.dim())]
    sums = [each.sum(over) for each in (p * t, p * weight, t, p.square() * weight, t * q)]
    return Overlap(*(each[asked.counted] if asked else each for each in sums))
