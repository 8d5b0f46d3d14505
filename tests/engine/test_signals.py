"""Signals: the first saves and ends the run after the step it came in, the second ends the process."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netwright.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, Interrupted, NetwrightError
from netwright.engine import signals
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.engine.saver import Saver
from netwright.engine.signals import stops_on_signals
from netwright.records.atomic import write_atomic
from tests.forked import exit_code, forked
from tests.support import digest, saver, tiny_run, train_tiny

CODES = {
    signal.SIGINT: (EXIT_INTERRUPTED, "Ctrl-C"),
    signal.SIGTERM: (EXIT_TERMINATED, "SIGTERM or SIGUSR1"),
    signal.SIGUSR1: (EXIT_TERMINATED, "SIGTERM or SIGUSR1"),
}


class Signal(Watcher):
    """Sends this process a signal after some update."""

    def __init__(self, number: int, step: int, times: int = 1) -> None:
        self.number, self.step, self.times = number, step, times

    def stepped(self, run: Run) -> None:
        if run.step == self.step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


@pytest.mark.fault(25, "SIGTERM, SIGINT and SIGUSR1 end a run with everything saved and exit code 143, 130 and 143")
@pytest.mark.parametrize("number", CODES)
def test_a_signal_saves_and_leaves_with_its_code(number: signal.Signals, tmp_path: Path) -> None:
    before, (code, word) = signal.getsignal(number), CODES[number]
    run = tiny_run()
    with pytest.raises(Interrupted, match=f"stopped by {word} after step 3 of 8") as caught, stops_on_signals(run):
        train_tiny(run, save=saver(tmp_path), watcher=Signal(number, 3))
    assert caught.value.exit_code == code
    assert (EXIT_INTERRUPTED, EXIT_TERMINATED) == (130, 143)
    assert read_checkpoint(tmp_path)[0]["step"] == 3
    assert not run.finished
    assert signal.getsignal(number) is before


class Moment:
    """Sends SIGTERM the nth time that something happens."""

    def __init__(self, visit: int) -> None:
        self.left = visit

    def __call__(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def met(*given: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            return work(*given, **named)

        return met


MOMENTS = {
    "reading": (2, 2),
    "gradient": (1, 1),
    "gradient of the last step of an epoch": (4, 4),
    "gradient of the last step": (8, 8),
    "update": (6, 6),
    "watcher": (5, 5),
    "validation": (1, 4),
    "last validation": (2, 8),
    "saving": (5, 2),
    "pointing to what was saved": (9, 3),
}


@pytest.mark.fault(
    25, "wherever in a step, a validation or a save a signal comes, the run can go on as if it never had"
)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_at_any_moment_loses_nothing(moment: str, tmp_path: Path) -> None:
    visit, step = MOMENTS[moment]
    run, watcher, comes = tiny_run("ema", "mixup"), Watcher(), Moment(visit)
    write: Any = write_atomic
    match moment.split()[0]:
        case "reading":
            run.loader.epoch = each(run.loader.epoch, comes)
        case "gradient":
            run.gradient = comes(run.gradient)
        case "update":
            run.optimizer.step = comes(run.optimizer.step)
        case "watcher":
            watcher.stepped = comes(watcher.stepped)
        case "validation" | "last":
            run.validate = comes(run.validate)
        case _:
            write = comes(write)
    save = Saver(tmp_path, write, owner="test", seconds=0, told=pytest.fail)
    with pytest.raises(Interrupted) as caught, stops_on_signals(run):
        train_tiny(run, save=save, watcher=watcher)
    assert caught.value.exit_code == 143
    memory, skipped = read_checkpoint(tmp_path)
    assert (memory["step"], skipped) == (step, [])
    again = tiny_run("ema", "mixup")
    again.recall(memory)
    whole = train_tiny(tiny_run("ema", "mixup"))
    assert digest(train_tiny(again)) == digest(whole)


def each(epoch: Callable[..., Any], comes: Moment) -> Callable[..., Any]:
    """Something happens at each batch."""
    return lambda *given: map(comes(lambda raw: raw), epoch(*given))


@pytest.mark.fault(25, "a signal while a finished run is evaluated ends it at once, since everything is saved")
def test_a_signal_after_training(tmp_path: Path) -> None:
    run = tiny_run()
    with pytest.raises(Interrupted, match="after step 8 of 8") as caught, stops_on_signals(run):
        train_tiny(run, save=saver(tmp_path))
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it went on")
    assert caught.value.exit_code == 143
    assert read_checkpoint(tmp_path)[0]["step"] == 8


@pytest.mark.fault(25, "no code that catches errors during the evaluation can swallow a signal")
@pytest.mark.parametrize("swallowed", [NetwrightError, Exception])
def test_nothing_after_training_swallows_a_signal(swallowed: type[Exception]) -> None:
    run = tiny_run()
    with pytest.raises(Interrupted), stops_on_signals(run):
        train_tiny(run)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except swallowed:
            pytest.fail("it was swallowed")


def test_patience_ends_after_training_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.2)

    def work() -> None:
        run = tiny_run()
        with stops_on_signals(run):
            train_tiny(run)
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                hang()

    assert exit_code(forked(work)) == EXIT_TERMINATED


@pytest.mark.fault(25, "a Ctrl-C never ends the process of a notebook, however long the step takes")
def test_patience_with_ctrl_c_ends_in_a_keyboard_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.2)
    monkeypatch.setattr(signals, "_end", lambda *_: pytest.fail("it left"))
    run, watcher = tiny_run(), Watcher()
    watcher.stepped = lambda _: (os.kill(os.getpid(), signal.SIGINT), hang())
    with pytest.raises(KeyboardInterrupt), stops_on_signals(run):
        train_tiny(run, watcher=watcher)


def test_a_handler_that_could_not_be_put_back_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[int] = []
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda number, _: installed.append(number))
    with stops_on_signals(tiny_run()):
        assert installed == []
    assert installed == []


def test_a_second_ctrl_c_is_a_keyboard_interrupt() -> None:
    run = tiny_run()
    with pytest.raises(KeyboardInterrupt), stops_on_signals(run):
        train_tiny(run, watcher=Signal(signal.SIGINT, 3, times=2))


def hang() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.01)


class Hangs(Watcher):
    """Saves for a while, tells that it did, and then never ends a step."""

    def __init__(self, said: int) -> None:
        self.said = said

    def stepped(self, run: Run) -> None:
        if run.step == 3:
            os.write(self.said, b"x")
            hang()


def hanging(folder: Path, errors: Path) -> int:
    """A process whose run hangs in its third step; returned when it does."""
    heard, said = os.pipe()

    def work() -> None:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        run = tiny_run()
        try:
            with stops_on_signals(run):
                train_tiny(
                    run, save=Saver(folder, write_atomic, owner="test", seconds=0, told=print), watcher=Hangs(said)
                )
        except KeyboardInterrupt:
            os._exit(EXIT_INTERRUPTED)

    child = forked(work)
    os.close(said)
    assert os.read(heard, 1) == b"x"
    os.close(heard)
    return child


@pytest.mark.fault(26, "a second signal ends the process at once; however many follow, no checkpoint suffers")
@pytest.mark.parametrize("number", CODES)
def test_a_storm_of_signals(number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 600.0)
    child = hanging(tmp_path, tmp_path / "errors")
    for _ in range(5):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    assert exit_code(child) == CODES[number][0]
    assert read_checkpoint(tmp_path)[0]["step"] == 2
    assert "Traceback" not in (tmp_path / "errors").read_text()


@pytest.mark.fault(26, "signals that come while a run saves without pause leave a whole checkpoint")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_storm_amid_saves(number: signal.Signals, tmp_path: Path) -> None:
    heard, said = os.pipe()

    def work() -> None:
        run = tiny_run(epochs=1000)
        save = Saver(tmp_path, write_slowly, owner="test", seconds=0, told=print)
        with stops_on_signals(run):
            train_tiny(run, save=save, watcher=Tells(said))

    child = forked(work)
    os.close(said)
    assert os.read(heard, 1)
    for _ in range(5):
        os.kill(child, number)  # a child that has ended can still be sent signals until it is waited for
        time.sleep(0.05)
    assert exit_code(child) == 143
    os.close(heard)
    assert read_checkpoint(tmp_path)[1] == []


def write_slowly(path: Path, data: bytes) -> None:
    time.sleep(0.2)
    write_atomic(path, data)


class Tells(Watcher):
    """Tells of the third step."""

    def __init__(self, said: int) -> None:
        self.said = said

    def stepped(self, run: Run) -> None:
        if run.step == 3:
            os.write(self.said, b"x")


@pytest.mark.fault(25, "a step or a save that takes too long after a signal is cut off, with the same exit code")
@pytest.mark.parametrize("number", CODES)
def test_patience_ends(number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.2)
    child = hanging(tmp_path, tmp_path / "errors")
    os.kill(child, number)
    assert exit_code(child) == CODES[number][0]
    assert "longer than 0.2 seconds" in (tmp_path / "errors").read_text()
    assert read_checkpoint(tmp_path)[0]["step"] == 2


def test_patience_is_not_needed_by_a_run_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "PATIENCE", 0.2)
    ended: list[Any] = []
    monkeypatch.setattr(signals, "_end", lambda *given: ended.append(given))
    run = tiny_run()
    with pytest.raises(Interrupted), stops_on_signals(run):
        train_tiny(run, save=saver(tmp_path), watcher=Signal(signal.SIGTERM, 3))
    time.sleep(0.4)
    assert not ended


def test_a_worker_leaves_ctrl_c_to_its_parent_and_obeys_sigterm() -> None:
    heard, said = os.pipe()

    def works() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        os.write(said, b"x")
        os.kill(os.getpid(), signal.SIGTERM)

    with stops_on_signals(tiny_run()):
        child = forked(works)
    assert exit_code(child) == 143
    assert os.read(heard, 1) == b"x"
    os.close(said)
    os.close(heard)
