"""Is a resumed run the same run? Some steps are made again from a checkpoint, and everything is compared."""

import copy
import math
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from netwright.core.errors import EXIT_INTERRUPTED, Interrupted, NetwrightError
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher, train
from netwright.engine.memory import differences
from netwright.engine.run import Run, Task
from netwright.engine.saver import Saver
from netwright.recipes._assemble import Parts, assemble
from netwright.recipes._recipe import read_recipe
from netwright.recipes._record import processor, versions
from netwright.recipes._resume import otherwise, refuse_other_data
from netwright.records.folder import RunFolder

STEPS = 20

Memory = dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """What was made again, and what came out.

    Attributes:
        run: the folder.
        first: updates done before.
        last: updates done after.
        twice: the steps were made twice and compared with each other, for want of a later checkpoint: that the run
            itself went the same way is not shown.
        differs: where the memories are not equal bit for bit, the first place first; times are left out.
        otherwise: what decides rounding and was another in the run, by name: then and now.
    """

    run: str
    first: int
    last: int
    twice: bool
    differs: tuple[str, ...]
    otherwise: dict[str, list[Any]]

    @property
    def holds(self) -> bool:
        """Whether everything is equal."""
        return not self.differs

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"holds": self.holds}


def replay(
    target: str | Path,
    *,
    steps: int | None = None,
    data: Any = None,
    model: nn.Module | None = None,
    task: Task | None = None,
    classes: Sequence[str] | None = None,
) -> Replay:
    """Make steps of a run again, without writing to its folder, and compare weights, optimiser, tricks and history.

    From the older of its checkpoints to the newer. With `steps`, or where a run has one checkpoint only, so many steps
    are made twice instead.

    Args:
        target: the run folder.
        steps: how many are made twice; by default 20.
        data: objects that the run was given, as for `fit`; so are `model`, `task` and `classes`.

    Raises:
        NetwrightError: no such run, it has no checkpoint, or its data are gone or changed.
    """
    folder = RunFolder.open(Path(target))
    record = folder.record()
    kept = _kept(folder.checkpoints, record.get("id"))
    objects = {"data": data, "model": model, "task": task, "classes": classes}

    def made(begin: Memory | None, until: tuple[int, int] | int) -> tuple[Memory, dict[str, list[Any]]]:
        parts = _assembled(folder, record, begin, objects)
        now = {"device": processor(parts.run.profile), "versions": versions()}
        return _made(parts.run, begin, until), otherwise(record, now)

    threads = torch.get_num_threads()
    try:
        if len(kept) > 1 and steps is None:
            begin, end = kept[-2:]
            again, other = made(begin, (end["step"], end["epoch"]))
            return Replay(str(target), begin["step"], end["step"], False, tuple(differences(end, again)), other)
        begin = _beginning(kept, record)
        (one, other), (again, _) = (made(begin, steps or STEPS) for _ in range(2))
        first = begin["step"] if begin else 0
        return Replay(str(target), first, one["step"], True, tuple(differences(one, again)), other)
    finally:
        torch.set_num_threads(threads)  # the process may have other work


def _kept(folder: Path, owner: str | None) -> list[Memory]:
    """The two newest checkpoints that are whole, the older first, or the only one."""
    newest, _ = read_checkpoint(folder, owner=owner)
    with tempfile.TemporaryDirectory() as place, suppress(NetwrightError):
        others = Path(place) / folder.name
        shutil.copytree(folder, others, ignore=shutil.ignore_patterns(f"step-{newest['step']:08d}*"))
        return [read_checkpoint(others, owner=owner)[0], newest]
    return [newest]


def _beginning(kept: list[Memory], record: dict[str, Any]) -> Memory | None:
    """The newest checkpoint after which the run has steps; None for its first step, where each is at its end."""
    epochs = record["recipe"]["epochs"]
    return next((memory for memory in reversed(kept) if memory["epoch"] < epochs and not memory["stopped"]), None)


def _assembled(folder: RunFolder, record: dict[str, Any], begin: Memory | None, objects: dict[str, Any]) -> Parts:
    own = copy.deepcopy(objects["model"])  # it is trained in place
    parts = assemble(
        read_recipe(folder.record_file), **objects | {"model": own}, before=record if begin is not None else None
    )
    refuse_other_data(record["data"], parts.inputs.record)
    return parts


def _made(run: Run, begin: Memory | None, until: tuple[int, int] | int) -> Memory:
    """What the run knows after some steps, as a checkpoint in a folder of its own holds it."""
    if begin is not None:
        run.recall(begin)
        run.stopped = ""
    with tempfile.TemporaryDirectory() as place:
        saver = Saver(Path(place), Path.write_bytes, owner="replay", seconds=math.inf, told=lambda _: None)
        with suppress(Interrupted):
            train(run, _Until(until if isinstance(until, tuple) else (run.step + until, None)), saver)
        return read_checkpoint(Path(place))[0]


class _Until(Watcher):
    """Stops a run at a step, and at an epoch: between its last step and its end an epoch is not yet counted."""

    def __init__(self, end: tuple[int, int | None]) -> None:
        self.end = end

    def stepped(self, run: Run) -> None:
        """Look after each step."""
        step, epoch = self.end
        if run.step == step and epoch in (None, run.epoch):
            run.interrupted = EXIT_INTERRUPTED

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """Look after each epoch."""
        self.stepped(run)
