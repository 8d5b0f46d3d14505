"""`fit`: a recipe becomes a run, a record and a model."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netwright.core.errors import Interrupted, NetwrightError
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher, train
from netwright.engine.run import Task
from netwright.engine.saver import Saver
from netwright.engine.signals import stops_on_signals
from netwright.recipes._assemble import Parts, assemble, objects
from netwright.recipes._choose import is_too_small
from netwright.recipes._finish import finish
from netwright.recipes._memory import memory_told, out_of_memory
from netwright.recipes._recipe import Recipe, recipe_for
from netwright.recipes._recipe import recipe as named
from netwright.recipes._record import Record, processor
from netwright.recipes._resume import (
    Before,
    conditions,
    go_on,
    refuse_other_data,
    refuse_other_objects,
    resumed,
    resumed_recipe,
    told,
)
from netwright.recipes._room import for_a_run
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.plain import plain

CHECKPOINT_SECONDS = 30.0
SMALLER = "close other programs, or take a smaller --image-size or --model, or fewer pictures"


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
    extend: int | None = None,
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
        resume: a run folder to go on with, instead of a new run. Data, network and task that are objects are given
            again; `changes` may say where it is computed. What could make it another run is refused; what may round
            otherwise is told, and is in the record as "resumed".
        extend: epochs that the resumed run is to have in all. Schedules and tricks go by the part of the run that is
            done, so they go on as at this step of a run of that length, and the learning rate may jump there.
        watcher: told of every step and epoch.
        progress: called with (done, total) while pictures are decoded.
        command: how the run was started, for the record.
        changes: fields of `Recipe` to replace, and `lr`.

    Raises:
        NetwrightError: anything a user can mend.
        Interrupted: a signal stopped the run; it can be resumed.
    """
    started = time.time()
    changes |= {name: value for name, value in (("model", model), ("task", task)) if isinstance(value, str)}
    data = str(data) if isinstance(data, Path) else data
    changes |= {"data": data} if resume and isinstance(data, str) else {}
    own = objects(model=model, task=task)
    threads = torch.get_num_threads()
    try:
        with memory_told("before training began", SMALLER), ExitStack() as held:
            folder = None if resume is None else held.enter_context(_locked(Path(resume)))
            before = folder and Before.of(folder, extend)
            chosen = _going_on(before, recipe, data, own, changes) if before else _chosen(recipe, data, changes, extend)
            then = before and before.record
            parts = assemble(chosen, data=data, **own, classes=classes, progress=progress, before=then)
            if before:
                refuse_other_data(before.record["data"], parts.inputs.record)
            folder = folder or held.enter_context(_new(Path(output), parts))
            record = Record(folder, parts, started=started, command=command, before=then)
            return _trained(parts, folder, record, record.watching(watcher or Watcher()), before)
    finally:
        torch.set_num_threads(threads)  # the process may have other work


def _trained(parts: Parts, folder: RunFolder, record: Record, watcher: Watcher, before: Before | None) -> Result:
    run = parts.run
    now = {"recipe": parts.recipe.model_dump(), "device": processor(run.profile), "versions": record.versions}
    how = plain(conditions(now))
    if before:
        _recalled(parts, folder, record, watcher, before, how)
    record.write("running")
    try:
        save = Saver(
            folder.checkpoints,
            write_atomic,
            owner=record.id,
            seconds=CHECKPOINT_SECONDS,
            conditions=how,
            told=watcher.told,
        )
        with stops_on_signals(run):
            train(run, watcher, save)
            result = finish(parts, folder, record)
    except BaseException as error:
        stopped = isinstance(error, Interrupted | KeyboardInterrupt)
        explained = _explained(error, parts, resumed=before is not None)
        with suppress(NetwrightError, OSError):  # the user has to hear of the error that ended the run
            record.close("interrupted" if stopped else "failed", problem=str(explained))
        raise explained from (None if explained is error else error)
    return Result(folder.path, result, folder.record())


def _explained(error: BaseException, parts: Parts, *, resumed: bool) -> BaseException:
    """What torch says of a batch too large or too small, as something a user can mend; else the error itself."""
    if out_of_memory(error):
        half = max(1, int(parts.recipe.batch_size) // 2)
        fix = f"try --batch-size {half}, or the same batch in parts: --with 'accumulate(parts=2)'"
        problem = f"{parts.run.profile.name} has too little memory for this batch"
        return NetwrightError(problem, for_a_run(fix, resumed=resumed))
    if is_too_small(error):
        return NetwrightError(
            "batch normalisation cannot work on one value a channel: the batch, or its parts, has one picture",
            "take a larger --batch-size or fewer parts, or another norm, as in --model \"resnet18(norm='group')\"",
        )
    return error


def _recalled(
    parts: Parts, folder: RunFolder, record: Record, watcher: Watcher, before: Before, how: dict[str, Any]
) -> None:
    """Put the run where it stopped, and say what is not as it was."""
    run = parts.run
    memory, skipped = read_checkpoint(folder.checkpoints, owner=record.id)
    go_on(run, memory, before)
    then = memory.get("conditions") or conditions(before.record)
    found = resumed(run, memory, then, how, repeats=parts.inputs.repeats)
    record.resumed.append({**found, "skipped": skipped})
    for words in told(run, record.resumed[-1]):
        watcher.told(words)
    folder.write_metrics(run.history)


def _new(output: Path, parts: Parts) -> RunFolder:
    model = parts.recipe.model if parts.spec else type(parts.run.model).__name__.lower()
    return RunFolder.create(output, f"{parts.recipe.name}-{model.split('(')[0]}")


def _locked(path: Path) -> RunFolder:
    """A run that is nobody else's to go on with, before it is read."""
    folder = RunFolder.open(path)
    folder.lock()
    return folder


def _going_on(before: Before, recipe: Any, data: Any, own: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
    """The recipe that a resumed run goes on with."""
    if recipe is not None:
        raise NetwrightError("a resumed run has its recipe in its record", "leave the other out, or start a new run")
    given = {"data": data, "model": own.get("model"), "task": own.get("task")}
    refuse_other_objects(before.record, given, "fit(resume=…")
    return resumed_recipe(before.recipe, changes, before.extend)


def _chosen(recipe: Recipe | str | None, data: Any, changes: Mapping[str, Any], extend: int | None) -> Recipe:
    """The recipe that was asked for, with its data; or the one that suits the data."""
    if extend is not None:
        raise NetwrightError("only a run that exists can be extended", "name it: --resume RUN, or resume=RUN")
    found = named(recipe) if isinstance(recipe, str) else recipe or named(recipe_for(data, changes.get("task")))
    if data is not None and data != found.data:
        found = found.changed(data=data if isinstance(data, str) else getattr(data, "name", type(data).__name__))
    return found.changed(**changes) if changes else found
