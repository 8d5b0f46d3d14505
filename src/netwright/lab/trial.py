"""One recipe on some data, measured: what studies are made of. No run folder, no report; results are remembered."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netwright.core.document import parsed
from netwright.core.errors import Interrupted, NetwrightError
from netwright.data import Data, open_data
from netwright.data.gate.quarantine import read_quarantine
from netwright.data.subset import refuse_several
from netwright.engine.evaluate import evaluate
from netwright.engine.loop import Watcher, interruption, train
from netwright.engine.run import Run, Task
from netwright.engine.saver import Saver
from netwright.engine.signals import stops_on_signals
from netwright.models._bundled import CARD, WEIGHTS, model_of, weights_file
from netwright.models._published import HUB
from netwright.recipes._assemble import Parts, assemble, evaluation_batch
from netwright.recipes._choose import network_suiting
from netwright.recipes._inputs import mask_wanted, read_inputs
from netwright.recipes._recipe import Recipe
from netwright.records.atomic import write_atomic

FORMAT = 2
KEPT = "the trial that was stopped begins again; those that were finished are kept"
# Fields of a recipe by which it sees its data; two with the same ones share what is opened.
SEEN = (
    "data", "image_size", "channels", "fit", "group", "quarantine", "val_fraction", "test_fraction",
    "masks", "legend", "ignore",
)  # fmt: skip
LOST = "nothing of what was measured is kept: it begins again"


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
            made_from: what `network` and `task` depend on, as text, with `contents` of any weights: it belongs to what
                is remembered, and has to be given with either of them.
            network: builds the network to train, instead of the recipe's name: one that begins with weights of its own.
            task: instead of the recipe's.

        Raises:
            NetwrightError: whatever `fit` refuses, or no split to measure on.
            Interrupted: a signal stopped it.
            ValueError: a network or task, without what it is made from.
        """
        if not made_from and (network is not None or task is not None):
            raise ValueError("a network or task of its own needs made_from, or another's trial would be remembered")
        split = split_of(data, split)
        place = self._place(recipe, data, split, made_from)
        if (found := remembered(place)) is not None:
            return found
        then = LOST if self.folder is None else KEPT
        trial, _ = measured(recipe, data, split=split, network=network, task=task, stopped=then)
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, json.dumps(as_json(trial)))
        return trial

    def _place(self, recipe: Recipe, data: Data, split: str, made_from: str) -> Path | None:
        if self.folder is None:
            return None
        weights, rest = contents(recipe.weights), recipe.changed("auto", weights=None)
        known = f"{FORMAT} {rest.key} {weights} {data.fingerprint} {split} {made_from}"
        return self.folder / f"{sha256(known.encode()).hexdigest()[:24]}.json"


def measured(
    recipe: Recipe,
    data: Data,
    *,
    split: str = "test",
    network: Callable[[], nn.Module] | None = None,
    task: Task | None = None,
    stopped: str = KEPT,
) -> tuple[Trial, Parts]:
    """The same without a memory, and the parts of the run, whose network is trained. See `Trials.run`.

    Args:
        stopped: what to say is kept, should a signal stop it.
    """
    split, threads = split_of(data, split), torch.get_num_threads()
    try:
        parts = assemble(recipe, data=data, model=None if network is None else network(), task=task)
        begun = perf_counter()
        try:
            with stops_on_signals(parts.run):
                train(parts.run, Watcher(), Unsaved())
        except Interrupted:
            raise interruption(parts.run, stopped) from None
        return _of(parts, split, begun), parts
    finally:
        torch.set_num_threads(threads)


def split_of(data: Data, asked: str) -> str:
    """The split to measure on: the one asked for, or val where there is no such.

    Raises:
        NetwrightError: there is neither.
    """
    found = asked if asked in data.splits else "val"
    if found in data.splits:
        return found
    fix = 'measure on split="test"' if "test" in data.splits else "hold some out: --set val_fraction=0.2"
    raise NetwrightError(f"{data.name} has no {asked} split to measure on", fix)


def contents(weights: str | None) -> str:
    """A hash of what weights hold, so that others under the same name are not taken for them; "" for none.

    To a bundle belongs its card, which says for which moments and classes they are; what is fetched goes by its name.
    """
    if weights is None or weights == "imagenet" or weights.startswith(HUB):
        return weights or ""
    path = weights_file(Path(weights).expanduser())
    files = [path, path.with_name(CARD)] if path.name == WEIGHTS else [path]
    return " ".join(_digest(file) for file in files if file.is_file()) or weights


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def data_of(recipe: Recipe, path: str | None = None, **wanted: Any) -> Data:
    """The data of a recipe, or at another path with its preprocessing.

    Raises:
        NetwrightError: the data cannot be used, or the recipe wants them to pass the gate and they do not.
    """
    if recipe.gate == "error":
        read_inputs(recipe if path is None else recipe.changed(data=path), None, None)
    told: dict[str, Any] = {
        "image_size": recipe.image_size,
        "fit": recipe.fit,
        "channels": recipe.channels,
        "group": recipe.group if path is None else None,
        "fractions": (1 - recipe.val_fraction - recipe.test_fraction, recipe.val_fraction, recipe.test_fraction),
        "masks": mask_wanted(recipe),
        "classes": recipe.task != "reconstruction",
    }
    if recipe.quarantine and path is None:
        told["quarantine"] = read_quarantine(Path(recipe.quarantine).expanduser())
    return open_data(recipe.data if path is None else path, **told | wanted)


def opened(recipe: Recipe, path: str | None = None, **wanted: Any) -> Data:
    """The same, with one label a picture.

    Raises:
        NetwrightError: as `data_of`, or pictures have several labels.
    """
    data = data_of(recipe, path, **wanted)
    refuse_several(data.splits["train"])
    return data


def network_for(weights: str | None, data: Data) -> str:
    """The network to take where none is named: the one that a bundle is of, else what suits the pictures' size."""
    found = model_of(weights, "classification") if weights else None
    return found or network_suiting(data.preprocess.image_size, masked=data.masks is not None)


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


def as_json(trial: Trial) -> dict[str, Any]:
    """What `remembered` reads."""
    return {
        "guesses": trial.guesses.tolist(),
        "labels": trial.labels.tolist(),
        "seconds": trial.seconds,
        "images_per_second": trial.images_per_second,
    }


def remembered(place: Path | None) -> Trial | None:
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
