"""Checkpoints of a job that takes long: killed, it goes on from the last of them, and ends as it would have."""

import shutil
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.run import Run
from netwright.engine.saver import Saver
from netwright.recipes._assemble import Parts
from netwright.recipes._memory import peak
from netwright.recipes._record import processor, versions
from netwright.recipes._resume import conditions, otherwise, put_back
from netwright.records.atomic import write_atomic
from netwright.records.plain import plain

SECONDS = 60.0  # a job that takes less writes nothing


class Kept(Saver):
    """Saves when a minute has passed, or when a signal stops the run; what cannot be written is done without.

    Args:
        folder: of this job alone.
        key: of the job.
        parts: what is to be trained.
    """

    def __init__(self, folder: Path, key: str, parts: Parts) -> None:
        now = {"recipe": parts.recipe.model_dump(), "device": processor(parts.run.profile), "versions": versions()}
        how = plain(conditions(now))
        super().__init__(folder, write_atomic, owner=key, seconds=SECONDS, conditions=how, told=lambda words: None)
        self.seconds_before, self.memory_before = 0.0, 0
        self._begun = perf_counter()

    def __call__(self, run: Run) -> None:
        """Save, if it is worth it: what follows the last step takes seconds, and is done again."""
        if not (self.due() or run.interrupted):
            return
        seconds = self.seconds_before + perf_counter() - self._begun
        self.conditions |= {"seconds": seconds, "memory": max(self.memory_before, peak())}
        with suppress(NetwrightError, OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            super().__call__(run)

    def go_on(self, run: Run) -> None:
        """Put a run where its last checkpoint left it, if there is one and numbers still round as they did then.

        Raises:
            NetwrightError: the checkpoint is of another network.
        """
        try:
            memory, _ = read_checkpoint(self.folder, owner=self.owner)
        except NetwrightError:
            return
        then: dict[str, Any] = memory["conditions"]
        if not otherwise(then, self.conditions):
            put_back(run, memory)
            self.seconds_before, self.memory_before = float(then["seconds"]), int(then["memory"])

    def drop(self) -> None:
        """The job is done: its checkpoints are of no use any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
