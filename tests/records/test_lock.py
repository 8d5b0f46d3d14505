"""One run folder, one writer; a lock dies with its process."""

import json
import os
import select
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import pytest

from netwright.core.errors import NetwrightError
from netwright.records.folder import RunFolder
from netwright.records.lock import Holder
from netwright.records.process import started
from tests.forked import exit_code, forked


@pytest.mark.fault(30, "who wants a run folder that is in use is told by which process")
def test_second_user_is_told_the_process(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    with pytest.raises(NetwrightError, match=f"in use by process {os.getpid()} ") as caught:
        RunFolder.open(run.path).lock()
    assert f"kill {os.getpid()}" in caught.value.fix


def test_lock_is_given_back(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "photos") as run:
        pass
    RunFolder.open(run.path).lock()


@pytest.mark.fault(30, "the lock of a process that was killed is taken over")
def test_lock_of_a_process_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    def dies() -> None:
        RunFolder.create(tmp_path, "photos")
        os.kill(os.getpid(), signal.SIGKILL)

    child = forked(dies)
    assert exit_code(child) == -signal.SIGKILL
    run = RunFolder.newest(tmp_path)
    assert json.loads(run.lock_file.read_text())["pid"] == child
    run.lock()


@pytest.mark.fault(30, "the lock of a process whose number another one has now is taken over")
def test_same_process_number_started_at_another_time_is_another_process(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    run.lock_file.write_text(json.dumps(asdict(Holder(os.getpid(), socket.gethostname(), "long ago"))))
    run.lock()


def test_lock_of_another_machine_is_never_taken(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    run.lock_file.write_text(json.dumps(asdict(Holder(1, "elsewhere", "1"))))
    with pytest.raises(NetwrightError, match="process 1 on elsewhere") as caught:
        run.lock()
    assert str(run.lock_file) in caught.value.fix
    run.close()
    assert "elsewhere" in run.lock_file.read_text()


WON, LOST = 10, 11


@pytest.mark.fault(30, "of eight processes that want one run folder at once exactly one gets it, 20 times of 20")
def test_only_one_of_eight_processes_gets_a_free_lock(tmp_path: Path) -> None:
    """In a small process of its own, whose forks really begin at once: those of one with torch take turns to begin."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(race_twenty_times, tmp_path).result()


def race_twenty_times(folder: Path) -> None:
    with RunFolder.create(folder, "photos") as run:
        pass
    winners: list[int] = []
    for turn in range(20):
        (begins, begin), (ends, end) = os.pipe(), os.pipe()

        def work(turn=turn, ends=ends) -> None:
            try:
                run.lock()
            except NetwrightError:
                os._exit(LOST)
            for number in range(5):
                run.append_metrics({"turn": turn, "pid": os.getpid(), "number": number})
            select.select([ends], [], [], 20)  # until the parent ends it: a second winner would be waited for in vain
            if turn % 2:
                os.kill(os.getpid(), signal.SIGKILL)  # the next ones find its lock
            run.close()
            os._exit(WON)

        children = [forked(after(begins, begin, end, work)) for _ in range(8)]
        os.close(begin)
        codes = dict(ended() for _ in range(7))
        assert set(codes.values()) == {LOST}
        os.close(end)
        (winner,) = set(children) - set(codes)
        assert exit_code(winner) == (-signal.SIGKILL if turn % 2 else WON)
        winners.append(winner)
        os.close(begins)
        os.close(ends)
    rows = [(row["turn"], row["pid"], row["number"]) for row in run.metrics()]
    assert rows == [(turn, winner, number) for turn, winner in enumerate(winners) for number in range(5)]


def after(begins: int, begin: int, end: int, work: Callable[[], None]) -> Callable[[], None]:
    """The work of a process that waits until its parent lets all begin at once."""

    def waits() -> None:
        os.close(begin)
        os.close(end)
        os.read(begins, 1)
        work()

    return waits


def ended() -> tuple[int, int]:
    """The next child to end, and its exit code."""
    child, status = os.wait()
    return child, os.waitstatus_to_exitcode(status)


@pytest.mark.fault(30, "runs that are started at once have folders of their own")
def test_eight_processes_make_eight_folders(tmp_path: Path) -> None:
    def work() -> None:
        RunFolder.create(tmp_path / "runs", "photos").append_metrics({"pid": os.getpid()})

    begins, begin = os.pipe()
    spare = os.dup(begin)
    children = [forked(after(begins, begin, spare, work)) for _ in range(8)]
    os.close(begin)
    os.close(spare)
    assert [exit_code(child) for child in children] == [0] * 8
    os.close(begins)
    rows = [RunFolder(path).metrics() for path in (tmp_path / "runs").iterdir()]
    assert sorted(row["pid"] for (row,) in rows) == sorted(children)


@pytest.mark.fault(30, "a process that is dead but not yet buried holds no lock")
def test_a_zombie_holds_nothing(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "photos") as run:
        pass
    heard, said = os.pipe()

    def dies() -> None:
        run.lock()
        os.write(said, started(os.getpid()).encode())
        os.kill(os.getpid(), signal.SIGKILL)

    child = forked(dies)
    assert os.read(heard, 100)
    os.close(heard)
    os.close(said)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert started(child) == ""
    run.lock()
    exit_code(child)


@pytest.mark.fault(30, "a lock file that was cut short by a crash holds nobody back")
@pytest.mark.parametrize("content", ["", "{", '{"pid": 1', "[]", "null"])
def test_a_torn_lock_is_free(content: str, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    run.lock_file.write_text(content)
    run.lock()
    assert json.loads(run.lock_file.read_text())["pid"] == os.getpid()
