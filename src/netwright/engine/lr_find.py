"""Finds a learning rate by trying all of them in one short run (Smith, Cyclical learning rates, WACV 2017)."""

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.engine.augment import Augment
from netwright.engine.loop import step
from netwright.engine.run import NonFiniteError, Run

LOW, HIGH, STEPS = 1e-6, 10.0, 100
MEMORY = 0.9  # of the running mean that smooths the losses
DIVERGED = 4.0  # times the least loss: no need to look further
FEWEST = 10  # losses in a mean that tells something
FAR = 1000  # times longer than it is, a run seems to the tricks while a search lasts: they act as at its beginning


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
        run: at any point; its weights, optimiser, tricks and counters are put back. Whatever changes with progress is
            as at the beginning of a run.
        low: the first rate.
        high: the last, unless the loss has grown fourfold before.
        steps: updates at most.
        watch: called with (done, steps).

    Raises:
        NetwrightError: rates that do not grow, too few steps, the loss is not a number from the start, or nothing was
            learnt at any rate.
    """
    if not 0 < low < high < float("inf") or steps <= FEWEST:
        raise NetwrightError(
            f"cannot search from {low:g} to {high:g} in {steps} steps", f"let 0 < low < high, and steps > {FEWEST}"
        )
    with _lent(run):
        rates, losses = _tried(run, low, high, steps, watch)
    smoothed = smooth(losses)
    return Search(rates, smoothed, steepest(rates, smoothed))


@contextmanager
def _lent(run: Run) -> Generator[None]:
    """For a while, a run whose schedule says the rate itself; then all is as it was."""
    memory = copy.deepcopy(run.memory())
    schedule, peak, epochs, training = run.schedule, run.optimizer.lr, run.epochs, run.model.training
    run.optimizer.lr, run.epochs = 1.0, FAR * epochs
    try:
        yield
    finally:
        run.schedule, run.optimizer.lr, run.epochs = schedule, peak, epochs
        run.recall(memory)
        run.model.train(training)
        for parameter in run.optimizer.parameters:
            parameter.grad = None


def _tried(
    run: Run, low: float, high: float, steps: int, watch: Callable[[int, int], None] | None
) -> tuple[tuple[float, ...], list[float]]:
    """The rates tried, and the loss before the update at each."""
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    rates, losses = tuple(map(float, np.geomspace(low, high, steps))), list[float]()
    batches = (raw for epoch in range(steps) for raw in run.loader.epoch(epoch))
    run.model.train()
    for rate, raw in zip(rates, batches, strict=False):
        run.schedule = _Fixed(rate)
        try:
            step(run, augment, raw, before, after)
        except NonFiniteError:
            break
        losses.append(float(run.passed.loss))
        if watch:
            watch(len(losses), steps)
        if _diverged(smooth(losses)):
            break
    return rates[: len(losses)], losses


def _diverged(smoothed: Sequence[float]) -> bool:
    least = min(smoothed)
    return len(smoothed) > FEWEST and smoothed[-1] - least > (DIVERGED - 1) * abs(least)


@dataclass(frozen=True)
class _Fixed:
    """A schedule that says one thing at all times."""

    factor: float

    def __call__(self, progress: float, history: Sequence[dict[str, Any]] = (), /) -> float:
        return self.factor

    def momentum_at(self, progress: float) -> float | None:
        """The optimiser's own."""
        return None


def smooth(losses: Sequence[float]) -> tuple[float, ...]:
    """The running mean with its start corrected, as Adam corrects its own."""
    means = accumulate(losses, lambda mean, loss: MEMORY * mean + (1 - MEMORY) * loss, initial=0.0)
    return tuple(mean / (1 - MEMORY**n) for n, mean in enumerate(means) if n)


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the smoothed loss falls fastest, over the logarithm of the rate, before its least.

    The first means are those of a few batches, and fall or rise by chance: they are left out.

    Raises:
        NetwrightError: there is no fall.
    """
    least = FEWEST + int(np.argmin(losses[FEWEST:])) if len(losses) > FEWEST else 0
    if least <= FEWEST:
        raise NetwrightError(
            "no learning rate made the loss fall", "look at the data and labels, or set the rate by hand: --lr 0.01"
        )
    slope = np.gradient(np.array(losses[: least + 1]), np.log(np.array(rates[: least + 1])))
    return float(f"{rates[FEWEST + int(np.argmin(slope[FEWEST:]))]:.2g}")
