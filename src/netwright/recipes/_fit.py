"""`fit`: a recipe becomes a run, a record and a model."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netwright.core.errors import Interrupted, NetwrightError, listed
from netwright.engine.checkpoint import read_checkpoint, write_checkpoint
from netwright.engine.loop import Watcher, train
from netwright.engine.run import Run, Task
from netwright.engine.signals import stops_on_signals
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._choose import is_too_small
from netwright.recipes._finish import finish
from netwright.recipes._recipe import Recipe, read_recipe, recipe_for
from netwright.recipes._recipe import recipe as named
from netwright.recipes._record import Record
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder

CHECKPOINT_SECONDS = 30.0
RESUMABLE = {"epochs", "device", "workers", "threads"}


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        path: the run folder.
        model: the network that was evaluated and bundled, in evaluation mode.
        record: what `record.json` holds.
    """

    path: Path
    model: nn.Module
    record: dict[str, Any]

    @property
    def splits(self) -> dict[str, Any]:
        """The metrics of each split, with intervals."""
        return self.record["result"]["splits"]

    @property
    def accuracy(self) -> float:
        """Accuracy on the test split, or on validation where there is no test split.

        Raises:
            NetwrightError: there was neither.
        """
        if not self.splits:
            raise NetwrightError("this run had no validation or test split", "give one: data=(train, val)")
        return self.splits["test" if "test" in self.splits else "val"]["accuracy"]["value"]


def fit(
    recipe: Recipe | str | None = None,
    *,
    data: Any = None,
    model: nn.Module | str | None = None,
    task: Task | str | None = None,
    classes: Sequence[str] | None = None,
    output: str | Path = "runs",
    resume: str | Path | None = None,
    watcher: Watcher | None = None,
    progress: Callable[[int, int], None] | None = None,
    command: str = "",
    **changes: Any,
) -> Result:
    """Train, evaluate, report and bundle.

    Args:
        recipe: a recipe or the name of one; by default the one that suits the data.
        data: None for the recipe's own, a path, `Data`, or your datasets: (train, val[, test]) or a dict by split,
            each a map-style dataset of (image, label), or a pair of arrays.
        model: the name of a model, or your own network, which is trained in place.
        task: the name of a task, or your own, instead of the recipe's.
        classes: class names of your datasets, if they carry none.
        output: folder that run folders are made in.
        resume: a run folder to go on with, instead of a new run.
        watcher: told of every step and epoch.
        progress: called with (done, total) while pictures are decoded.
        command: how the run was started, for the record.
        changes: fields of `Recipe` to replace, and `lr`.

    Raises:
        NetwrightError: anything a user can mend.
        Interrupted: a signal stopped the run; it can be resumed.
    """
    started = time.time()
    folder = RunFolder.open(Path(resume)) if resume else None
    changes |= {name: value for name, value in (("model", model), ("task", task)) if isinstance(value, str)}
    data = str(data) if isinstance(data, Path) else data
    if folder:
        _refuse_changes(recipe, changes)
    chosen = read_recipe(folder.record_file) if folder else _chosen(recipe, data)
    chosen = chosen.changed(**changes) if changes else chosen
    own = None if isinstance(model, str) else model
    own_task = None if isinstance(task, str) else task
    before = folder.record() if folder else None
    threads = torch.get_num_threads()
    try:
        parts = assemble(chosen, data=data, model=own, task=own_task, classes=classes, progress=progress, before=before)
        if before:
            _refuse_other_data(before, parts)
        folder = _locked(folder, output, parts)
        record = Record(folder, parts, started=started, command=command, before=before)
        with folder:
            return _trained(parts, folder, record, watcher or Watcher(), resumed=resume is not None)
    finally:
        torch.set_num_threads(threads)  # the process may have other work


def _trained(parts: Parts, folder: RunFolder, record: Record, watcher: Watcher, *, resumed: bool) -> Result:
    run = parts.run
    if resumed:
        memory, damaged = read_checkpoint(folder.checkpoints)
        run.recall(memory)
        folder.truncate_metrics(run.step)
        for name in damaged:
            folder.log(f"checkpoint {name} is damaged; went on from an older one")
    record.write("running")
    try:
        with stops_on_signals(run):
            train(run, record.watching(watcher), _saver(folder))
            result = finish(parts, folder, record)
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        told = _explained(error, parts)
        record.close("interrupted" if stopped else "failed", problem=str(told))
        raise told from (None if told is error else error)
    return Result(folder.path, result, folder.record())


def _explained(error: BaseException, parts: Parts) -> BaseException:
    """What torch says of a batch too large or too small, as something a user can mend; else the error itself."""
    if isinstance(error, torch.OutOfMemoryError):
        half = max(1, int(parts.recipe.batch_size) // 2)
        fix = f"try --batch-size {half}, or the same batch in parts: --with 'accumulate(parts=2)'"
        return NetwrightError(f"{parts.run.profile.name} has too little memory for this batch", fix)
    if is_too_small(error):
        return NetwrightError(
            "batch normalisation cannot work on one value a channel: the batch, or its parts, has one picture",
            "take a larger --batch-size or fewer parts, or another norm, as in --model \"resnet18(norm='group')\"",
        )
    return error


def _saver(folder: RunFolder) -> Any:
    """Writes a checkpoint when the run ends or stops, and otherwise at most every half minute."""
    last = time.monotonic()

    def save(run: Run) -> None:
        nonlocal last
        if run.interrupted or run.stopped or run.epoch >= run.epochs or time.monotonic() - last > CHECKPOINT_SECONDS:
            write_checkpoint(folder.checkpoints, run.memory(), write_atomic)
            last = time.monotonic()

    return save


def _locked(folder: RunFolder | None, output: str | Path, parts: Parts) -> RunFolder:
    if folder is None:
        model = parts.recipe.model if parts.spec else type(parts.run.model).__name__.lower()
        return RunFolder.create(Path(output), f"{parts.recipe.name}-{model.split('(')[0]}")
    folder.lock()
    return folder


def _refuse_changes(recipe: Any, changes: Mapping[str, Any]) -> None:
    """A resumed run is the same run: only its length and where it is computed may change."""
    other = [name for name in changes if name not in RESUMABLE] + (["recipe"] if recipe else [])
    if other:
        raise NetwrightError(
            f"a resumed run cannot change {listed(other)}",
            f"leave them out, or start a new run; {listed(sorted(RESUMABLE))} may change",
        )


def _refuse_other_data(before: dict[str, Any], parts: Parts) -> None:
    then, now = before["data"], parts.inputs.record
    if any(then.get(name) != now.get(name) for name in ("fingerprint", "splits", "classes")):
        raise NetwrightError(
            "the data is not what this run began with: files were added, removed, moved or changed",
            "bring the old files back, or start a new run",
        )


def _chosen(recipe: Recipe | str | None, data: Any) -> Recipe:
    """The recipe that was asked for, with its data; or the one that suits the data."""
    found = named(recipe) if isinstance(recipe, str) else recipe or named(recipe_for(data))
    if data is None or data == found.data:
        return found
    return found.changed(data=data if isinstance(data, str) else getattr(data, "name", type(data).__name__))
