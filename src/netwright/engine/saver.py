"""When a run is saved: every so often while it trains, and whenever it ends or stops."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError
from netwright.engine.checkpoint import Write, write_checkpoint
from netwright.engine.run import Run

FAILURES = 3


class Saver:
    """Writes the checkpoints of a run.

    While it trains, one that cannot be written is told and tried again, until it fails too often. At the end of
    training and on interruption one failure ends the run, since no other step would try again.

    Args:
        folder: the run's `checkpoints`.
        write: writes one file so that it is there whole or not at all.
        owner: the run's id; a checkpoint with another one is left alone.
        seconds: at most so much work is lost to a crash, and the time of a step or of an epoch's validation.
        keep: how many checkpoints to keep.
        conditions: how the run is computed; each checkpoint says so beside what the run knows.
        told: hears of what could not be written.
    """

    def __init__(
        self,
        folder: Path,
        write: Write,
        *,
        owner: str,
        seconds: float = 30.0,
        keep: int = 2,
        conditions: Mapping[str, Any] | None = None,
        told: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.write = write
        self.owner = owner
        self.seconds = seconds
        self.keep = keep
        self.conditions = dict(conditions or {})
        self.told = told
        self.failures = 0
        self._tried = time.monotonic()
        self._saved: int | None = None  # the change after which it was done last

    def __call__(self, run: Run) -> None:
        """Save now, unless nothing happened since it was done last.

        Raises:
            NetwrightError: it could not be written; the checkpoints before it are as they were.
        """
        if self._saved == run.changes:
            return
        try:
            memory = run.memory() | {"conditions": self.conditions}
            write_checkpoint(self.folder, memory, self.write, owner=self.owner, keep=self.keep)
        except (NetwrightError, OSError) as error:
            self.failures += 1
            raise _told(error, self.folder) from error
        finally:
            self._tried = time.monotonic()
        self.failures, self._saved = 0, run.changes

    def due(self) -> bool:
        """Whether it is time to save, or to try it again."""
        return time.monotonic() - self._tried >= self.seconds

    def if_due(self, run: Run) -> None:
        """Save after an update or an epoch, if it is time.

        Raises:
            NetwrightError: it could not be written for the third time in a row.
        """
        if not self.due():
            return
        try:
            self(run)
        except NetwrightError as error:
            if self.failures == FAILURES:
                raise
            self.told(f"no checkpoint after step {run.step}, but those before it remain: {error}")

    @contextmanager
    def rescuing(self, run: Run) -> Generator[None]:
        """Save before an error ends the run, if it came between two updates rather than in the middle of one.

        It is tried even where saving is what failed: the disk may have room by now.
        """
        try:
            yield
        except Exception:
            if run.whole:
                with suppress(NetwrightError):  # the user has to hear of the error
                    self(run)
            raise


def _told(error: NetwrightError | OSError, folder: Path) -> NetwrightError:
    if isinstance(error, NetwrightError):
        return error
    problem = f"cannot write a checkpoint to {folder} ({error.strerror or error})"
    return NetwrightError(problem, "see that the folder is there and its disk works")
