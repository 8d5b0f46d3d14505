"""Is a resumed run the same run? Some steps are made again from a checkpoint, and everything is compared."""

import copy
import math
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
from netwright.recipes._record import processor, versions
from netwright.recipes._resume import (
    MAY_DIFFER,
    Before,
    Memory,
    conditions,
    otherwise,
    overrule,
    put_back,
    refuse_other_data,
    refuse_other_objects,
)
from netwright.records.folder import RunFolder

STEPS = 20


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


@dataclass(frozen=True)
class End:
    """Where steps that are made again end.

    Between its last step and its end an epoch is not yet counted, and a run that goes back passes a step twice.
    """

    step: int
    epoch: int | None = None
    rollbacks: int | None = None

    def is_here(self, run: Run) -> bool:
        """Whether a run has come there."""
        return run.step == self.step and self.epoch in (None, run.epoch) and self.rollbacks in (None, run.rollbacks)


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
        NetwrightError: no such run, it has no checkpoint, objects of its own are not given, or its data are gone or
            changed.
    """
    folder = RunFolder.open(Path(target))
    before = Before.of(folder)
    kept = _kept(folder.checkpoints, before.record.get("id"))
    objects = {"data": data, "model": model, "task": task}
    refuse_other_objects(before.record, objects, "netwright.lab.replay.replay(RUN")
    then = kept[-1].get("conditions") or conditions(before.record)

    def made(begin: Memory | None, until: End) -> tuple[Memory, dict[str, list[Any]]]:
        parts = _assembled(before, then, begin, objects | {"classes": classes})
        now = {"device": processor(parts.run.profile), "versions": versions()}
        return _made(parts.run, begin, until), otherwise(then, conditions(now))

    threads = torch.get_num_threads()
    try:
        if len(kept) > 1 and steps is None:
            begin, end = kept[-2:]
            again, other = made(begin, End(end["step"], end["epoch"], end.get("rollbacks", 0)))
            return Replay(str(target), begin["step"], end["step"], False, _differences(end, again), other)
        begin = _beginning(kept, then.get("epochs", before.recipe.epochs))
        first = begin["step"] if begin else 0
        (one, other), (again, _) = (made(begin, End(first + (steps or STEPS))) for _ in range(2))
        return Replay(str(target), first, one["step"], True, _differences(one, again), other)
    finally:
        torch.set_num_threads(threads)  # the process may have other work


def _differences(one: Memory, other: Memory) -> tuple[str, ...]:
    """Where what two checkpoints know of a run differs; how it is computed is told apart from that."""
    first, second = ({**memory, "conditions": {}} for memory in (one, other))
    return tuple(differences(first, second))


def _kept(folder: Path, owner: str | None) -> list[Memory]:
    """The two newest checkpoints that are whole, the older first, or the only one."""
    newest, _ = read_checkpoint(folder, owner=owner)
    with suppress(NetwrightError):
        return [read_checkpoint(folder, owner=owner, before=newest["step"])[0], newest]
    return [newest]


def _beginning(kept: list[Memory], epochs: int) -> Memory | None:
    """The newest checkpoint after which the run has steps; None for its first step, where each is at its end."""
    return next((memory for memory in reversed(kept) if memory["epoch"] < epochs and not memory["stopped"]), None)


def _assembled(before: Before, then: dict[str, Any], begin: Memory | None, objects: dict[str, Any]) -> Parts:
    recipe = before.recipe.changed(**{name: then[name] for name in MAY_DIFFER if name in then})
    own = copy.deepcopy(objects["model"])  # it is trained in place
    parts = assemble(recipe, **objects | {"model": own}, before=None if begin is None else before.record)
    refuse_other_data(before.record["data"], parts.inputs.record)
    return parts


def _made(run: Run, begin: Memory | None, end: End) -> Memory:
    """What the run knows after some steps, as a checkpoint in a folder of its own holds it."""
    if begin is not None:
        put_back(run, begin)
        overrule(run)  # as the run was, if it went on from there
    with tempfile.TemporaryDirectory() as place:
        saver = Saver(Path(place), Path.write_bytes, owner="replay", seconds=math.inf, told=lambda _: None)
        with suppress(Interrupted):
            train(run, _Until(end), saver)
        return read_checkpoint(Path(place))[0]


class _Until(Watcher):
    """Stops a run where steps that are made again end."""

    def __init__(self, end: End) -> None:
        self.end = end

    def stepped(self, run: Run) -> None:
        """Look after each step."""
        if self.end.is_here(run):
            run.interrupted = EXIT_INTERRUPTED

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        """Look after each epoch."""
        self.stepped(run)
