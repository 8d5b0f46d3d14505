"""Finished runs by their names, and what they said of the pictures that all of them were tested on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.spec import Spec
from netwright.records.folder import RunFolder
from netwright.report.reading import Evaluation, Reading
from netwright.report.words import count, plural, split_name

RUNS = Path("runs")
BUNDLE = "bundle.json"
MOST = 5  # names in a message


@dataclass(frozen=True)
class Run:
    """A finished run, and its answers to pictures."""

    reading: Reading
    evaluation: Evaluation

    @property
    def name(self) -> str:
        """Its folder's."""
        return self.reading.folder.path.resolve().name

    @property
    def record(self) -> Mapping[str, Any]:
        """What `records/schema.py` says."""
        return self.reading.record

    @property
    def seed(self) -> int:
        """It was trained with."""
        return int(self.record["recipe"]["seed"])

    @property
    def classes(self) -> list[str]:
        """In the order of the columns."""
        return self.reading.classes


def read_runs(names: Sequence[str], runs: Path = RUNS) -> tuple[list[Run], list[str]]:
    """Runs cut to the pictures that all of them were tested on, in the first one's order; and what is to be said of it.

    Raises:
        NetwrightError: fewer than two, one twice, one that is no finished run, or runs that share no test.
    """
    found = [_read(find(name, runs)) for name in names]
    if len(found) < 2:
        given = f"{found[0].name} alone" if found else "nothing"
        raise NetwrightError(f"{given} cannot be compared", "name two finished runs: netwright compare RUN_A RUN_B")
    for place, run in enumerate(found):
        path = run.reading.folder.path.resolve()
        if any(path == before.reading.folder.path.resolve() for before in found[:place]):
            raise NetwrightError(f"{run.name} is named twice", "name two different runs")
    for run in found[1:]:
        _refuse_other_test(found[0], run)
    return _shared(found)


def find(name: str, runs: Path = RUNS) -> RunFolder:
    """The run in a folder, the one that a bundle came from, or the only one in `runs` whose name holds these letters.

    Raises:
        NetwrightError: there is none, or several.
    """
    path = Path(name)
    if (path / BUNDLE).is_file():
        if (path.resolve().parent / "record.json").is_file():
            return RunFolder.open(path.resolve().parent)
        problem = f"{name} is a bundle away from its run, and holds no answers to test pictures"
        raise NetwrightError(problem, "name the run folder that it came from")
    there = sorted(place.parent.name for place in runs.glob("*/record.json")) if runs.is_dir() else []
    if path.exists() or len(path.parts) != 1 or not there:
        return RunFolder.open(path)
    fitting = [each for each in there if each == name] or [each for each in there if name in each]
    if len(fitting) > 1:
        fix = f"name one of them: {listed(fitting, 2 * MOST)}"
        raise NetwrightError(f"{plural(len(fitting), 'run')} in {runs} fit '{name}'", fix)
    if not fitting:
        raise unknown("run", name, there, see=f"ls {runs}")
    return RunFolder.open(runs / fitting[0])


def _read(folder: RunFolder) -> Run:
    folder.record()  # says what is wrong with it
    reading = Reading.of(folder)
    name, status = folder.name, reading.at("status")
    if status in ("interrupted", "running"):
        fix = f"finish it first: netwright train --resume {folder.path}"
        raise NetwrightError(f"{name} is not finished: it is {status}", fix)
    if status != "done":
        because = f": {reading.at('problem')}" if reading.at("problem") else ""
        raise NetwrightError(f"{name} has no result, it {status or 'has no status'}{because}", "train it again")
    if not isinstance(reading.at("recipe", "seed"), int) or not isinstance(reading.at("recipe", "tricks"), list):
        raise NetwrightError(f"{folder.record_file} is not the record of a run", "the file was changed; copy it again")
    if reading.evaluation is None:
        raise _without_answers(reading)
    return Run(reading, reading.evaluation)


def _without_answers(reading: Reading) -> NetwrightError:
    file, task = reading.folder.evaluation_file, _task(reading.record)
    if file.exists():
        return NetwrightError(f"{file} cannot be read", "it was cut short or changed; copy or train the run again")
    if task != "classification":
        problem = f"{reading.folder.name} kept no answers to single pictures: its task is {task}"
        return NetwrightError(problem, "compare takes runs of the task classification; for others, netwright show RUN")
    problem = f"{reading.folder.name} kept no answers to single pictures: {file.name} is missing"
    return NetwrightError(problem, "copy it from where the run was trained, or train again")


def _task(record: Mapping[str, Any]) -> str:
    own = (record.get("own") or {}).get("task")
    return f"your own {own}" if own else Spec.parse(str(record["recipe"].get("task", "classification"))).name


def _refuse_other_test(first: Run, other: Run) -> None:
    """Refuse runs whose answers are to another question."""
    pair = f"{first.name} and {other.name}"
    tasks = [_task(run.record) for run in (first, other)]
    if tasks[0] != tasks[1]:
        problem = f"{pair} learnt different tasks: {tasks[0]} and {tasks[1]}"
        raise NetwrightError(problem, "compare runs of one task")
    if first.classes != other.classes:
        raise NetwrightError(f"{pair} know different classes{_apart(first, other)}", "compare runs on the same data")
    sides = [split_name(run.evaluation.split) for run in (first, other)]
    if sides[0] != sides[1]:
        fix = "train both with a test split, or both without"
        raise NetwrightError(f"{pair} were measured on different splits: {sides[0]} and {sides[1]}", fix)


def _apart(first: Run, other: Run) -> str:
    only = [
        f"only {one.name} has {listed(names, MOST)}"
        for one, two in ((first, other), (other, first))
        if (names := [each for each in one.classes if each not in two.classes])
    ]
    return f": {'; '.join(only)}" if only else ", in another order"


def _shared(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """Runs with the pictures that all of them have, in one order."""
    named = [run.evaluation.names for run in runs]
    if all(names == named[0] for names in named):  # also names that occur twice
        _refuse_other_labels(runs)
        return runs, _other_data(runs)
    for run, names in zip(runs, named, strict=True):
        if len(set(names)) < len(names):
            twice = next(name for place, name in enumerate(names) if name in names[:place])
            problem = f"pictures of {run.name} cannot be told apart by name, as {twice!r}, and other runs have others"
            raise NetwrightError(problem, "train both on the same data, or give every picture a name of its own")
    common = set(named[0]).intersection(*named[1:])
    sizes = ", ".join(f"{run.name} has {count(len(names))}" for run, names in zip(runs, named, strict=True))
    if not common:
        fix = "train them on the same data with the same split; only answers to the same pictures can be compared"
        raise NetwrightError(f"these runs share no {split_name(runs[0].evaluation.split)} picture: {sizes}", fix)
    order = [name for name in named[0] if name in common]
    cut = [_cut(run, order) for run in runs]
    _refuse_other_labels(cut)
    if all(len(names) == len(common) for names in named):
        return cut, _other_data(runs)
    return cut, [f"Compared on the {plural(len(common), 'picture')} that all runs share: {sizes}.", *_other_data(runs)]


def _cut(run: Run, order: Sequence[str]) -> Run:
    place = {name: row for row, name in enumerate(run.evaluation.names)}
    rows = np.array([place[name] for name in order], np.intp)
    seen = run.evaluation
    return replace(run, evaluation=Evaluation(seen.probabilities[rows], seen.labels[rows], [*order], seen.split))


def _refuse_other_labels(runs: Sequence[Run]) -> None:
    first = runs[0]
    for other in runs[1:]:
        apart = np.flatnonzero(first.evaluation.labels != other.evaluation.labels)
        if len(apart):
            at = int(apart[0])
            said = " and ".join(f"{run.classes[run.evaluation.labels[at]]} in {run.name}" for run in (first, other))
            problem = f"{plural(len(apart), 'picture')} of one name have other labels, as {first.evaluation.names[at]}"
            raise NetwrightError(f"{problem}: {said}", "labels were changed in between: train both on the same")


def _other_data(runs: Sequence[Run]) -> list[str]:
    prints = {run.reading.at("data", "fingerprint") for run in runs}
    if len(prints) == 1:
        return []
    return ["The data are not the same in all runs: pictures of one name and label are taken to be the same picture."]
