"""The training loop: thirty lines that never mention a trick."""

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from netwright.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, Interrupted
from netwright.engine.augment import Augment
from netwright.engine.plans import Raw
from netwright.engine.random import key
from netwright.engine.run import NonFiniteError, Run


class Watcher:
    """Looks on while a run trains; every method may be overridden."""

    def started(self, run: Run) -> None:
        """Before the first step."""

    def stepped(self, run: Run) -> None:
        """After each update."""

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """After each epoch, with its metrics."""


def train(run: Run, watcher: Watcher, save: Callable[[Run], None]) -> None:
    """Train to the end of the recipe, or until a trick or a signal stops the run.

    Args:
        run: fresh, or recalled from a checkpoint.
        watcher: told of every step and epoch.
        save: writes a checkpoint; called after each epoch and on interruption.

    Raises:
        NonFiniteError: the loss or gradient is not a number; weights are those before the update.
        Interrupted: a signal asked to stop; everything is saved.
    """
    augment = Augment(run)
    before, after = run.tricks.at("before_step"), run.tricks.at("after_step")
    watcher.started(run)
    while run.epoch < run.epochs and not run.stopped:
        begun, first = time.perf_counter(), run.step_in_epoch
        run.model.train()
        for raw in run.loader.epoch(run.epoch, first):
            step(run, augment, raw, before, after)
            watcher.stepped(run)
            if run.interrupted:
                save(run)
                raise interruption(run)
        watcher.epoch_done(run, close_epoch(run, time.perf_counter() - begun, run.loader.steps - first))
        save(run)
        if run.interrupted:
            raise interruption(run)
    run.finished = True


def step(run: Run, augment: Augment, raw: Raw, before: list[Any], after: list[Any]) -> None:
    """One update: augment, gradient, check, step."""
    seed_network(key(run.seed, run.step, "network"), run.profile.device)  # dropout too is a function of (seed, step)
    batch = augment(raw)
    for parameter in run.optimizer.parameters:
        parameter.grad = None
    run.passed = run.gradient(batch, run)
    run.gradient_norm = _checked_norm(run)
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
    n = sums.pop("n")
    row: dict[str, Any] = {"kind": "epoch", "epoch": run.epoch, "step": run.step}
    row |= {f"train_{name}": total / n for name, total in sums.items()}
    run.sums = {}
    row |= {"lr": run.rate, "gradient_norm": run.gradient_norm, "seconds": seconds}
    row["images_per_second"] = n / run.loader.steps * steps / seconds
    if run.validate is not None:
        row |= {f"val_{name}": value for name, value in run.validate().items()}
    run.history.append(row)
    for trick in run.tricks.at("after_epoch"):
        trick.after_epoch(run)
    return row


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """The Euclidean norm of all gradients together, a scalar tensor."""
    return torch.stack(torch._foreach_norm(gradients)).norm()


def _checked_norm(run: Run) -> float:
    gradients = [p.grad for p in run.optimizer.parameters if p.grad is not None]
    loss, norm = torch.stack([run.passed.loss.float(), gradient_norm(gradients)]).tolist()
    if math.isfinite(loss) and math.isfinite(norm):
        return norm
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient's norm is {norm}"
    raise NonFiniteError(
        f"{what} at epoch {run.epoch + 1}, step {run.step + 1} (learning rate {run.rate:.3g}); the update was not made",
        "lower --lr, add --with grad_clip or a schedule with warmup, and look for broken pictures in the data",
    )


def interruption(run: Run) -> Interrupted:
    """What a stopped run ends with."""
    signal = "SIGTERM" if run.interrupted == EXIT_TERMINATED else "Ctrl-C"
    error = Interrupted(f"stopped by {signal} after step {run.step} of {run.steps}; everything is saved")
    error.exit_code = run.interrupted or EXIT_INTERRUPTED
    return error
