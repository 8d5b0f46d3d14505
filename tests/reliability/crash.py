"""A real run that is killed, resumed and killed again, and what it came to in the end.

One process imports torch; each attempt at a run is a fork of it, so that it costs what it trains and not what it
imports. An attempt is `fit` itself, in a real run folder. It writes down, outside that folder, where it began, what
every update saw, and, if it lives to see the end, a hash of everything the run came to.
"""

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from multiprocessing import active_children, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
import torch

from netwright import fit
from netwright.engine import loop
from netwright.engine.loop import Watcher
from netwright.engine.plans import Raw
from netwright.engine.run import Batch, Run
from netwright.engine.saver import Saver
from netwright.recipes._fit import Result
from netwright.records.folder import RunFolder
from tests.brief import without_reports
from tests.reliability.deaths import Death, Fate, changed
from tests.reliability.mutants import MUTANTS
from tests.reliability.problems import RECIPES, arguments, digits
from tests.support import hash_of, untimed

LONGEST = 120  # seconds that one attempt may take


@dataclass(frozen=True)
class Life:
    """One attempt at a run.

    Attributes:
        problem: what is trained, of `RECIPES`.
        death: when it is killed, or None to let it live.
        every: updates between two checkpoints.
        mutant: a mistake in its memory, of `MUTANTS`.
        changes: arguments of `fit` that differ in this attempt.
    """

    problem: str = "ema"
    death: Death | None = None
    every: int = 3
    mutant: str | None = None
    changes: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class Story:
    """What attempts at one run left behind.

    Attributes:
        folder: of this run, and of what was written down beside it.
        exits: how each attempt ended; −9 if it was killed.
        begun: the updates that were done when each attempt began.
        updates: what each update saw, in all attempts.
        digest: hashes of what the run came to, by part; empty if no attempt came to the end.
        error: what the last attempt said when it failed.
    """

    folder: Path
    exits: list[int]
    begun: list[int]
    updates: list[dict[str, Any]]
    digest: dict[str, str]
    error: str

    @property
    def run(self) -> Path:
        """The run folder."""
        return RunFolder.newest(self.folder / "runs").path

    def seen(self, what: str) -> dict[int, Any]:
        """That of what each update saw, by its number; the last time if it was done several times."""
        return {row["step"]: row[what] for row in self.updates}


@contextmanager
def fork_server() -> Iterator[ProcessPoolExecutor]:
    """A process of its own with one thread: a fork of a process with several may wait for the others for ever."""
    with ExitStack() as stack:
        place = stack.enter_context(TemporaryDirectory())
        stack.enter_context(mock.patch.dict(os.environ, OMP_NUM_THREADS="1"))
        yield stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), initializer=_prepare, initargs=(place,)))


def _prepare(place: str) -> None:
    """Import and read once what every attempt would, leave temporary files in one place, and write no reports."""
    torch.set_num_threads(1)
    tempfile.tempdir = place
    digits()
    for name in ("netwright.records.store", "torch._dynamo"):
        import_module(name)
    without_reports(pytest.MonkeyPatch())


def live(folder: Path, lives: list[Life]) -> Story:
    """A run in `folder`: the first life begins it, each other one resumes it."""
    folder.mkdir(parents=True, exist_ok=True)
    exits = [_attempt(folder, number, life) for number, life in enumerate(lives)]
    notes = _read_diary(folder)
    return Story(
        folder=folder,
        exits=exits,
        begun=[note["begun"] for note in notes if "begun" in note],
        updates=[note for note in notes if "step" in note],
        digest=next((note["digest"] for note in notes if "digest" in note), {}),
        error=next((note["error"] for note in reversed(notes) if "error" in note), ""),
    )


@cache
def uninterrupted(problem: str, mutant: str | None = None) -> Story:
    """The run that nothing happened to."""
    story = live(Path(tempfile.mkdtemp()), [Life(problem, mutant=mutant)])
    assert story.exits == [0], story.error
    return story


def faults(story: Story, whole: Story, kills: int) -> list[str]:
    """Everything in which a run that was killed differs from the one that was not; nothing, if it kept its promise."""
    found = [f"attempts ended with {story.exits}: {story.error}"] if story.exits != [-9] * kills + [0] else []
    found += [f"an attempt began anew: {story.begun}"] if not all(story.begun[1:]) else []
    found += ["nothing was done twice"] if len(story.updates) <= len(whole.updates) else []
    for what in ("epoch", "ids", "pixels", "rate"):
        expected = whole.seen(what)
        wrong = sorted({row["step"] for row in story.updates if row[what] != expected.get(row["step"])})
        found += [f"{what} differ at updates {wrong}"] if wrong else []
    parts = [part for part in whole.digest if story.digest.get(part) != whole.digest[part]]
    return found + [f"another {part}" for part in parts]


def _attempt(folder: Path, number: int, life: Life) -> int:
    """Fork, and wait for the end: 0, or minus the signal that killed it, or 1 for an error."""
    process = get_context("fork").Process(target=_alive, args=(folder, number, life))
    process.start()
    process.join(LONGEST)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"attempt {number} in {folder} hangs: {life}")
    return process.exitcode


def _alive(folder: Path, number: int, life: Life) -> None:
    """An attempt, in a process of its own."""
    os.environ["NETWRIGHT_CACHE"] = str(folder / "cache")
    fate = life.death and Fate(life.death)
    diary = Diary(folder / "diary.jsonl", fate)
    if life.mutant:
        MUTANTS[life.mutant].make()
    if fate:
        fate.prepare()
    changed(loop, "step", diary.noting)
    changed(Saver, "if_due", lambda save: lambda saver, run: run.step % life.every == 0 and save(saver, run))
    changed(Saver, "due", lambda _: lambda _: True)
    torch.manual_seed(number)  # whatever is not recalled is another one
    where = {"resume": RunFolder.newest(folder / "runs").path} if number else {"output": folder / "runs"}
    told = arguments(life.problem) | life.changes
    try:
        result = fit(None if number else RECIPES[life.problem], watcher=diary, **where, **told)
    except BaseException as error:
        diary.write(error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        sys.exit(1)
    diary.write(digest=digest(diary.run, result))


class Diary(Watcher):
    """What an attempt writes down, line by line, where a sudden end takes nothing back."""

    def __init__(self, path: Path, fate: Fate | None) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.fate = fate

    def write(self, **note: Any) -> None:
        os.write(self.file, json.dumps(note).encode() + b"\n")

    def started(self, run: Run) -> None:
        self.run = run
        if self.fate:
            self.fate.run = run
        self.write(begun=run.step)

    def noting(self, step: Callable[..., None]) -> Callable[..., None]:
        """An update that writes down what it sees."""

        def noted(run: Run, augment: Callable[[Raw], Batch], *rest: Any) -> None:
            def seen(raw: Raw) -> Batch:
                batch = augment(raw)
                ids, workers = raw.id.tolist(), [child.pid for child in active_children()]
                pixels = hash_of([batch.image, batch.target])
                self.write(step=run.step, epoch=run.epoch, ids=ids, pixels=pixels, rate=run.rate, workers=workers)
                return batch

            step(run, seen, *rest)

        return noted


def digest(run: Run, result: Result) -> dict[str, str]:
    """Hashes of everything a run came to, without what clocks wrote."""
    memory = run.memory() | {"history": untimed(run.history)}
    folder = RunFolder(result.path)
    lines = folder.metrics_file.read_text().splitlines()
    kept = {name: result.record["result"][name] for name in ("best_epoch", "splits", "steps", "stopped", "temperature")}
    parts = memory | {
        "metrics": untimed([json.loads(line) for line in lines]),
        "bundle": (folder.bundle / "model.safetensors").read_bytes(),
        "result": kept,
        "status": result.record["status"],
    }
    return {name: hash_of(part) for name, part in parts.items()}


def _read_diary(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "diary.jsonl").read_text().splitlines()]
