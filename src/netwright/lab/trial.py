"""One recipe on some data, measured: what studies are made of. No run folder, no report; results are remembered."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError
from netwright.data import Data
from netwright.engine.evaluate import evaluate
from netwright.engine.loop import Watcher, train
from netwright.engine.run import Run, Task
from netwright.engine.saver import Saver
from netwright.engine.signals import stops_on_signals
from netwright.recipes._assemble import Parts, assemble, evaluation_batch
from netwright.recipes._recipe import Recipe
from netwright.records.atomic import write_atomic

FORMAT = 1


@dataclass(frozen=True)
class Trial:
    """What a run reached.

    Attributes:
        correct: for each picture of the split, in its order, 1.0 where the run was right. N.
        guesses: the class numbers it gave. N.
        labels: the true ones. N.
        seconds: of training and evaluation, without the opening of the data.
        images_per_second: while it trained.
    """

    correct: NDArray[np.float64]
    guesses: NDArray[np.int64]
    labels: NDArray[np.int64]
    seconds: float
    images_per_second: float

    @property
    def accuracy(self) -> float:
        """The share of pictures that it was right about."""
        return float(self.correct.mean())


class Trials:
    """Runs recipes, and remembers in a folder what they gave: the same call again costs nothing."""

    def __init__(self, folder: Path | None = None, told: Callable[[str], None] = lambda words: None) -> None:
        self.folder = folder
        self.told = told

    def run(
        self,
        recipe: Recipe,
        data: Data,
        *,
        split: str = "test",
        made_from: str = "",
        network: Callable[[], nn.Module] | None = None,
        task: Task | None = None,
    ) -> Trial:
        """Train on `data`, and measure on one of its splits.

        Args:
            recipe: how; one label a picture.
            data: opened, perhaps a part of a data set (data/subset.py).
            split: "test" or "val"; where there is no test split, val.
            made_from: what `network` and `task` depend on, as text: it belongs to what is remembered.
            network: builds the network to train, instead of the recipe's name: one that begins with weights of its own.
            task: instead of the recipe's.

        Raises:
            NetwrightError: whatever `fit` refuses.
            Interrupted: a signal stopped it.
        """
        split = split if split in data.splits else "val"
        place = self._place(recipe, data, split, made_from)
        if (found := _read(place)) is not None:
            return found
        trial, _ = measured(recipe, data, split=split, network=network, task=task)
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, json.dumps(_as_json(trial)))
        return trial

    def _place(self, recipe: Recipe, data: Data, split: str, made_from: str) -> Path | None:
        if self.folder is None:
            return None
        known = f"{FORMAT} {recipe.key} {data.fingerprint} {split} {made_from}"
        return self.folder / f"{sha256(known.encode()).hexdigest()[:24]}.json"


def measured(
    recipe: Recipe,
    data: Data,
    *,
    split: str = "test",
    network: Callable[[], nn.Module] | None = None,
    task: Task | None = None,
) -> tuple[Trial, Parts]:
    """The same without a memory, and the parts of the run, whose network is trained. See `Trials.run`."""
    threads = torch.get_num_threads()
    try:
        parts = assemble(recipe, data=data, model=None if network is None else network(), task=task)
        begun = perf_counter()
        with stops_on_signals(parts.run):
            train(parts.run, Watcher(), Unsaved())
        return _of(parts, split, begun), parts
    finally:
        torch.set_num_threads(threads)


def _of(parts: Parts, split: str, begun: float) -> Trial:
    run = parts.run
    source = parts.inputs.source(split, run.profile, 0)
    size = evaluation_batch(parts.recipe)
    seen = evaluate(run.predictor(), source, run.task, run.normalise, run.profile, keep=True, batch_size=size)
    if seen.output is None or seen.labels.ndim != 1:
        raise NetwrightError(f"{run.task.name} gives no class for each picture", "studies are for classification")
    guesses = seen.output.argmax(1)
    rates = [row["images_per_second"] for row in run.history]
    speed = float(np.median(rates)) if rates else float("nan")
    correct = (guesses == seen.labels).astype(np.float64)
    return Trial(correct, guesses, seen.labels, perf_counter() - begun, speed)


class Unsaved(Saver):
    """Keeps no checkpoint: a trial that is stopped begins again."""

    def __init__(self) -> None:
        super().__init__(Path(), Path.write_bytes, owner="trial", seconds=float("inf"), told=lambda words: None)

    def __call__(self, run: Run) -> None:
        """Nothing."""


def _as_json(trial: Trial) -> dict[str, Any]:
    return {
        "guesses": trial.guesses.tolist(),
        "labels": trial.labels.tolist(),
        "seconds": trial.seconds,
        "images_per_second": trial.images_per_second,
    }


def _read(place: Path | None) -> Trial | None:
    """What was remembered; None where nothing was, or it cannot be read."""
    if place is None or not place.is_file():
        return None
    try:
        held = parsed(place.read_bytes())
        guesses, labels = np.array(held["guesses"], np.int64), np.array(held["labels"], np.int64)
        correct = (guesses == labels).astype(np.float64)
        return Trial(correct, guesses, labels, float(held["seconds"]), float(held["images_per_second"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
