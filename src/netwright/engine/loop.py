"""The training loop, which never mentions a trick by name."""

import math
import time
from functools import partial
from typing import Any

import torch

from netwright.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, Interrupted
from netwright.engine.augment import Augment
from netwright.engine.non_finite import Guard, checked_norm
from netwright.engine.plans import Raw
from netwright.engine.random import key
from netwright.engine.run import NonFiniteError, Run
from netwright.engine.saver import Saver


class Watcher:
    """Looks on while a run trains; every method may be overridden."""

    def started(self, run: Run) -> None:
        """Before the first step."""

    def stepped(self, run: Run) -> None:
        """After each update."""

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """After each epoch, with its metrics."""

    def non_finite(self, run: Run, error: NonFiniteError) -> None:
        """After each batch that is not a number, before it is answered."""

    def told(self, words: str) -> None:
        """Whenever something went otherwise than one would think, in words."""


def train(run: Run, watcher: Watcher, save: Saver) -> None:
    """Train to the end of the recipe, or until a trick or a signal stops the run.

    Args:
        run: fresh, or recalled from a checkpoint.
        watcher: told of every step and epoch.
        save: told of every step and epoch too; writes a checkpoint now and then, on interruption, and at the end.

    Raises:
        NonFiniteError: the loss or gradient is not a number, and the run's policy is to end; weights are those before
            the update.
        Interrupted: a signal asked to stop; everything is saved.
    """
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    guard = Guard(run, watcher.non_finite)
    with save.rescuing(run):
        watcher.started(run)
        while run.epoch < run.epochs and not run.stopped:
            begun, first = time.perf_counter(), run.step_in_epoch
            guard.begin_epoch()
            run.model.train()
            for raw in run.loader.epoch(run.epoch, first):
                with run.changing():
                    made = guard.made(partial(step, run, augment, raw, before, after))
                if not made:
                    break
                watcher.stepped(run)
                save.if_due(run)
                _end_if_asked(run, save)
            else:
                with run.changing():
                    row = close_epoch(run, time.perf_counter() - begun, run.loader.steps - first)
                watcher.epoch_done(run, row)
                while run.alarms:
                    watcher.told(run.alarms.pop(0))
                save.if_due(run)
                _end_if_asked(run, save)
        save(run)
    run.finished = True
    _end_if_asked(run, save)


def step(run: Run, augment: Augment, raw: Raw, before: list[Any], after: list[Any]) -> None:
    """One update: augment, gradient, check, step.

    Raises:
        NonFiniteError: the loss or gradient is not a number; the update was not made.
    """
    seed_network(key(run.seed, run.step, "network"), run.profile.device)  # dropout too is a function of (seed, step)
    batch = augment(raw)
    for parameter in run.optimizer.parameters:
        parameter.grad = None
    run.passed = run.gradient(batch, run)
    run.gradient_norm = checked_norm(run)
    for trick in before:
        trick.before_step(run)
    run.optimizer.step(*run.factors, momentum=run.schedule.momentum_at(run.time))
    run.step += 1
    for trick in after:
        trick.after_step(run)
    run.count(batch, run.passed)


def seed_network(seed: int, device: torch.device) -> None:
    """Seed what layers draw from; `torch.manual_seed` does the same, a hundred times as slowly."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)


def close_epoch(run: Run, seconds: float, steps: int) -> dict[str, Any]:
    """Validate, let the tricks look, and write the epoch's row of metrics."""
    run.epoch += 1
    sums = {name: float(total) for name, total in run.sums.items()}
    n, skipped = sums.pop("n", 0.0), int(sums.pop("skipped", 0))
    row: dict[str, Any] = {"kind": "epoch", "epoch": run.epoch, "step": run.step}
    row |= {f"train_{name}": total / n for name, total in sums.items()} if n else {"train_loss": math.nan}
    row |= {"skipped": skipped} if run.non_finite == "skip" else {}
    run.sums = {}
    row |= {"lr": run.rate, "gradient_norm": run.gradient_norm, "seconds": seconds}
    row["images_per_second"] = run.loader.batch_size * steps / seconds
    if run.validate is not None:
        row |= {f"val_{name}": value for name, value in run.validate().items()}
    run.history.append(row)
    for trick in run.tricks.at("after_epoch"):
        trick.after_epoch(run)
    return row


def _end_if_asked(run: Run, save: Saver) -> None:
    if run.interrupted:
        save(run)
        raise interruption(run)


def interruption(run: Run, then: str = "everything is saved") -> Interrupted:
    """What a stopped run ends with, and in words what became of it."""
    signal = "SIGTERM or SIGUSR1" if run.interrupted == EXIT_TERMINATED else "Ctrl-C"
    error = Interrupted(f"stopped by {signal} after step {run.step} of {run.steps}; {then}")
    error.exit_code = run.interrupted or EXIT_INTERRUPTED
    return error
