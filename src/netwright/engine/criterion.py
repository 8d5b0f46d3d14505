"""Another loss in the place of the task's own: what `loss` tricks put on that change how scores are judged."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from netwright.engine.run import Batch, Run, Task
    from netwright.engine.trick import LossFn

Criterion = Callable[["Task", Any, Tensor], Tensor]


@dataclass
class Judged:
    """A task whose loss is `criterion(task, output, target)`."""

    name: str
    task: "Task"
    criterion: Criterion

    @property
    def several(self) -> bool:
        """As the task's."""
        return several(self.task)

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """As the task's."""
        return self.task.batch(image, label)

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """The criterion's."""
        return self.criterion(self.task, output, target)

    def metrics(self, output: Any, label: Tensor) -> dict[str, Tensor]:
        """As the task's."""
        return self.task.metrics(output, label)


def several(task: "Task") -> bool:
    """Whether a task asks a yes or no of each class, rather than which one it is: of pictures, or of pixels."""
    return task.name == "multi_label" or bool(getattr(task, "several", False))


def judged(loss: "LossFn", criterion: Criterion) -> "LossFn":
    """A loss that does what `loss` does, but with `criterion` where that asks the task.

    So each auxiliary head is judged alike, and penalties and other terms stay, whatever the order of the tricks. Of
    several criteria the innermost is asked first, and the task that it is given is the next.
    """

    def wrapped(output: Any, batch: "Batch", run: "Run") -> Tensor:
        seen = copy.copy(run)  # for the length of this call: metrics go on asking the run's own task
        seen.task = Judged(run.task.name, run.task, criterion)
        return loss(output, batch, seen)

    return wrapped
