"""Where a process dies: each phase of a step, of an epoch and of a save is a place in the engine at which it is killed.

Everything is put in place in the process that is to die; the engine itself knows nothing of it.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from netwright.data.loader import Loader
from netwright.engine import evaluate
from netwright.engine.checkpoint import POINTER
from netwright.engine.run import Run
from netwright.optim._library import Library
from netwright.optim._optimizer import Base, Common
from netwright.recipes import _finish
from netwright.records import folder
from netwright.tricks.ema import Ema
from netwright.tricks.lookahead import Lookahead
from netwright.tricks.swa import Swa

CHECKPOINTS = "checkpoints"  # the folder of a run that they are in


@dataclass(frozen=True)
class Death:
    """Killed when `phase` is reached for the `visit`-th time after `step` updates of the whole run, or later."""

    step: int
    phase: str
    visit: int = 1


class Fate:
    """Counts how often the phase was reached, and kills this process when the time has come."""

    def __init__(self, death: Death) -> None:
        self.death = death
        self.visits = 0
        self.run: Run | None = None

    def comes(self) -> bool:
        """Whether this visit, which it counts, is the last."""
        if self.run is not None and self.run.step >= self.death.step:
            self.visits += 1
        return self.visits == self.death.visit

    def meet(self) -> None:
        """Die, if the time has come."""
        if self.comes():
            die()

    def prepare(self) -> None:
        """Change the engine in this process so that it meets its fate."""
        PHASES[self.death.phase](self)


def die() -> None:
    """As by `kill -9`: nothing is flushed, closed or caught."""
    os.kill(os.getpid(), signal.SIGKILL)


def changed(owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put `around(function)` in the place of a function of a module or class."""
    setattr(owner, name, around(getattr(owner, name)))


def when(*places: tuple[Any, str], done: bool) -> Callable[[Fate], None]:
    """Dies when one of these functions is called, or has done its work."""

    def prepare(fate: Fate) -> None:
        def around(function: Callable[..., Any]) -> Callable[..., Any]:
            def met(*given: Any, **named: Any) -> Any:
                if not done:
                    fate.meet()
                result = function(*given, **named)
                if done:
                    fate.meet()
                return result

            return met

        for owner, name in places:
            changed(owner, name, around)

    return prepare


def with_a_batch_in_hand(fate: Fate) -> None:
    """A batch was read and nobody has seen it."""

    def around(epoch: Callable[..., Any]) -> Callable[..., Any]:
        def met(*given: Any, **named: Any) -> Any:
            for raw in epoch(*given, **named):
                fate.meet()
                yield raw

        return met

    changed(Loader, "epoch", around)


def inside_the_network(fate: Fate) -> None:
    """Batch normalisation has counted the batch, dropout has drawn."""

    def around(forward: Callable[..., Any]) -> Callable[..., Any]:
        def met(layer: nn.Dropout, x: Tensor) -> Tensor:
            out = forward(layer, x)
            if layer.training:
                fate.meet()
            return out

        return met

    changed(nn.Dropout, "forward", around)


def opening(fate: Fate) -> None:
    """A file of a checkpoint is about to be opened for writing."""

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and _in_checkpoints(given[0]) and given[2] & (os.O_WRONLY | os.O_RDWR):
            fate.meet()

    sys.addaudithook(hook)


def renaming(pointer: bool) -> Callable[[Fate], None]:
    """A file is about to be moved into its place: one of the checkpoint itself, or the one that names the newest."""

    def prepare(fate: Fate) -> None:
        def hook(event: str, given: tuple[Any, ...]) -> None:
            if event == "os.rename" and _in_checkpoints(given[1]) and pointer == _is_pointer(given[1]):
                fate.meet()

        sys.addaudithook(hook)

    return prepare


def syncing(*, torn: bool) -> Callable[[Fate], None]:
    """A file of a checkpoint is written but not synced; or half of it is."""

    def prepare(fate: Fate) -> None:
        def around(fsync: Callable[[int], None]) -> Callable[[int], None]:
            def met(descriptor: int) -> None:
                path = Path(f"/proc/self/fd/{descriptor}").readlink()
                if path.is_file() and _in_checkpoints(path) and fate.comes():
                    if torn:
                        os.truncate(path, path.stat().st_size // 2)
                    die()
                fsync(descriptor)

            return met

        changed(os, "fsync", around)

    return prepare


def writing_a_row(fate: Fate) -> None:
    """Half a line of the metrics has reached the disk."""

    def around(append: Callable[[Path, str], None]) -> Callable[[Path, str], None]:
        def met(path: Path, line: str) -> None:
            if path.name == "metrics.jsonl" and fate.comes():
                with path.open("a") as file:
                    file.write(line[: len(line) // 2])
                die()
            append(path, line)

        return met

    changed(folder, "_append", around)


def _in_checkpoints(path: Any) -> bool:
    return isinstance(path, str | bytes | Path) and Path(os.fsdecode(path)).parent.name == CHECKPOINTS


def _is_pointer(path: Any) -> bool:
    return Path(os.fsdecode(path)).name == POINTER


PHASES: dict[str, Callable[[Fate], None]] = {
    "data": with_a_batch_in_hand,
    "fwd": inside_the_network,
    "bwd": when((Tensor, "backward"), done=True),
    "sched": when((Common, "paced"), done=False),
    "step": when((Base, "_step_group"), (Library, "step"), done=False),
    "ema": when((Ema, "after_step"), (Swa, "after_step"), (Lookahead, "after_step"), done=True),
    "val": when((evaluate, "prepare"), done=True),
    "log": writing_a_row,
    "save:open": opening,
    "save:mid": syncing(torn=True),
    "save:fsync": syncing(torn=False),
    "save:replace": renaming(pointer=False),
    "save:pointer": renaming(pointer=True),
    "finish": when((_finish, "save_bundle"), done=False),
}
# Phases that one update or save reaches more than once: parts of a batch, groups of parameters, files of a checkpoint.
TWICE = {"fwd", "bwd", "step", "save:open", "save:mid", "save:fsync", "save:replace"}
