"""Ray: the same outcomes as without it, through the death of its workers and of the driver, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import Any

import pytest

from netwright.core.errors import NetwrightError
from netwright.lab.executors import _guard, executor_for
from netwright.lab.executors import ray as lab
from netwright.lab.executors._executor import Terms, WorkerDiedError
from netwright.lab.executors.ray import OnRay, on_worker, same
from netwright.lab.outcome import Outcome
from netwright.lab.run import run_jobs
from netwright.records.outcomes import DONE, OutcomeStore
from tests.lab.lab_driver import jobs
from tests.lab.one_cache import own_cache
from tests.lab.processes import children, driver, ended, gone, heard, until

__all__ = ["own_cache"]  # a fixture

installed = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'netwright[ray]'")

COUNT, EPOCHS = 2, 2


def computing() -> list[int]:
    """Workers of Ray's that compute a job of ours: Ray gives them the task's name."""
    return [pid for pid in children(os.getpid()) if "ray::on_worker" in command_of(pid)]


def command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace")
    return ""


def values(found: Mapping[str, Any], wanted: list[Any]) -> list[bytes]:
    return [found[job.key].values[name].tobytes() for job in wanted for name in found[job.key].values]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What the runs give in this process."""
    wanted = jobs(COUNT, EPOCHS)
    with executor_for("local", threads=1) as executor:
        done = run_jobs(wanted, OutcomeStore.beside(tmp_path_factory.mktemp("whole")), executor)
    return values(done, wanted)


@installed
def test_outcomes_are_those_of_this_process_and_a_killed_worker_is_replaced(
    tmp_path: Path, expected: list[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    store, wanted = OutcomeStore.beside(tmp_path), jobs(COUNT, EPOCHS)
    with executor_for("ray", 2, threads=1, store=store.url) as executor:
        assert executor.slots == 2
        started = children(os.getpid())
        found = run_jobs(wanted, store, executor)
        long = jobs(1, 12)[0]
        store.claim(long.key, executor.owner, recipe={}, seed=0, data="")
        future = executor.submit(long)
        until(computing)
        killed = computing()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert future.result().epochs == 12
        with pytest.raises(NetwrightError, match="is not what it was when the runs were planned"):
            executor.submit(replace(long, fingerprint="other")).result()
        assert "(raylet)" not in "".join(capfd.readouterr())
        everything = {*started, *killed, *children(os.getpid())}
    assert values(found, wanted) == expected
    assert {row.status for row in store.list()} == {DONE} and {row.attempts for row in store.list()} == {1}
    until(lambda: gone(list(everything)))


@installed
def test_a_driver_that_is_killed_leaves_no_process_and_the_same_call_goes_on(
    tmp_path: Path, expected: list[bytes]
) -> None:
    process = driver(tmp_path, "ray", processes=1, count=COUNT, epochs=EPOCHS)
    heard(process, "1 of")
    started = children(process.pid)
    process.send_signal(signal.SIGKILL)
    assert ended(process) == -signal.SIGKILL
    until(lambda: gone(started))
    store, wanted = OutcomeStore.beside(tmp_path), jobs(COUNT, EPOCHS)
    kept = store.finished(job.key for job in wanted)
    assert 0 < len(kept) < COUNT and started
    with executor_for("local", threads=1) as executor:
        found = run_jobs(wanted, store, executor)
    assert values(found, wanted) == expected
    counts = {row.key: row.attempts for row in store.list()}
    assert all(counts[key] == 1 for key in kept) and sum(counts.values()) <= COUNT + 1


@installed
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_ray_starts_is_not_lost_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    process = driver(tmp_path, "ray", processes=1, count=COUNT, epochs=EPOCHS)
    until(lambda: len(children(process.pid)) >= 2)  # the guard, and the first of Ray's
    guards = [command_of(pid) for pid in children(process.pid) if "_guard" in command_of(pid)]
    process.send_signal(number)
    words, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "Ray was starting" in words and "over" not in words
    assert "ignored" not in errors and "Traceback" not in errors
    (guard,) = guards
    until(lambda: not list(_guard.users(guard.split("\0")[-2])))


@installed
def test_on_a_cluster_that_is_there_already(tmp_path: Path, expected: list[bytes]) -> None:
    with cluster() as address:
        for _ in range(3):  # Ray gives its own server 30 s to start, which a busy machine may miss
            process = driver(tmp_path, address, processes=1, count=COUNT, epochs=EPOCHS, RAY_AUTH_MODE="disabled")
            words, errors = process.communicate(timeout=120)
            if "Starting Ray client server failed" not in errors:
                break
        assert process.returncode == 0, errors
    assert "over" in words and "(raylet)" not in words + errors
    wanted = jobs(COUNT, EPOCHS)
    contents = OutcomeStore.beside(tmp_path).contents(job.key for job in wanted)
    assert values({key: Outcome.from_bytes(content) for key, content in contents.items()}, wanted) == expected


@contextmanager
def cluster() -> Generator[str]:
    """The address of one on this machine alone, with a folder and ports of its own; it ends with the context."""
    folder, (port, client) = tempfile.mkdtemp(prefix="nw-", dir="/tmp"), free_ports(2)  # names of sockets are short
    flags = {"node-ip-address": "127.0.0.1", "port": port, "ray-client-server-port": client, "temp-dir": folder}
    flags |= {"num-cpus": 1, "include-dashboard": "false", "object-store-memory": 128 * 2**20}
    script = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
    command = [*script, "--disable-usage-stats", *(f"--{name}={value}" for name, value in flags.items())]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    with (
        TemporaryFile() as said,
        subprocess.Popen(command, stdout=said, stderr=said, env=environment, start_new_session=True) as process,
    ):
        try:
            until(lambda: process.poll() is not None or b"runtime started" in os.pread(said.fileno(), 2**16, 0))
            assert process.poll() is None
            yield f"ray://127.0.0.1:{client}"
        finally:
            process.terminate()
            process.wait(60)
            _guard.end(folder, {os.getpid()})


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


def test_the_guard_ends_whoever_has_files_of_the_folder_open(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    for folder, killed in ((tmp_path / "cluster", True), (tmp_path, False)):
        code = f"file = open({str(folder / 'log')!r}, 'w'); print('open', flush=True); input()"
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as process:
            assert process.stdout is not None and process.stdout.readline()
            _guard.end(str(tmp_path / "cluster"), {os.getpid()})
            assert gone([process.pid]) == killed
            process.kill()
    assert not (tmp_path / "cluster").exists() and (tmp_path / "log").exists()


class TestWords:
    """What needs no cluster."""

    def test_where_nobody_listens_it_is_told_at_once(self) -> None:
        (port,) = free_ports(1)
        with pytest.raises(NetwrightError, match=f"nobody answers at ray://127.0.0.1:{port}: Connection refused"):
            lab.refuse_silent(f"ray://127.0.0.1:{port}")

    def test_lines_of_rays_own_are_kept_from_the_terminal(self) -> None:
        worker = SimpleNamespace(_worker_logs_enabled=True)
        ray = SimpleNamespace(_private=SimpleNamespace(worker=worker))
        lab.lines_of_its_own(ray, shown=False)
        assert worker._worker_logs_enabled is False
        lab.lines_of_its_own(ray, shown=True)
        assert worker._worker_logs_enabled is True
        lab.lines_of_its_own(SimpleNamespace(), shown=False)  # one that has none

    def test_other_versions_are_refused(self) -> None:
        found = on_worker({"versions": same() | {"torch": "1.0"}, "remote": False, "folder": "."})
        assert (
            found["problem"].startswith("the workers of Ray have other versions")
            and "torch 1.0 here" in found["problem"]
        )
        assert "netwright" not in found["problem"] and "python" not in found["problem"]

    def test_on_another_machine_the_data_has_to_be_there_too(self) -> None:
        wrong = replace(jobs(1, 1)[0], recipe=jobs(1, 1)[0].recipe.changed(data="/nowhere"))
        question = Terms("me").ask(wrong) | {"versions": same(), "folder": ".", "remote": False}
        here, there = on_worker(question), on_worker(question | {"remote": True})
        assert here["problem"] == there["problem"] and "disk that they share" in there["fix"]
        assert "disk that they share" not in here["fix"]

    def test_without_ray_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(NetwrightError, match="--on ray needs ray") as told:
            executor_for("ray")
        assert told.value.fix == "pip install 'netwright[ray]'"

    @pytest.mark.parametrize(
        ("store", "left"), [("sqlite:////a/runs.db", None), ("postgresql://a/b", "postgresql://a/b")]
    )
    def test_workers_elsewhere_write_to_a_server_and_to_no_file(
        self, monkeypatch: pytest.MonkeyPatch, store: str, left: str | None
    ) -> None:
        monkeypatch.setattr(lab, "ray_", lambda: None)
        there = OnRay(Terms("me", 1, store), address="ray://host:1", processes=2, gpus=0)
        here = OnRay(Terms("me", 1, store), address=None, processes=2, gpus=0)
        assert there._terms.store == left and here._terms.store == store

    def test_a_worker_that_died_for_good_is_told_in_words(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class RayError(Exception): ...

        class CrashedError(RayError): ...

        kinds = {"WorkerCrashedError": CrashedError, "OutOfMemoryError": CrashedError, "NodeDiedError": CrashedError}
        exceptions = SimpleNamespace(RayError=RayError, **kinds)
        monkeypatch.setattr(lab, "ray_", lambda: SimpleNamespace(exceptions=exceptions))
        for error, kind, words in (
            (CrashedError("unexpected\nlog"), WorkerDiedError, r"died, 3 times in a row \(unexpected\)"),
            (RayError("no netwright"), NetwrightError, "Ray could not compute it: no netwright"),
        ):
            answered: Future[Any] = Future()
            answered.set_exception(error)
            with pytest.raises(kind, match=words):
                lab._result(answered)
