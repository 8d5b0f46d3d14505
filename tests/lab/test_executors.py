"""Executors: the same outcomes in this process and in others, which die with their driver and are replaced else."""

import io
import os
import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from netwright.core.errors import NetwrightError
from netwright.engine.device import available_threads
from netwright.lab import executors
from netwright.lab.executors import Executor, check, executor_for
from netwright.lab.executors._executor import Terms, WorkerDiedError, is_gone, new_owner, with_threads
from netwright.lab.executors._frames import receive, send
from netwright.lab.executors._worker import answer, exception, outcome_of
from netwright.lab.executors.processes import Processes, shares
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import PRUNED
from netwright.records.outcomes import OutcomeStore
from tests.forked import exit_code, forked
from tests.lab.lab_driver import jobs
from tests.lab.one_cache import own_cache
from tests.lab.processes import gone, until

__all__ = ["own_cache"]  # a fixture

MARGIN = 0.4  # seconds after which a worker is in the middle of a run of several


@pytest.fixture(scope="module")
def workers() -> Executor:
    with executor_for("local", 2, threads=1) as executor:
        yield executor


def same(one: Outcome, other: Outcome) -> bool:
    assert one.confidence is not None and other.confidence is not None
    return one.confidence.tobytes() == other.confidence.tobytes() and all(
        one.values[name].tobytes() == other.values[name].tobytes() for name in one.values
    )


@pytest.mark.parametrize(
    ("given", "words", "fix"),
    [
        ({"on": "locl"}, "unknown place to compute runs 'locl'", "did you mean 'local'"),
        ({"on": "http://host"}, "unknown place", "ray://HOST:PORT"),
        ({"processes": 0}, "processes cannot be 0", "at least 1"),
        ({"threads": -1}, "threads cannot be -1", "at least 1"),
        ({"gpus": 0.5}, "given out by Ray only", "--on ray"),
        ({"gpus": 1.5, "on": "ray"}, "gpus cannot be 1.5", "whole number"),
        ({"gpus": -1, "on": "ray"}, "gpus cannot be -1", "0.5"),
    ],
)
def test_users_mistakes_are_told(given: dict[str, object], words: str, fix: str) -> None:
    with pytest.raises(NetwrightError, match=words) as told:
        executor_for(**given)
    assert fix in told.value.fix


def test_places_are_checked_without_importing_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    check("local")
    with pytest.raises(NetwrightError, match="unknown place to compute runs 'rai'"):
        check("rai")
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(NetwrightError, match="--on ray needs ray") as told:
        check("ray")
    assert told.value.fix == "pip install 'netwright[ray]'"
    monkeypatch.setattr(executors, "find_spec", lambda name: name)
    check("ray", 0.5)
    check("ray://host:10001")
    for address in ("ray://", "ray://host", "ray://host:port", "ray://:10001", "ray://host:99999"):
        with pytest.raises(NetwrightError, match="is no address of a cluster"):
            check(address)


class TestSame:
    def test_processes_give_what_this_process_gives(self, workers: Executor) -> None:
        with executor_for("local", threads=1) as here:
            expected = [here.submit(job).result() for job in jobs(2, 1)]
        found = [future.result() for future in [workers.submit(job) for job in jobs(2, 1)]]
        assert workers.slots == 2 and here.slots == 1
        assert all(same(one, other) for one, other in zip(found, expected, strict=True))
        assert not same(found[0], found[1])

    def test_threads_are_those_of_the_recipe_or_else_the_executors(self) -> None:
        job = jobs(1, 1)[0]
        assert with_threads(job, 4) is not job and with_threads(job, 4).recipe.threads == 1
        left_open = Job(job.recipe.changed(threads=None), "", "test")
        assert with_threads(left_open, 4).recipe.threads == 4
        assert with_threads(left_open, None).recipe.threads is None

    @pytest.mark.parametrize(("count", "cores"), [(1, 4), (2, 4), (3, 4), (4, 4), (6, 4)])
    def test_cores_are_dealt_out_evenly(self, monkeypatch: pytest.MonkeyPatch, count: int, cores: int) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        found = shares(count)
        used = [core for share in found for core in share]
        assert len(found) == count and {len(share) for share in found} == {max(1, cores // count)}
        assert max(used.count(core) for core in range(cores)) == -(-count // cores)
        monkeypatch.delattr(os, "sched_getaffinity")
        assert shares(2) == [(), ()]

    @pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process to cores")
    def test_workers_stay_on_their_cores(self, workers: Processes) -> None:
        for future in [workers.submit(job) for job in jobs(2, 1)]:
            future.result()
        found = [os.sched_getaffinity(worker.process.pid) for worker in workers._workers if worker.process]
        assert found == [set(share) for share in shares(2)]
        assert available_threads() < 2 or found[0].isdisjoint(found[1])


class TestErrors:
    def test_a_users_mistake_comes_back_in_its_words(self, workers: Executor) -> None:
        job = jobs(1, 1)[0]
        wrong = Job(job.recipe.changed(image_size=8, model="lenet5"), "other", "test")
        with executor_for("local") as here, pytest.raises(NetwrightError) as expected:
            here.submit(wrong).result()
        with pytest.raises(NetwrightError) as found:
            workers.submit(wrong).result()
        assert str(found.value) == str(expected.value)
        assert workers.submit(job).result().steps > 0, "and the worker lives on"

    def test_a_mistake_of_ours_comes_back_as_what_it_was(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for error, kind, words in (
            (KeyError("x"), KeyError, "x"),
            (subprocess.SubprocessError("odd"), RuntimeError, "SubprocessError: odd"),
            (UnicodeDecodeError("utf-8", b"", 0, 1, "odd"), RuntimeError, "UnicodeDecodeError"),
        ):

            def failing(*_: object, problem: Exception = error, **__: object) -> Outcome:
                raise problem

            monkeypatch.setattr("netwright.lab.executors._worker.measure", failing)
            question = {"job": jobs(1, 1)[0].to_json(), "threads": 1, "store": None, "checkpoints": None}
            with pytest.raises(kind, match=words) as told:
                outcome_of(answer(question))
            assert "failing" in told.value.__notes__[0], "where it was, for whoever mends it"
        assert type(exception("SystemExit", "")) is RuntimeError

    def test_one_that_cannot_start_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("netwright.lab.executors.processes.START", "raise OSError('no room {cores}')")
        with (
            executor_for("local", 2) as executor,
            pytest.raises(WorkerDiedError, match=r"ended with 1, 3 times.*no room"),
        ):
            executor.submit(jobs(1, 1)[0]).result()


class TestKilled:
    def test_a_run_whose_worker_dies_is_tried_again(self, workers: Processes) -> None:
        expected, future = workers.submit(jobs(1, 6)[0]).result(), workers.submit(jobs(1, 6)[0])
        threading.Event().wait(MARGIN)
        killed = [worker.process.pid for worker in workers._workers if worker.process]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert not future.done()
        assert same(future.result(), expected)
        assert gone(killed)

    def test_at_most_twice(self) -> None:
        with executor_for("local", 2, threads=1) as executor:
            future, killed = executor.submit(jobs(1, 50)[0]), set[int]()
            while not future.done():
                for process in [worker.process for worker in executor._workers]:
                    if process is not None and process.pid not in killed:
                        os.kill(process.pid, signal.SIGKILL)
                        killed.add(process.pid)
            with pytest.raises(WorkerDiedError, match="killed by signal 9, 3 times in a row") as told:
                future.result()
        assert len(killed) == 3 and "--processes" in told.value.fix

    def test_leaving_ends_what_is_computed_at_once(self) -> None:
        with executor_for("local", 2, threads=1) as executor:
            futures: list[Future[Outcome]] = [executor.submit(job) for job in jobs(3, 500)]
            until(lambda: all(worker.process for worker in executor._workers))
            pids = [worker.process.pid for worker in executor._workers if worker.process]
        assert gone(pids) and all(future.done() for future in futures)
        assert all(worker.process is None for worker in executor._workers)

    def test_ctrl_c_in_the_terminal_is_not_for_workers(self, workers: Processes) -> None:
        workers.submit(jobs(1, 1)[0]).result()
        future = workers.submit(jobs(1, 4)[0])
        threading.Event().wait(MARGIN)
        pids = [worker.process.pid for worker in workers._workers if worker.process]
        for pid in pids:
            assert os.getsid(pid) != os.getsid(0)
            os.kill(pid, signal.SIGINT)
        assert future.result().stopped == ""
        assert pids == [worker.process.pid for worker in workers._workers if worker.process]

    def test_a_worker_whose_driver_is_gone_ends_in_the_middle_of_a_run(self) -> None:
        short, long = jobs(1, 1)[0], jobs(1, 1000)[0]
        heard, said = os.pipe()

        def drive() -> None:
            executor = Processes(Terms("me", 1), 1)
            executor.submit(short).result()
            executor.submit(long)
            threading.Event().wait(MARGIN)
            (worker,) = executor._workers
            assert worker.process is not None
            os.write(said, str(worker.process.pid).encode())
            signal.pause()

        driver = forked(drive)
        os.close(said)
        with os.fdopen(heard) as words:
            pid = int(os.read(words.fileno(), 64) or 0)
            assert pid and not gone([pid])
            os.kill(driver, signal.SIGKILL)
            assert exit_code(driver) == -signal.SIGKILL
        until(lambda: gone([pid]))


class TestStore:
    def test_workers_write_what_they_finish_and_nothing_that_was_pruned(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, (first, second) = OutcomeStore.beside(tmp_path), jobs(2, 1)
        for job in (first, second):
            assert store.claim(job.key, "me", recipe={}, seed=0, data="")
        common = {"threads": 1, "store": store.url, "owner": "me", "checkpoints": None}
        answered = answer(common | {"job": first.to_json()})
        assert store.content(first.key) == answered["content"]
        monkeypatch.setattr("netwright.lab.executors._worker.measure", lambda *_, **__: pytest.fail("computed again"))
        assert answer(common | {"job": first.to_json()}) == answered, "a worker that died between writing and telling"
        pruned = SimpleNamespace(to_bytes=lambda: b"short", stopped=PRUNED)
        monkeypatch.setattr("netwright.lab.executors._worker.measure", lambda *_, **__: pruned)
        assert answer(common | {"job": second.to_json()}) == {"content": b"short"}
        assert store.content(second.key) is None

    def test_what_leaves_threads_open_is_kept_under_the_key_that_was_asked_for(self, tmp_path: Path) -> None:
        store, job = OutcomeStore.beside(tmp_path), jobs(1, 1)[0]
        left_open = Job(job.recipe.changed(threads=None), job.fingerprint, "test")
        assert store.claim(left_open.key, "me", recipe={}, seed=0, data="")
        assert "content" in answer(Terms("me", 1, store.url).ask(left_open))
        assert store.finished([left_open.key]) == {left_open.key}


class TestFrames:
    @pytest.mark.parametrize(
        "message", [{}, {"a": [1, "ü"]}, {"content": b"\0\xff"}, {"a": None, "content": b"x" * 99}]
    )
    def test_what_is_sent_is_received(self, message: dict[str, object]) -> None:
        file = io.BytesIO()
        send(file, message)
        send(file, {"next": True})
        file.seek(0)
        assert receive(file) == message and receive(file) == {"next": True} and receive(file) is None

    def test_half_a_message_is_none(self) -> None:
        file = io.BytesIO()
        send(file, {"a": 1, "content": b"xyz"})
        whole = file.getvalue()
        assert all(receive(io.BytesIO(whole[:cut])) is None for cut in range(len(whole)))

    def test_a_worker_prints_nothing(self, workers: Processes) -> None:
        workers.submit(jobs(1, 1)[0]).result()
        process = next(worker.process for worker in workers._workers if worker.process)
        found = process.answer(executor_terms())
        assert found is not None and found["error"] == "KeyError", "an answer, and nothing else, came by its output"


def executor_terms() -> dict[str, object]:
    """A question that is not one."""
    return {"threads": None}


def test_an_owner_tells_whether_its_process_has_ended() -> None:
    mine = new_owner()
    assert mine != new_owner() and not is_gone(mine)
    host, pid, started, _ = mine.rsplit(":", 3)
    assert is_gone(f"{host}:{pid}:{started}0:abcd")
    assert not is_gone(f"elsewhere:{pid}:{started}0:abcd"), "of another machine nobody knows"
    assert not is_gone("somebody") and not is_gone("a:b:c:d")
