"""In several processes of this machine that stay from job to job, each on cores of its own.

Not a ProcessPoolExecutor: there one process that dies takes the pool and every other run with it, and outlives a driver
that was killed. Here a worker reads from a pipe that only the driver holds, and ends when it closes.
"""

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import netwright
from netwright.lab.executors._executor import RETRIES, Terms, WorkerDiedError
from netwright.lab.executors._frames import receive, send
from netwright.lab.executors._worker import outcome_of
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome

# Before torch is imported, which reads how many threads there are to be from the environment.
START = "from netwright.lab.executors._worker import main; main({cores})"
HOME = Path(netwright.__file__).parents[1]
PATIENCE = 5.0  # seconds for a process whose pipe closed to end


class Processes:
    """Computes as many jobs at once as it has workers; they start when they are needed first."""

    def __init__(self, terms: Terms, count: int) -> None:
        self.slots = count
        self.owner = terms.owner
        self._workers = [Worker(cores) for cores in shares(count)]
        each = None if self._workers[0].cores else max(1, (os.cpu_count() or 1) // count)
        self._terms = replace(terms, threads=terms.threads or each)  # on cores of its own a process counts them itself
        self._free: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(count, "netwright-lab")

    def submit(self, job: Job) -> Future[Outcome]:
        """Compute it as soon as a worker is free.

        A job whose worker dies is tried again by another, at most twice: then its future holds a `WorkerDiedError`.
        """
        return self._threads.submit(self._computed, job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._workers:
            worker.end()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.bury()

    def _computed(self, job: Job) -> Outcome:
        worker = self._free.get()
        try:
            return outcome_of(worker.tried(self._terms.ask(job)))
        finally:
            self._free.put(worker)


class Worker:
    """A place for a process that answers one question after the other; when it has died, there will be another."""

    def __init__(self, cores: tuple[int, ...]) -> None:
        self.cores = cores
        self.process: Process | None = None
        self._ended = False

    def tried(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to a question.

        Raises:
            WorkerDiedError: there is none, however often it was asked.
        """
        for _ in range(RETRIES):
            with suppress(WorkerDiedError):
                return self._answered(question)
        return self._answered(question)

    def end(self) -> None:
        """End the process at once, and start no other."""
        self._ended = True
        if self.process is not None:
            self.process.kill()

    def bury(self) -> None:
        """Take leave of a process that was ended, or that died."""
        process, self.process = self.process, None
        if process is not None:
            process.close()

    def _answered(self, question: dict[str, Any]) -> dict[str, Any]:
        if self._ended:
            raise WorkerDiedError("the runs were stopped", "start the same command again: what is finished is kept")
        if self.process is None:
            self.process = Process(self.cores)
        found = None if self._ended else self.process.answer(question)
        if found is None:
            problem = self.process.last_words()
            self.bury()
            fix = "if memory ran out, compute fewer at once with --processes, or take a smaller batch_size or model"
            raise WorkerDiedError(problem, f"{fix}; what is finished is kept")
        return found


class Process:
    """One that runs `_worker.main`."""

    def __init__(self, cores: tuple[int, ...]) -> None:
        count, known = str(max(1, len(cores))), os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(HOME), *([known] if known else [])])
        with ExitStack() as opened:
            self._said = opened.enter_context(TemporaryFile())
            self._open = opened.pop_all()
        self._popen = subprocess.Popen(
            [sys.executable, "-c", START.format(cores=cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C in a terminal is for the driver
        )
        self.pid = self._popen.pid

    def answer(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a question; None if the process is gone."""
        if self._popen.stdin is None or self._popen.stdout is None:
            return None
        with suppress(OSError, ValueError):  # closed by another thread
            send(self._popen.stdin, question)
            return receive(self._popen.stdout)
        return None

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._popen.kill()

    def close(self) -> None:
        """End it, and give back what it held."""
        self.kill()
        self._popen.wait()
        for pipe in (self._popen.stdin, self._popen.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        self._open.close()

    def last_words(self) -> str:
        """How it ended, and the last line of what it wrote to its standard error."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(PATIENCE)
        code = self._popen.poll()
        how = (
            "closed its pipe" if code is None else f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        )
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        words = f" ({lines[-1].strip()})" if lines else ""
        return f"the process that computed it {how}, {RETRIES + 1} times in a row{words}"


def shares(count: int) -> list[tuple[int, ...]]:
    """The cores that this process may use, dealt out to workers as evenly as can be; none where nobody tells.

    Args:
        count: of workers. Where there are more than cores, some share one.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [() for _ in range(count)]
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // count)
    return [tuple(cores[(place * each + more) % len(cores)] for more in range(each)) for place in range(count)]
