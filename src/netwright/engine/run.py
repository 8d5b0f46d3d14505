"""One training run: what tricks may read, and the little they may write."""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine import random
from netwright.engine.device import Profile
from netwright.engine.memory import copied
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Group, Raw
from netwright.engine.trick import Tricks
from netwright.nn.output import Decoded, given, main_output


@dataclass(frozen=True)
class Batch:
    """What one step trains on.

    Attributes:
        image: N C H W.
        label: what the data says, N or N H W; metrics read it and nothing changes it.
        target: what the loss sees; for classes, probabilities N K.
        id: int64 N, which samples these are.
    """

    image: Tensor
    label: Tensor
    target: Tensor
    id: Tensor

    def __len__(self) -> int:
        return self.image.shape[0]

    def take(self, chosen: slice) -> "Batch":
        """Some of the samples."""
        return Batch(self.image[chosen], self.label[chosen], self.target[chosen], self.id[chosen])

    def changed(self, **fields: Tensor) -> "Batch":
        """The same batch with some fields replaced."""
        return replace(self, **fields)


@dataclass(frozen=True)
class Passed:
    """What a pass through the network gave: the mean loss (scalar) and the output, both without a graph."""

    loss: Tensor
    output: Any


class Task(Protocol):
    """What a network is trained for, as three pure methods."""

    name: str

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """The dense target of a label: for classes, N -> N K."""
        ...

    def loss(self, output: Any, target: Tensor) -> Tensor:
        """Mean loss over the batch, a scalar."""
        ...

    def metrics(self, output: Any, label: Tensor) -> dict[str, Tensor]:
        """One value a sample for each metric, N; the first is the headline, where more is better.

        For a task with `of_pictures = True` the label is the target: pictures are what it is about.
        """
        ...


class Optimizer(Protocol):
    """Updates parameters from their gradients."""

    parameters: list[nn.Parameter]
    groups: list[Group]
    lr: float

    def step(self, *factors: float, momentum: float | None = None) -> None:
        """One update at `factors` times the peak learning rate: one for each group, or one for all.

        The momentum is the schedule's, if it has one; it takes the place of the optimiser's own.
        """
        ...

    def memory(self) -> dict[str, Any]:
        """State for a checkpoint."""
        ...

    def recall(self, memory: dict[str, Any]) -> None:
        """Take the state back."""
        ...


class Schedule(Protocol):
    """What becomes of the learning rate in a run; a pure function, so that a resumed run needs no state of it."""

    def __call__(self, progress: float, history: Sequence[dict[str, Any]] = (), /) -> float:
        """The factor of the peak learning rate at a time in [0, 1], after epochs with these rows of metrics."""
        ...

    def momentum_at(self, progress: float) -> float | None:
        """The momentum at a time in [0, 1], or None to leave it to the optimiser."""
        ...


class Loader(Protocol):
    """Training batches, epoch by epoch."""

    steps: int
    batch_size: int

    def epoch(self, number: int, start: int = 0) -> Iterator[Raw]:
        """The batches of an epoch from step `start` on; the same ones however often it is asked."""
        ...


class NonFiniteError(NetwrightError):
    """The loss or its gradient is not a number; raised before the update.

    Attributes:
        numbers: epoch and step, both from 1, learning rate, loss and the gradient's norm.
        ids: of the samples in the batch.
        answer: what becomes of the batch, if the run does not end.
    """

    answer = ""

    def __init__(self, run: "Run", loss: float, norm: float) -> None:
        what = f"the gradient's norm is {norm}" if math.isfinite(loss) else f"the loss is {loss}"
        super().__init__(
            f"{what} at epoch {run.epoch + 1}, step {run.step + 1} (learning rate {run.rate:.3g}); "
            "the update was not made",
            "lower --lr, add --with grad_clip or a schedule with warmup, and look for broken pictures in the data",
        )
        self.numbers = {"epoch": run.epoch + 1, "step": run.step + 1, "lr": run.rate, "loss": loss}
        self.numbers |= {"gradient_norm": norm}
        self.ids: list[int] = run.ids.tolist()


@dataclass
class Run:
    """State of a run. Everything a resumed run needs is in `memory()`; all else is rebuilt from the recipe."""

    seed: int
    epochs: int
    task: Task
    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    loader: Loader
    tricks: Tricks
    profile: Profile
    normalise: Normalise
    validate: Callable[[], dict[str, float]] | None = None
    non_finite: Literal["raise", "skip", "rollback"] = "raise"
    loss: Callable[[Any, Batch, "Run"], Tensor] = field(init=False)
    gradient: Callable[[Batch, "Run"], Passed] = field(init=False)
    epoch: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], init=False)
    sums: dict[str, Any] = field(default_factory=dict[str, Any], init=False)
    stopped: str = field(default="", init=False)
    finished: bool = field(default=False, init=False)
    interrupted: int = field(default=0, init=False)
    whole: bool = field(default=True, init=False)
    changes: int = field(default=0, init=False)
    ids: Tensor = field(init=False)
    passed: Passed = field(init=False)
    gradient_norm: float = field(default=0.0, init=False)
    failing: int = field(default=0, init=False)
    rollbacks: int = field(default=0, init=False)
    fallback: dict[str, Any] | None = field(default=None, init=False)
    warned: str = field(default="", init=False)
    alarms: list[str] = field(default_factory=list[str], init=False)

    def __post_init__(self) -> None:
        self.ids = torch.zeros(0, dtype=torch.long)
        self.loss = self.tricks.through("loss", task_loss)
        self.gradient = self.tricks.through("gradient", task_gradient)

    @property
    def steps(self) -> int:
        """Updates in the whole run."""
        return self.epochs * self.loader.steps

    @property
    def progress(self) -> float:
        """How much of the run is done, in [0, 1]."""
        return min(1.0, self.step / self.steps)

    @property
    def time(self) -> float:
        """The middle of the coming update, in [0, 1]: read there, no schedule gives the first or last a zero rate."""
        return min(1.0, (self.step + 0.5) / self.steps)

    @property
    def factor(self) -> float:
        """What the schedule says of the coming update; half of it for each time that the run went back."""
        return self.schedule(self.time, self.history) * 0.5**self.rollbacks

    @property
    def factors(self) -> list[float]:
        """The same for each group of parameters: none before it is to move, and its schedule ends when it stops."""
        times = {group.until: self.time / group.until for group in self.optimizer.groups}
        half = 0.5**self.rollbacks
        found = {until: self.schedule(min(1.0, time), self.history) * half for until, time in times.items()}
        moving = [g.since <= self.time and (g.until == 1 or self.time < g.until) for g in self.optimizer.groups]
        return [found[g.until] if moves else 0.0 for g, moves in zip(self.optimizer.groups, moving, strict=True)]

    @property
    def step_in_epoch(self) -> int:
        """Updates done in this epoch."""
        return self.step - self.epoch * self.loader.steps

    @property
    def rate(self) -> float:
        """The learning rate of the coming update."""
        return self.optimizer.lr * self.factor

    @property
    def skipped(self) -> int:
        """Updates that were not made because their batch was not a number."""
        return sum(row.get("skipped", 0) for row in self.history) + self.sums.get("skipped", 0)

    def uniform(self, name: str, n: int = 1, *, epoch: int | None = None) -> Tensor:
        """`n` draws in [0, 1) for each sample of the batch: a function of (seed, epoch, sample, name). N n.

        `epoch` is this one, unless a draw is to outlast it.
        """
        return random.uniform(random.key(self.seed, self.epoch if epoch is None else epoch, name), self.ids, n)

    def between(self, name: str, low: float, high: float) -> Tensor:
        """One draw in [low, high) for each sample. N."""
        return low + (high - low) * self.uniform(name)[:, 0]

    def chosen(self, name: str, probability: float) -> Tensor:
        """Which samples are drawn, each with `probability`. N, bool."""
        return self.uniform(name)[:, 0] < probability

    def normal(self, name: str, n: int) -> Tensor:
        """`n` standard normal draws for each sample: a function of (seed, epoch, sample, name). N n."""
        return random.normal(random.key(self.seed, self.epoch, name), self.ids, n)

    def generator(self, name: str) -> np.random.Generator:
        """Draws that belong to the step rather than to a sample: a function of (seed, step, name)."""
        return random.generator(self.seed, self.step, name)

    def count(self, batch: Batch, passed: Passed) -> None:
        """Add a step's training loss and headline metric to the epoch's sums."""
        self._add("n", len(batch))
        self._add("loss", passed.loss * len(batch))
        truth = batch.target if of_pictures(self.task) else batch.label
        headline, values = next(iter(self.task.metrics(passed.output, truth).items()))
        if headline != "loss":
            self._add(headline, values.float().sum())

    @contextmanager
    def changing(self) -> Generator[None]:
        """Within, and for good if it fails, the run is in the middle of something and not `whole`: not to be saved."""
        self.whole = False
        self.changes += 1
        yield
        self.whole = True

    def memory(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "sums": self.sums,
            "stopped": self.stopped,
            "gradient_norm": self.gradient_norm,
            "failing": self.failing,
            "rollbacks": self.rollbacks,
            "fallback": self.fallback,
            "warned": self.warned,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.memory(),
            "tricks": self.tricks.memory(),
        }

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on from what `memory` gave, which stays as it is."""
        memory = copied(memory)
        for name in ("epoch", "step", "history", "sums", "stopped", "gradient_norm"):
            setattr(self, name, memory[name])
        later = {"failing": 0, "rollbacks": 0, "fallback": None, "warned": ""}  # early checkpoints have none
        for name, before in later.items():
            setattr(self, name, memory.get(name, before))
        self.model.load_state_dict(memory["model"])
        self.optimizer.recall(memory["optimizer"])
        self.tricks.recall(memory["tricks"])

    def predictor(self) -> nn.Module:
        """The network to evaluate and hand on, after every trick has had its say; in evaluation mode."""
        return self.tricks.through("predictor", self.model).eval()

    def _add(self, name: str, value: float | Tensor) -> None:
        # Sums stay on the device, in double precision where it has that: reading one each step would make a GPU wait.
        precision = torch.float32 if self.profile.device.type == "mps" else torch.float64
        value = torch.as_tensor(value, dtype=precision, device=self.profile.device)
        self.sums[name] = self.sums.get(name, 0.0) + value


def of_pictures(task: Task) -> bool:
    """Whether a task measures outputs against pictures, and not against labels."""
    return bool(getattr(task, "of_pictures", False))


def task_loss(output: Any, batch: Batch, run: Run) -> Tensor:
    """The task's own loss of the main head, before any trick wraps it."""
    return run.task.loss(main_output(output), batch.target)


def task_gradient(batch: Batch, run: Run) -> Passed:
    """Forward and backward, before any trick wraps them: gradients are added to the parameters' `grad`."""
    with run.profile.autocast():
        output = given(run.model, batch.image, batch.label)
    loss = run.loss(output, batch, run)
    loss.backward()
    output = main_output(output)
    return Passed(loss.detach(), output.detach() if isinstance(output, Tensor | Decoded) else output)
