"""`run_jobs`: every run once, whoever computes it, and however often somebody is killed in between."""

import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from sqlalchemy import make_url

from netwright.core.errors import EXIT_TERMINATED, Interrupted, NetwrightError
from netwright.lab import outcome
from netwright.lab import run as lab
from netwright.lab.executors import executor_for
from netwright.lab.executors._executor import new_owner
from netwright.lab.job import Job
from netwright.lab.outcome import Outcome
from netwright.lab.pruning import PRUNED
from netwright.lab.run import run_jobs
from netwright.recipes._recipe import recipe
from netwright.records.outcomes import DONE, FAILED, FREE, OutcomeStore
from netwright.records.process import started
from tests.lab.lab_driver import jobs as digits
from tests.lab.one_cache import own_cache
from tests.lab.processes import children, driver, ended, gone, heard, until

__all__ = ["own_cache"]  # a fixture

COUNT, EPOCHS = 4, 1  # of runs that somebody kills


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What they give without an accident."""
    wanted = digits(COUNT, EPOCHS)
    with executor_for("local", threads=1) as executor:
        done = run_jobs(wanted, OutcomeStore.beside(tmp_path_factory.mktemp("whole")), executor)
    return values(done, wanted)


class Counting:
    """An executor whose runs take no time: outcomes follow from the seed."""

    def __init__(self, slots: int = 1, given: Callable[[Job], Outcome] | None = None) -> None:
        self.slots, self.owner = slots, new_owner()
        self.computed: list[int] = []
        self.given = given or outcome_of

    def submit(self, job: Job) -> Future[Outcome]:
        self.computed.append(job.recipe.seed)
        future: Future[Outcome] = Future()
        try:
            future.set_result(self.given(job))
        except Interrupted:
            raise
        except Exception as error:
            future.set_exception(error)
        return future

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def outcome_of(job: Job, **values: Any) -> Outcome:
    right = (np.arange(8) % (job.recipe.seed + 2) == 0).astype(np.float32)
    made = Outcome({"accuracy": right, "loss": 1 - right}, np.arange(8), right, [], 12.3, 100.0, 1, 2)
    return replace(made, **values)


def jobs(count: int) -> list[Job]:
    return [Job(recipe("digits", seed=seed), "data", "test") for seed in range(count)]


@pytest.fixture
def store(tmp_path: Path) -> OutcomeStore:
    return OutcomeStore.beside(tmp_path)


def attempts(store: OutcomeStore) -> dict[str, int]:
    return {row.key: row.attempts for row in store.list(100)}


def statuses(store: OutcomeStore) -> set[str]:
    return {row.status for row in store.list(100)}


def values(found: dict[str, Outcome], wanted: Sequence[Job]) -> list[bytes]:
    return [found[job.key].values[name].tobytes() for job in wanted for name in found[job.key].values]


class TestOnce:
    def test_each_job_runs_once_and_comes_back_under_its_key(self, store: OutcomeStore) -> None:
        executor = Counting()
        found = run_jobs([*jobs(3), *jobs(2)], store, executor)
        assert executor.computed == [0, 1, 2] and list(found) == [job.key for job in jobs(3)]
        assert values(found, jobs(3)) == values({job.key: outcome_of(job) for job in jobs(3)}, jobs(3))
        assert set(attempts(store).values()) == {1} and statuses(store) == {DONE}

    def test_what_is_in_the_store_is_not_run_again(self, store: OutcomeStore) -> None:
        first, told = run_jobs(jobs(2), store, Counting()), list[str]()
        executor = Counting()
        again = run_jobs(jobs(3), store, executor, told.append)
        assert executor.computed == [2] and told[0] == "2 of 3 are in the run store"
        assert values(again, jobs(2)) == values(first, jobs(2))

    def test_nothing_wanted_is_nothing_done(self, store: OutcomeStore) -> None:
        assert run_jobs([], store, Counting()) == {}

    def test_what_a_search_stopped_is_not_taken_for_a_whole_run(self, store: OutcomeStore) -> None:
        executor = Counting(given=lambda job: outcome_of(job, stopped=PRUNED if job.recipe.seed else ""))
        found = run_jobs(jobs(2), store, executor)
        assert found[jobs(2)[1].key].stopped == PRUNED
        assert store.finished(found) == {jobs(2)[0].key} and statuses(store) == {DONE, FREE}

    def test_it_says_what_each_run_reached(self, store: OutcomeStore) -> None:
        told: list[str] = []
        labels = {jobs(2)[0].key: "without mixup, seed 0"}
        run_jobs(jobs(2), store, Counting(), told.append, labels=labels)
        assert told == [
            "1 of 2: without mixup, seed 0: 50.0 % right, 12 s",
            "2 of 2: digits, seed 1: 37.5 % right, 12 s",
        ]
        other = Counting(given=lambda job: outcome_of(job, values={"dice": np.full(8, 0.25, np.float32)}, seconds=1.23))
        run_jobs([jobs(4)[3]], store, other, told.append)
        assert told[-1] == "1 of 1: digits, seed 3: dice 0.25, 1.2 s"

    def test_as_many_are_begun_as_there_is_room_for(self, store: OutcomeStore) -> None:
        begun: list[Future[Outcome]] = []

        class Slow(Counting):
            def submit(self, job: Job) -> Future[Outcome]:
                begun.append(Future())
                self.computed.append(job.recipe.seed)
                threading.Timer(0.05, begun[-1].set_result, [outcome_of(job)]).start()
                assert sum(not future.done() for future in begun) <= 2
                return begun[-1]

        executor = Slow(slots=2)
        assert len(run_jobs(jobs(5), store, executor)) == 5
        assert executor.computed == [0, 1, 2, 3, 4]


class TestUnreadable:
    @pytest.mark.parametrize("content", [b"noise", b"PK\x03\x04 noise"])
    def test_a_run_that_nobody_can_read_is_told_and_computed_anew(self, store: OutcomeStore, content: bytes) -> None:
        key, told, executor = jobs(1)[0].key, list[str](), Counting()
        assert store.claim(key, "me", recipe={}, seed=0, data="") and store.finish(key, "me", content, {})
        found = run_jobs(jobs(1), store, executor, told.append)
        assert executor.computed == [0] and key in found
        assert any(key in words and "damaged" in words for words in told)
        executor = Counting()
        run_jobs(jobs(1), store, executor)
        assert executor.computed == []

    def test_damage_is_told_to_who_listens(self, store: OutcomeStore) -> None:
        key, told = jobs(1)[0].key, list[str]()
        run_jobs(jobs(1), store, Counting())
        with sqlite3.connect(make_url(store.url).database or "") as connection:
            connection.execute("UPDATE outcomes SET content = x'00'")
        run_jobs(jobs(1), store, Counting(), told.append)
        assert [words for words in told if "damaged outcomes" in words and key in words]

    def test_of_a_newer_netwright_is_left_alone(self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        run_jobs(jobs(1), store, Counting())
        monkeypatch.setattr(outcome, "FORMAT", 0)
        with pytest.raises(NetwrightError, match="newer netwright"):
            run_jobs(jobs(1), store, Counting())
        assert statuses(store) == {DONE}


class TestErrors:
    def test_they_name_the_arm_and_end_it_and_what_is_finished_is_kept(self, store: OutcomeStore) -> None:
        def given(job: Job) -> Outcome:
            if job.recipe.seed == 1:
                raise NetwrightError("the loss is nan", "lower --lr")
            return outcome_of(job)

        executor, labels = Counting(given=given), {job.key: f"arm {job.recipe.seed}" for job in jobs(4)}
        with pytest.raises(NetwrightError, match="arm 1: the loss is nan") as told:
            run_jobs(jobs(4), store, executor, labels=labels)
        assert told.value.fix == "lower --lr" and executor.computed == [0, 1]
        assert store.finished(labels) == {jobs(1)[0].key} and statuses(store) == {DONE, FAILED}
        assert run_jobs(jobs(4), store, Counting()), "a failed run is tried again by the next call"

    def test_a_mistake_of_ours_stays_what_it_is(self, store: OutcomeStore) -> None:
        def given(job: Job) -> Outcome:
            raise ZeroDivisionError("by nothing")

        with pytest.raises(ZeroDivisionError) as told:
            run_jobs(jobs(1), store, Counting(given=given))
        assert told.value.__notes__ == ["in digits, seed 0"]

    def test_those_that_are_being_computed_are_finished_first(self, store: OutcomeStore) -> None:
        class Two(Counting):
            def submit(self, job: Job) -> Future[Outcome]:
                future: Future[Outcome] = Future()
                if job.recipe.seed == 0:
                    future.set_exception(NetwrightError("odd"))
                else:
                    threading.Timer(0.1, future.set_result, [outcome_of(job)]).start()
                return future

        with pytest.raises(NetwrightError, match="odd"):
            run_jobs(jobs(3), store, Two(slots=2))
        assert store.finished(job.key for job in jobs(3)) == {jobs(2)[1].key}

    def test_a_store_that_fails_on_the_way_out_hides_no_signal(
        self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def given(job: Job) -> Outcome:
            def gone(key: str, owner: str) -> None:
                raise NetwrightError("the run store cannot be used")

            monkeypatch.setattr(store, "release", gone)
            signal.raise_signal(signal.SIGINT)
            return outcome_of(job)

        with pytest.raises(Interrupted, match="stopped by Ctrl-C"):
            run_jobs(jobs(1), store, Counting(given=given))

    def test_a_signal_gives_claims_back_at_once(self, store: OutcomeStore) -> None:
        def given(job: Job) -> Outcome:
            if job.recipe.seed == 1:
                signal.raise_signal(signal.SIGTERM)
            return outcome_of(job)

        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="1 of 3 runs are finished and kept") as told:
            run_jobs(jobs(3), store, Counting(given=given))
        assert told.value.exit_code == EXIT_TERMINATED and signal.getsignal(signal.SIGTERM) is before
        assert statuses(store) == {DONE, FREE}


class TestOthers:
    def test_what_another_driver_computes_is_waited_for(
        self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "POLL", 0.02)
        theirs, told, executor = jobs(1)[0], list[str](), Counting()
        assert store.claim(theirs.key, "elsewhere:1:1:ab", recipe={}, seed=0, data="")
        made = outcome_of(theirs)
        finish = threading.Timer(0.3, store.finish, [theirs.key, "elsewhere:1:1:ab", made.to_bytes(), {}])
        finish.start()
        found = run_jobs(jobs(3), store, executor, told.append)
        assert executor.computed == [1, 2] and len(found) == 3
        assert told[-1].endswith("seed 0: 50.0 % right, 12 s, computed elsewhere")
        finish.join()

    def test_what_one_that_was_killed_had_claimed_is_taken_over_at_once(self, store: OutcomeStore) -> None:
        mine = new_owner().split(":")
        dead = ":".join([*mine[:-2], mine[-2] + "0", "abcd"])  # another process with our number
        assert store.claim(jobs(1)[0].key, dead, recipe={}, seed=0, data="")
        executor = Counting()
        run_jobs(jobs(2), store, executor)
        assert executor.computed == [0, 1]

    def test_what_one_that_is_killed_meanwhile_had_claimed_does_not_wait_for_its_lease(
        self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "POLL", 0.02)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            owner = f"{socket.gethostname()}:{process.pid}:{started(process.pid)}:ab"
            assert store.claim(jobs(1)[0].key, owner, recipe={}, seed=0, data="", lease=1e6)

            def kill() -> None:
                process.kill()
                process.wait()

            killed = threading.Timer(0.5, kill)
            killed.start()
            executor = Counting()
            run_jobs(jobs(2), store, executor)
            killed.join()
        assert executor.computed == [1, 0]

    def test_what_one_on_another_machine_had_claimed_is_taken_over_when_its_lease_runs_out(
        self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "POLL", 0.02)
        assert store.claim(jobs(1)[0].key, "elsewhere:1:1:ab", recipe={}, seed=0, data="", lease=0.3)
        executor = Counting()
        run_jobs(jobs(2), store, executor)
        assert executor.computed == [1, 0]

    def test_claims_are_renewed_while_a_run_takes_long(
        self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "LEASE", 0.6)

        def given(job: Job) -> Outcome:
            threading.Event().wait(2.0)
            assert not store.claim(job.key, "elsewhere:1:1:ab", recipe={}, seed=0, data="")
            return outcome_of(job)

        run_jobs(jobs(1), store, Counting(given=given))
        assert list(attempts(store).values()) == [1]

    def test_two_drivers_in_one_store_share_the_work(
        self, store: OutcomeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lab, "POLL", 0.02)

        def given(job: Job) -> Outcome:
            threading.Event().wait(0.05)
            return outcome_of(job)

        executors, found = [Counting(given=given) for _ in range(2)], list[dict[str, Outcome]]()
        drivers = [
            threading.Thread(target=lambda e=executor: found.append(run_jobs(jobs(10), store, e)))
            for executor in executors
        ]
        for one in drivers:
            one.start()
        for one in drivers:
            one.join()
        assert sorted(executors[0].computed + executors[1].computed) == list(range(10))
        assert all(executor.computed for executor in executors)
        assert values(found[0], jobs(10)) == values(found[1], jobs(10))


class TestKilled:
    @pytest.mark.parametrize("processes", [1, 2])
    def test_the_same_call_goes_on_nothing_lost_and_nothing_twice(
        self, tmp_path: Path, expected: list[bytes], processes: int
    ) -> None:
        process = driver(tmp_path, processes=processes, count=COUNT, epochs=EPOCHS)
        heard(process, "2 of")
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        assert ended(process) == -signal.SIGKILL
        until(lambda: gone(workers))
        store, wanted = OutcomeStore.beside(tmp_path), digits(COUNT, EPOCHS)
        kept = store.finished(job.key for job in wanted)
        assert 2 <= len(kept) < COUNT and len(workers) == (processes if processes > 1 else 0)
        with executor_for("local", threads=1) as executor:
            found = run_jobs(wanted, store, executor)
        assert values(found, wanted) == expected
        counts = attempts(store)
        assert all(counts[key] == 1 for key in kept)
        assert sum(counts.values()) <= COUNT + processes, "those that were being computed, and no other"

    def test_sigterm_ends_workers_and_gives_claims_back(self, tmp_path: Path) -> None:
        store = OutcomeStore.beside(tmp_path)
        process = driver(tmp_path, processes=2, count=4, epochs=30)
        until(lambda: len(children(process.pid)) == 2 and len(store.list()) == 2)
        workers = children(process.pid)
        process.send_signal(signal.SIGTERM)
        assert "are finished and kept" in heard(process, "stopped by")
        assert ended(process) == EXIT_TERMINATED
        until(lambda: gone(workers))
        assert statuses(store) == {FREE}
