"""One job of the lab, computed in this process: trained, then measured on every picture of its split."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.core.errors import Interrupted, NetwrightError
from netwright.data import Data
from netwright.engine.evaluate import Evaluation, evaluate
from netwright.engine.loop import Watcher, interruption, train
from netwright.engine.random import key
from netwright.engine.run import NonFiniteError, Run
from netwright.engine.saver import Saver
from netwright.engine.signals import stops_on_signals
from netwright.lab._kept import Kept
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import Pruning, reporter
from netwright.lab.trial import KEPT, SEEN, Unsaved, data_of, split_of
from netwright.models import create_model
from netwright.models._autoencoder import Autoencoding
from netwright.models._family import Family
from netwright.recipes._assemble import Parts, assemble, evaluation_batch
from netwright.recipes._memory import forget_peak, memory_told, peak
from netwright.recipes._recipe import Recipe
from netwright.recipes._record import versions
from netwright.tasks._calibration import softmax

FEWER = "compute fewer runs at once with --processes, or take a smaller batch_size, image_size or model"
DATA = (*SEEN, "gate")
SCALES = {"psnr": 0.01}  # shares are compared, between 0 and 1: of 100 dB, which no picture exceeds
Stopping = Callable[[Run], AbstractContextManager[Any]]
_opened: dict[tuple[Any, ...], Data] = {}  # by this process, for the last job: the next is probably on the same


def measure(
    job: Job, data: Data | None = None, *, checkpoints: Path | None = None, stopping: Stopping = stops_on_signals
) -> Outcome:
    """Train a job's recipe and measure it.

    All of train is trained on; val, where there is one, gives the learning curves.

    Args:
        job: what to compute.
        data: opened; by default what the recipe names, which this process keeps for the next job.
        checkpoints: a folder in which runs of more than a minute keep their state, and go on from it after they were
            killed; by default they begin again.
        stopping: the context in which signals stop the run.

    Raises:
        NetwrightError: whatever training refuses, or data other than the job is for.
        Interrupted: a signal stopped it.
    """
    threads, data = torch.get_num_threads(), _same(job, data_for(job) if data is None else data)
    split = split_of(data, job.split)
    try:
        forget_peak()
        begun = perf_counter()
        parts, shared = _assembled(job, data)
        forget_peak_on(parts.run.profile.device)
        kept = None if checkpoints is None else Kept(checkpoints / job.key, job.key, parts)
        if kept is not None:
            kept.go_on(parts.run)
        with _stopped(parts.run, stopping), memory_told("in the middle of a run", FEWER):
            _trained(parts.run, Watcher() if job.pruning is None else Pruner(job.pruning), kept or Unsaved())
            seen = _evaluated(parts, split)
        found = _outcome(parts, seen, perf_counter() - begun, kept, shared)
    finally:
        torch.set_num_threads(threads)  # the process may have other work
    if kept is not None:
        kept.drop()
    return found


def data_for(job: Job) -> Data:
    """What a job's recipe names, opened now, or by this process for the job before.

    Raises:
        NetwrightError: the data cannot be used.
    """
    wanted = tuple(getattr(job.recipe, name) for name in DATA)
    held = _opened.get(wanted)
    if held is None or held.fingerprint != job.fingerprint:
        _opened.clear()
        held = _opened[wanted] = data_of(job.recipe)
    return held


class Pruner(Watcher):
    """Ends a run that a search has seen enough of."""

    def __init__(self, pruning: Pruning) -> None:
        self.report = reporter(pruning)

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """Tell the search, which may say why to stop."""
        run.stopped = run.stopped or self.report(row)


def _same(job: Job, data: Data) -> Data:
    if data.fingerprint == job.fingerprint:
        return data
    problem = f"the data {job.recipe.data} is not what it was when the runs were planned: its fingerprint is another"
    raise NetwrightError(problem, "leave its files alone while runs are computed, and start the same command again")


def _assembled(job: Job, data: Data) -> tuple[Parts, list[int]]:
    """The run, and how many tensors of its network begin as those of `job.like`, of how many."""
    if job.like in ("", job.recipe.model) or job.recipe.weights is not None:
        return assemble(job.recipe, data=data), []
    prepared = data.preprocess
    size = prepared.image_size if job.recipe.task == "reconstruction" else None  # which autoencoders are made for
    network, shared = network_like(job.like, job.recipe, len(data.classes), prepared.channels, size)
    if isinstance(network, Autoencoding):
        network.begin_at(prepared.mean)  # as recipes/_assemble.py
    return assemble(job.recipe, data=data, model=network), shared


def network_like(
    like: str, recipe: Recipe, classes: int, channels: int, image_size: int | None = None
) -> tuple[Family, list[int]]:
    """A recipe's network which begins as another one does with this seed, wherever names and shapes agree.

    Args:
        like: the spec of the other.
        recipe: names the network and the seed.
        classes: of the data.
        channels: of the pictures.
        image_size: of the pictures, for networks that are made for one size.

    Returns:
        The network, and how many of its tensors begin as the other's, of how many.
    """
    models: list[Family] = []
    for spec in (like, recipe.model):
        torch.manual_seed(key(recipe.seed, "init"))  # as recipes/_assemble.py
        models.append(create_model(spec, classes=classes, in_channels=channels, image_size=image_size))
    known, own = (model.state_dict() for model in models)
    shared = [name for name, tensor in own.items() if name in known and known[name].shape == tensor.shape]
    for name in shared:
        own[name].copy_(known[name])
    return models[1], [len(shared), len(own)]


def _trained(run: Run, watcher: Watcher, save: Saver) -> None:
    """Train to the end, or until the loss is not a number: that a recipe diverges is worth knowing."""
    try:
        train(run, watcher, save)
    except NonFiniteError as error:
        run.stopped = f"diverged: {error.problem}"


@contextmanager
def _stopped(run: Run, stopping: Stopping) -> Generator[None]:
    try:
        with stopping(run):
            yield
    except Interrupted:
        raise interruption(run, KEPT) from None


def _evaluated(parts: Parts, split: str) -> Evaluation:
    run = parts.run
    source, size = parts.inputs.source(split, run.profile, 0), evaluation_batch(parts.recipe)
    keep = run.task.name == "classification"
    return evaluate(run.predictor(), source, run.task, run.normalise, run.profile, keep=keep, batch_size=size)


def _outcome(parts: Parts, seen: Evaluation, seconds: float, kept: Kept | None, shared: list[int]) -> Outcome:
    run = parts.run
    before, held = (0.0, 0) if kept is None else (kept.seconds_before, kept.memory_before)
    rates = [row["images_per_second"] for row in run.history]
    return Outcome(
        values={name: (values * SCALES.get(name, 1)).astype(np.float32) for name, values in seen.values.items()},
        labels=np.nan_to_num(seen.labels, nan=-1).astype(np.int64),
        confidence=None if seen.output is None else _confidence(seen.output),
        history=[_scaled(row) for row in run.history],
        seconds=before + seconds,
        images_per_second=float(np.median(rates)) if rates else float("nan"),
        epochs=run.epoch,
        steps=run.step,
        memory=max(held, peak_on(run.profile.device)),
        machine=machine(run) | ({"shared_tensors": shared} if shared else {}),
        stopped=run.stopped,
    )


def _scaled(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics on the scale on which they are compared."""
    known = {f"{side}_{name}": scale for name, scale in SCALES.items() for side in ("train", "val")}
    return {name: value * known[name] if name in known else value for name, value in row.items()}


def _confidence(output: NDArray[Any]) -> NDArray[np.float32]:
    """The largest probability of each picture; 0 where a network that diverged gives none. N K -> N."""
    return np.nan_to_num(softmax(output).max(1), nan=0.0).astype(np.float32)


def machine(run: Run) -> dict[str, Any]:
    """How a run is computed: the device, its precision and threads, and versions."""
    known, device = versions(), run.profile.to_json()
    how = {name: device[name] for name in ("device", "name", "precision", "threads")}
    return how | {name: known[name] for name in ("torch", "netwright") if name in known}


def forget_peak_on(device: torch.device) -> None:
    """Let an accelerator measure its peak anew, where it tells one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_on(device: torch.device) -> int:
    """The most bytes that were taken on a GPU, or that this process held."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak()
