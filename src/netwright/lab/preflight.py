"""What the runs of a plan will take, measured by a few updates of each arm before any of them is trained."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from netwright.data import Data
from netwright.data.subset import changed
from netwright.engine.evaluate import evaluate
from netwright.engine.loop import Watcher, train
from netwright.engine.run import NonFiniteError, Run
from netwright.lab.trial import Unsaved
from netwright.recipes._assemble import Parts, assemble, evaluation_batch
from netwright.recipes._memory import forget_peak, peak
from netwright.recipes._recipe import Recipe

WARM, FEWEST, MOST = 3, 6, 40  # updates: the first ones are slower, and short ones vary more
ENOUGH = 2.0  # seconds after which no more than the fewest are timed
EVALUATED = 512  # pictures


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        step: seconds for an update.
        picture: seconds to evaluate a picture.
        steps_an_epoch: updates.
        epochs: of the recipe.
        overhead: seconds to put a run together.
        validated: pictures that are evaluated after each epoch.
        measured: pictures that are evaluated at the end.
        memory: the most bytes that the process held.
        precision: that was chosen for the network.
    """

    step: float
    picture: float
    steps_an_epoch: int
    epochs: int
    overhead: float
    validated: int
    measured: int
    memory: int
    precision: str

    @property
    def epoch(self) -> float:
        """Seconds for an epoch and its validation."""
        return self.step * self.steps_an_epoch + self.picture * self.validated

    @property
    def seconds(self) -> float:
        """For the whole run."""
        return self.overhead + self.epochs * self.epoch + self.picture * self.measured

    def of(self, epochs: int) -> "Cost":
        """The same for another number of epochs."""
        return replace(self, epochs=epochs)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads, and the sum."""
        return asdict(self) | {"seconds": self.seconds}

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> "Cost":
        """The cost that `to_json` wrote."""
        return cls(**{name: held[name] for name in cls.__dataclass_fields__})


def preflight(recipe: Recipe, data: Data, split: str) -> Cost:
    """Train a recipe for a few updates on a few of the pictures, and evaluate some.

    Args:
        recipe: with its network and its batch size named.
        data: opened.
        split: on which runs are measured.

    Raises:
        NetwrightError: whatever training refuses.
    """
    threads = torch.get_num_threads()
    begun, watch = perf_counter(), Stopwatch()
    forget_peak()
    try:
        parts = assemble(recipe.changed("auto", epochs=1), data=some_of(data, _batch(recipe), recipe.seed))
        overhead = perf_counter() - begun
        with suppress(EnoughError, NonFiniteError):  # a run that diverges at once still took its time
            train(parts.run, watch, Unsaved())
        each = _evaluation(parts)
    finally:
        torch.set_num_threads(threads)
    sides = {side: len(held) for side, held in data.splits.items()}
    return Cost(
        step=watch.step,
        picture=each,
        steps_an_epoch=_steps(parts, len(data.splits["train"])),
        epochs=recipe.epochs,
        overhead=overhead,
        validated=sides.get("val", 0),
        measured=sides.get(split, 0),
        memory=peak(),
        precision=str(parts.recipe.precision),
    )


def some_of(data: Data, batch_size: int, seed: int) -> Data:
    """As many training pictures as are timed, some to evaluate, and no other split."""
    train = data.splits["train"]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed % 2**31)).numpy()
    wanted = order[: batch_size * (WARM + MOST)]
    # Pictures with masks lie by size, and those of one size are looked at together.
    looked_at = np.sort(order[: min(EVALUATED, len(order))])
    part = {"train": train.taken(wanted), "val": train.taken(looked_at)}
    return replace(changed(data, part, data.classes, "a few, to measure speed"), splits=part)


def _batch(recipe: Recipe) -> int:
    return int(recipe.batch_size)


def _steps(parts: Parts, n: int) -> int:
    """Updates of an epoch with n pictures, of which a trick may draw more or fewer."""
    batch = parts.run.loader.batch_size
    few = len(parts.inputs.splits["train"])
    if parts.inputs.masks is not None:  # a picture gives several crops, so even one may fill a batch
        return max(1, round(parts.run.loader.steps * n / few))
    return max(1, round(n // batch * parts.run.loader.steps / max(1, few // batch)))


def _evaluation(parts: Parts) -> float:
    """Seconds for one picture."""
    run = parts.run
    source = parts.inputs.source("val", run.profile, 0)
    begun = perf_counter()
    evaluate(run.predictor(), source, run.task, run.normalise, run.profile, batch_size=evaluation_batch(parts.recipe))
    return (perf_counter() - begun) / len(source)


class EnoughError(Exception):
    """Enough updates are timed."""


class Stopwatch(Watcher):
    """Seconds between updates."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = perf_counter()

    @property
    def step(self) -> float:
        """Of an update, once the first ones are over."""
        return median(self.seconds[WARM:] or self.seconds or [perf_counter() - self._last])

    def started(self, run: Run) -> None:
        """Training begins."""
        self._last = perf_counter()

    def stepped(self, run: Run) -> None:
        """An update is done; on an accelerator, when it has really been computed.

        Raises:
            EnoughError: no more are needed.
        """
        float(run.passed.loss)
        now = perf_counter()
        self.seconds.append(now - self._last)
        self._last = now
        if len(self.seconds) >= WARM + FEWEST and sum(self.seconds) > ENOUGH:
            raise EnoughError
