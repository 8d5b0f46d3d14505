"""By Ray: a cluster on this machine that lives as long as the executor, or one that is there already.

Moritz et al., Ray: A distributed framework for emerging AI applications, OSDI 2018.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from netwright.core.errors import NetwrightError, listed
from netwright.engine.device import available_threads
from netwright.lab.executors import _guard, host_and_port
from netwright.lab.executors._executor import RETRIES, Terms, WorkerDiedError
from netwright.lab.executors._signals import held, interrupted
from netwright.lab.executors._worker import answer, outcome_of
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.recipes._record import versions

SAME = ("python", "torch", "netwright")  # of driver and workers, or their runs could not be compared
MEMORY = 128 * 2**20  # bytes for what Ray passes around; outcomes are small
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_task_oom_retries": str(RETRIES),
}
HEAD = "start one there, with this Ray and Python: ray start --head --ray-client-server-port 10001"
REACH = 5.0  # seconds that a cluster has to answer
INSTALL = "pip install 'netwright[ray]'"


class OnRay:
    """Computes each job as a task of Ray's.

    Args:
        terms: on which workers compute.
        address: as ray://HOST:PORT; None for a cluster of its own.
        processes: jobs at once; by default as many as there are cores for.
        gpus: of each job.

    Raises:
        NetwrightError: Ray is missing, or there is no cluster at the address.
    """

    def __init__(self, terms: Terms, *, address: str | None, processes: int | None, gpus: float) -> None:
        cores = available_threads()
        each = terms.threads or max(1, cores // (processes or cores))
        if address and (terms.store or "").startswith("sqlite"):
            terms = replace(terms, store=None)  # its file is on this machine: the driver writes
        self.owner = terms.owner
        self.slots = processes or max(1, cores // each)
        self._terms = replace(terms, threads=each)
        self._address, self._asked, self._gpus = address, processes, gpus
        self._guard: subprocess.Popen[bytes] | None = None
        self._tasks: set[Any] = set()
        self._task: Any = None

    def submit(self, job: Job) -> Future[Outcome]:
        """Compute it as soon as the cluster has room; Ray tries it again, at most twice, where its worker dies."""
        question = self._terms.ask(job) | {"versions": same(), "folder": str(Path.cwd()), "remote": bool(self._address)}
        task = self._task.remote(question)
        self._tasks.add(task)
        done: Future[Outcome] = Future()
        done.set_running_or_notify_cancel()

        def take(answered: Future[dict[str, Any]]) -> None:
            self._tasks.discard(task)
            try:
                done.set_result(outcome_of(_result(answered)))
            except Exception as error:
                done.set_exception(error)

        task.future().add_done_callback(take)
        return done

    def __enter__(self) -> Self:
        """Start a cluster, or connect to one.

        Raises:
            NetwrightError: it cannot be had.
            Interrupted: a signal came meanwhile.
        """
        with held() as came, quiet():
            try:
                ray = ray_()
                self._begin(ray)
                options = {"num_cpus": self._terms.threads, "num_gpus": self._gpus, "max_retries": RETRIES}
                self._task = ray.remote(**options)(on_worker)
            except SystemExit:  # a signal met the handler that Ray puts in place on its way
                came.append(signal.SIGTERM)
            except BaseException:
                self._end()
                if not came:
                    raise
            if came:
                self._end()
        if came:
            raise interrupted(came[0], "Ray was starting, and no run had begun")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop what is computed, and leave no process behind.

        Raises:
            Interrupted: a signal came meanwhile, and nothing else had gone wrong.
        """
        with held() as came:
            self._end()
        if came and error is None:
            raise interrupted(came[0], "what is finished is kept")

    def _end(self) -> None:
        ray = sys.modules.get("ray")
        if ray is not None:
            self._leave(ray)
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    def _leave(self, ray: Any) -> None:
        with quiet():
            for task in list(self._tasks):
                with suppress(Exception):  # it may have ended this moment
                    ray.cancel(task, force=True)
            ray.shutdown()
        lines_of_its_own(ray, shown=True)

    def _begin(self, ray: Any) -> None:
        lines_of_its_own(ray, shown=False)
        if self._address is not None:
            refuse_silent(self._address)
        try:
            if self._address is None:
                self._start(ray)
            else:
                self._connect(ray, self._address)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            if self._address is None:
                fix = "give --on local, or see that sockets and shared memory may be used here"
                raise NetwrightError(f"Ray cannot start a cluster here: {_line(error)}", fix) from error
            fix = f"{HEAD}; where it wants a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            raise NetwrightError(
                f"there is no Ray cluster to be had at {self._address}: {_line(error)}", fix
            ) from error

    def _start(self, ray: Any) -> None:
        if ray.is_initialized():
            raise NetwrightError("this process is connected to Ray already", "call ray.shutdown() first")
        # Sockets lie in this folder, and the name of a socket may not be long.
        folder = tempfile.mkdtemp(prefix="nw-", dir="/tmp" if sys.platform != "win32" else None)
        command = [sys.executable, "-I", _guard.__file__, folder]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
        ray.init(
            "local",  # whatever RAY_ADDRESS says
            num_cpus=self.slots * (self._terms.threads or 1),
            object_store_memory=MEMORY,
            include_dashboard=False,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )

    def _connect(self, ray: Any, address: str) -> None:
        ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False)
        if self._asked is None:
            cores = ray.cluster_resources().get("CPU", 1)
            self.slots = max(1, int(cores) // (self._terms.threads or 1))


def refuse_silent(address: str) -> None:
    """Ask first whether somebody listens there: Ray goes on asking for most of a minute.

    Raises:
        NetwrightError: nobody does.
    """
    host, port = host_and_port(address)
    try:
        socket.create_connection((host, port), REACH).close()
    except OSError as error:
        problem = f"nobody answers at {address}: {error.strerror or error}"
        raise NetwrightError(problem, f"check host and port; {HEAD}") from error


def lines_of_its_own(ray: Any, *, shown: bool) -> None:
    """Whether Ray prints on this terminal that a worker died, which we tell ourselves; it has no option for that."""
    with suppress(AttributeError):
        ray._private.worker._worker_logs_enabled = shown


def on_worker(question: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker of Ray's answers. It runs in the worker."""
    pairs = {name: (question["versions"][name], there) for name, there in same().items()}
    other = [f"{name} {here} here and {there} there" for name, (here, there) in pairs.items() if here != there]
    if other:
        problem = f"the workers of Ray have other versions than this process: {listed(other)}"
        return {"problem": problem, "fix": "install the same on all machines; runs could not be compared otherwise"}
    with suppress(OSError):
        os.chdir(question["folder"])
    found = answer(question)
    if question["remote"] and "problem" in found:
        fix = f"{found['fix']}; workers on other machines need the data at the same path, on a disk that they share"
        found = found | {"fix": fix}
    return found


def same() -> dict[str, str]:
    """The versions that driver and workers have to have alike."""
    known = versions()
    return {name: known.get(name, "") for name in SAME}


@cache
def ray_() -> Any:
    """The library, which warns of much while it is imported.

    Raises:
        NetwrightError: it is missing.
    """
    try:
        with quiet():
            import ray
    except ModuleNotFoundError as error:
        raise NetwrightError(f"--on ray needs {error.name}", INSTALL) from error
    return ray


@contextmanager
def quiet() -> Generator[None]:
    """Without Ray's warnings, which are about Ray."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _result(answered: "Future[dict[str, Any]]") -> dict[str, Any]:
    exceptions = ray_().exceptions
    try:
        return answered.result()
    except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError, exceptions.NodeDiedError) as error:
        problem = f"the process of Ray's that computed it died, {RETRIES + 1} times in a row ({_line(error)})"
        fix = "if memory ran out, compute fewer at once with --processes"
        raise WorkerDiedError(problem, f"{fix}; what is finished is kept") from error
    except exceptions.RayError as error:
        fix = "see that netwright is installed on every machine of the cluster, and start the same command again"
        raise NetwrightError(f"Ray could not compute it: {_line(error)}", fix) from error


def _line(error: BaseException) -> str:
    """The first line of an error, and the last where the first only announces it."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return f"{lines[0]} {lines[-1]}" if lines[0].endswith(":") and lines[1:] else lines[0]
