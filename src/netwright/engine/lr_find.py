"""Finds a learning rate by trying all of them in one short run (Smith, Cyclical learning rates, WACV 2017)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import NonFiniteError, Run

LOW, HIGH, STEPS = 1e-6, 10.0, 100
MEMORY = 0.9  # of the running mean that smooths the losses
DIVERGED = 4.0  # times the least loss: no need to look further
FEWEST = 10  # updates whose losses tell something


@dataclass(frozen=True)
class Search:
    """What a search saw.

    Attributes:
        rates: the learning rates tried, growing.
        losses: the smoothed training loss at each.
        best: the rate to take.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    best: float


def lr_find(
    run: Run,
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    watch: Callable[[int, int], None] | None = None,
) -> Search:
    """Train for some updates at rates that grow geometrically, and leave the run as it was.

    Args:
        run: at any point; its weights, optimiser, tricks and counters are put back.
        low: the first rate.
        high: the last, unless the loss has grown fourfold before.
        steps: updates at most.
        watch: called with (done, steps).

    Raises:
        NetwrightError: the loss is not a number from the start, or nothing was learnt at any rate.
    """
    memory, schedule = copy.deepcopy(run.memory()), run.schedule
    try:
        rates, losses = _tried(run, low, high, steps, watch)
    finally:
        run.schedule = schedule
        run.recall(memory)
    smoothed = smooth(losses)
    return Search(rates, smoothed, steepest(rates, smoothed))


def _tried(
    run: Run, low: float, high: float, steps: int, watch: Callable[[int, int], None] | None
) -> tuple[tuple[float, ...], list[float]]:
    """The rates tried, and the loss before the update at each."""
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    rates, losses = np.geomspace(low, high, steps), list[float]()
    batches = (raw for epoch in range(steps) for raw in run.loader.epoch(epoch))
    run.model.train()
    for rate, raw in zip(rates, batches, strict=False):
        run.schedule = _Fixed(rate / run.optimizer.lr)
        try:
            step(run, augment, raw, before, after)
        except NonFiniteError:
            break
        losses.append(float(run.passed.loss))
        if watch:
            watch(len(losses), steps)
        if len(losses) > FEWEST and smooth(losses)[-1] > DIVERGED * min(smooth(losses)):
            break
    return tuple(map(float, rates[: len(losses)])), losses


@dataclass(frozen=True)
class _Fixed:
    """A schedule that says one thing at all times."""

    factor: float

    def __call__(self, progress: float, history: Sequence[dict[str, Any]] = (), /) -> float:
        return self.factor

    def momentum_at(self, progress: float) -> float | None:
        """The optimiser's own."""
        return None


def smooth(losses: list[float]) -> tuple[float, ...]:
    """The running mean with its start corrected, as Adam corrects its own."""
    mean, smoothed = 0.0, list[float]()
    for n, loss in enumerate(losses, start=1):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        smoothed.append(mean / (1 - MEMORY**n))
    return tuple(smoothed)


def steepest(rates: tuple[float, ...], losses: tuple[float, ...]) -> float:
    """The rate at which the smoothed loss falls fastest, over the logarithm of the rate, before its least.

    Raises:
        NetwrightError: there is no fall.
    """
    least = int(np.argmin(losses)) if losses else 0
    if least < FEWEST:
        raise NetwrightError(
            "no learning rate made the loss fall", "look at the data and labels, or set the rate by hand: --lr 0.01"
        )
    slope = np.gradient(np.array(losses[: least + 1]), np.log(np.array(rates[: least + 1])))
    return float(f"{rates[int(np.argmin(slope))]:.2g}")
