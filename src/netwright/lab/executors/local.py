"""In this process, one job after the other: signals stop a run after its step, and errors come with their own trace."""

from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from netwright.core.errors import Interrupted
from netwright.lab.executors._executor import Terms, with_threads
from netwright.lab.job import Job
from netwright.lab.measure import measure
from netwright.lab.outcome import Outcome


class InTurn:
    """Computes a job when it is submitted: what comes back is done."""

    slots = 1

    def __init__(self, terms: Terms) -> None:
        self.owner = terms.owner
        self._terms = terms

    def submit(self, job: Job) -> Future[Outcome]:
        """Compute it now.

        Raises:
            Interrupted: a signal stopped it.
        """
        done: Future[Outcome] = Future()
        folder = None if self._terms.checkpoints is None else Path(self._terms.checkpoints)
        try:
            done.set_result(measure(with_threads(job, self._terms.threads), checkpoints=folder))
        except Interrupted:
            raise
        except Exception as error:
            done.set_exception(error)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to end."""
