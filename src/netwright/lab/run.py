"""Runs the lab's jobs: each once, found again if it is finished, and shared with whoever works on the same store."""

import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from threading import Event, Thread
from types import FrameType

from netwright.core.errors import NetwrightError
from netwright.engine.signals import handled
from netwright.lab.executors._executor import Executor, is_gone
from netwright.lab.executors._signals import interrupted
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import PRUNED
from netwright.records.outcomes import OutcomeStore
from netwright.report.words import duration

LEASE = 60.0  # seconds for which a claim holds if its driver falls silent; it renews them three times as often
POLL = 1.0  # seconds between two looks at what others compute

Told = Callable[[str], None]


def _silent(words: str) -> None:
    """Where nobody listens."""


def run_jobs(
    jobs: Iterable[Job],
    store: OutcomeStore,
    executor: Executor,
    told: Told = _silent,
    *,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Outcome]:
    """The outcomes of jobs, by key: from the store where they are finished, and else computed and stored.

    Jobs with equal keys are one. What another process has claimed is waited for, or computed here if that falls silent.
    After an error no other job is begun; those that are being computed are finished and kept.

    Args:
        jobs: in the order in which they are to be computed.
        store: of what is finished.
        executor: entered.
        told: hears of each run that is finished.
        labels: what people call a job, as "without mixup, seed 2", by key.

    Raises:
        NetwrightError: a job met one; its words begin with the job's label.
        Interrupted: a signal stopped it; what is finished is kept.
    """
    work = Work({job.key: job for job in jobs}, store, executor, told, labels or {})
    with work.stops_on_signals(), work.renewed():
        work.done()
    return work.outcomes


class Work:
    """Jobs on their way from wanted to finished."""

    def __init__(
        self, jobs: dict[str, Job], store: OutcomeStore, executor: Executor, told: Told, labels: Mapping[str, str]
    ) -> None:
        self.jobs = jobs
        self.store = store
        self.executor = executor
        self.told = told
        self.labels = labels
        self.wanted = list(jobs)
        self.running: dict[Future[Outcome], str] = {}
        self.claimed: set[str] = set()
        self.refused: set[str] = set()
        self.outcomes: dict[str, Outcome] = {}
        self.problem: Exception | None = None
        if store.told is None and told is not _silent:
            store.told = told

    def done(self) -> None:
        """Compute and wait, until every job has its outcome.

        Raises:
            NetwrightError: a job met one.
        """
        self._found(self.wanted)
        if self.outcomes:
            self.told(f"{len(self.outcomes)} of {len(self.jobs)} are in the run store")
        while self.wanted or self.running:
            self._found(sorted(self.refused), told=True)
            self._begin()
            self._wait()
        if self.problem is not None:
            raise self.problem

    def _found(self, keys: Iterable[str], *, told: bool = False) -> None:
        """Take what is in the store."""
        contents = self.store.contents(keys)
        for key in [key for key in self.wanted if key in contents]:
            outcome = self._read(key, contents[key])
            if outcome is None:
                continue
            self.wanted.remove(key)
            self.refused.discard(key)
            self.outcomes[key] = outcome
            if told:
                self._tell(key, ", computed elsewhere")

    def _read(self, key: str, content: bytes) -> Outcome | None:
        """What the store holds; None if nobody can read it, and then it is to be computed anew.

        Raises:
            NetwrightError: a newer netwright wrote it.
        """
        try:
            return Outcome.from_bytes(content)
        except NetwrightError as error:
            if error.__cause__ is None:
                raise
        self.store.discard(key, content)
        self.told(f"run {key} in {self.store} cannot be read: it counts as damaged, and is computed anew")
        return None

    def _begin(self) -> None:
        """Claim what is free, in order, and hand it to the executor, until that is full."""
        for key in list(self.wanted):
            if len(self.running) >= self.executor.slots or self.problem is not None:
                return
            if not self._claim(key):
                continue
            self.wanted.remove(key)
            self.refused.discard(key)
            self.claimed.add(key)
            future = self.executor.submit(self.jobs[key])
            self.running[future] = key

    def _claim(self, key: str) -> bool:
        if self._is_ours(key):
            return True
        self.refused.add(key)
        owner = self.store.owner(key)  # at every look: it may have been killed since the last
        if owner is None or not is_gone(owner):
            return False
        self.store.release(key, owner)
        return self._is_ours(key)

    def _is_ours(self, key: str) -> bool:
        recipe, data = self.jobs[key].recipe, self.jobs[key].fingerprint
        about = recipe.model_dump(mode="json")
        return self.store.claim(key, self.executor.owner, recipe=about, seed=recipe.seed, data=data, lease=LEASE)

    def _wait(self) -> None:
        """Until something is computed, here or perhaps elsewhere."""
        full = len(self.running) >= self.executor.slots or not self.wanted
        if not self.running:
            if self.wanted:
                time.sleep(POLL)
            return
        for future in wait(self.running, None if full else POLL, FIRST_COMPLETED).done:
            self._take(future)

    def _take(self, future: Future[Outcome]) -> None:
        """Keep what a job gave, or what went wrong."""
        key = self.running.pop(future)
        try:
            outcome = future.result()
        except Exception as error:
            self._failed(key, error)
            return
        if outcome.stopped == PRUNED:  # another search, or none, would train it further
            self.store.release(key, self.executor.owner)
        elif not self.store.finished([key]):
            self.store.finish(key, self.executor.owner, outcome.to_bytes(), outcome.summary())
        self.claimed.discard(key)
        self.outcomes[key] = outcome
        self._tell(key)

    def _failed(self, key: str, error: Exception) -> None:
        self.claimed.discard(key)
        self.wanted.clear()
        problem = error.problem if isinstance(error, NetwrightError) else f"{type(error).__name__}: {error}"
        self.store.fail(key, self.executor.owner, problem)
        if isinstance(error, NetwrightError):
            named = NetwrightError(f"{self._label(key)}: {error.problem}", error.fix)
            named.__cause__ = error
            error = named
        else:
            error.add_note(f"in {self._label(key)}")
        self.problem = self.problem or error

    def _label(self, key: str) -> str:
        job = self.jobs[key]
        return self.labels.get(key) or f"{job.recipe.name}, seed {job.recipe.seed}"

    def _tell(self, key: str, where: str = "") -> None:
        outcome = self.outcomes[key]
        value = outcome.mean(outcome.headline)
        forms = {"accuracy": f"{100 * value:.1f} % right", "psnr": f"PSNR {100 * value:.2f} dB"}
        reached = forms.get(outcome.headline, f"{outcome.headline} {value:.3g}")
        ended = f", {outcome.stopped}" if outcome.stopped else ""
        count = f"{len(self.outcomes)} of {len(self.jobs)}"
        self.told(f"{count}: {self._label(key)}: {reached}, {duration(outcome.seconds)}{where}{ended}")

    @contextmanager
    def renewed(self) -> Generator[None]:
        """Renew the claims while they are computed, and give back on the way out those that are not finished."""
        over = Event()

        def renew() -> None:
            while not over.wait(LEASE / 3):
                with suppress(NetwrightError):  # the next time may do
                    self.store.renew(list(self.claimed), self.executor.owner, LEASE)

        Thread(target=renew, name="netwright-leases", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            for key in self.claimed:
                with suppress(NetwrightError):  # what ended this is to be told; the lease runs out by itself
                    self.store.release(key, self.executor.owner)

    @contextmanager
    def stops_on_signals(self) -> Generator[None]:
        """Let the first signal end this in order; outside the main thread nothing is changed."""

        def stop(number: int, _: FrameType | None) -> None:
            raise interrupted(number, f"{len(self.outcomes)} of {len(self.jobs)} runs are finished and kept")

        with handled(stop):
            yield
