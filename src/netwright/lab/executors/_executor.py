"""What every executor is, and the terms on which its workers compute."""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from secrets import token_hex
from types import TracebackType
from typing import Any, Protocol, Self

from netwright.core.errors import NetwrightError
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.records.lock import Holder

RETRIES = 2  # of a job whose worker died


class Executor(Protocol):
    """Computes jobs, and is entered by `with`.

    Attributes:
        slots: how many it computes at once.
        owner: under which what it computes is claimed in the run store.
    """

    slots: int
    owner: str

    def submit(self, job: Job) -> Future[Outcome]:
        """Compute a job now, or as soon as there is room; an error in it is the future's."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End whatever was started for it, at once."""
        ...


@dataclass(frozen=True)
class Terms:
    """On which workers compute.

    Attributes:
        owner: of the claims.
        threads: of a job whose recipe names none.
        store: address of the run store that workers write to; None leaves it to the driver.
        checkpoints: folder for the state of long jobs.
    """

    owner: str
    threads: int | None = None
    store: str | None = None
    checkpoints: str | None = None

    def ask(self, job: Job) -> dict[str, Any]:
        """What a worker is sent."""
        return asdict(self) | {"job": job.to_json()}


class WorkerDiedError(NetwrightError):
    """A process that computed a job is gone; the job is not to blame, or took more memory than there is."""


def with_threads(job: Job, threads: int | None) -> Job:
    """The job, with threads where its recipe leaves them open."""
    return job if threads is None else replace(job, recipe=job.recipe.resolved(threads=threads))


def new_owner() -> str:
    """A name for this process and this lab, from which others on the machine can tell whether it has ended."""
    me = Holder.this_process()
    return f"{me.host}:{me.pid}:{me.started}:{token_hex(4)}"


def is_gone(owner: str) -> bool:
    """Whether the process that calls itself so has surely ended; of another machine that cannot be known."""
    with suppress(ValueError):
        host, pid, started, _ = owner.rsplit(":", 3)
        return Holder(int(pid), host, started).is_gone()
    return False
