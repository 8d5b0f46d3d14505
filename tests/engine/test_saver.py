"""When a run is saved, and what becomes of it when it cannot be."""

import errno
import math
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netwright.core.errors import NetwrightError
from netwright.engine import saver as module
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.engine.saver import Saver
from netwright.records.atomic import write_atomic
from tests.forked import exit_code, forked
from tests.support import Noted, Pictures, digest, saver, tiny_run, train_tiny


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


class Ticking(Watcher):
    """Each update takes ten seconds."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def stepped(self, run: Run) -> None:
        self.clock.now += 10


def test_a_run_is_saved_every_so_many_seconds_and_at_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock, places = Clock(monkeypatch), []

    class Placed(Saver):
        def __call__(self, run: Run) -> None:
            super().__call__(run)
            places.append((run.epoch, run.step))

    save = Placed(tmp_path, write_atomic, owner="test", seconds=30, told=pytest.fail)
    train_tiny(tiny_run(epochs=2), watcher=Ticking(clock), save=save)
    assert places == [(0, 3), (1, 6), (2, 8)]
    assert read_checkpoint(tmp_path, owner="test")[0]["step"] == 8


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    written: list[str] = []

    def write(path: Path, data: bytes) -> None:
        written.append(path.name)
        write_atomic(path, data)

    save = Saver(tmp_path, write, owner="test", seconds=0, told=pytest.fail)
    train_tiny(tiny_run(epochs=1), save=save)
    states = [name for name in written if name.startswith("step") and name.endswith("json")]
    assert states == [f"step-0000000{step}.json" for step in (1, 2, 3, 4, 4)]


def test_saving_changes_nothing(tmp_path: Path) -> None:
    assert digest(train_tiny(tiny_run(), save=saver(tmp_path, seconds=0))) == digest(train_tiny(tiny_run()))


class At(Watcher):
    """Does something after certain updates."""

    def __init__(self, actions: dict[int, Callable[[], Any]]) -> None:
        self.actions = actions

    def stepped(self, run: Run) -> None:
        self.actions.get(run.step, lambda: None)()


def limit_files(size: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.fault(5, "on a full disk the last checkpoint stays, training goes on, and saving is tried again")
def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    told: list[str] = []
    kept: list[list[str]] = []

    def work() -> None:
        save = Saver(tmp_path, write_atomic, owner="test", seconds=0, keep=1, told=told.append)
        full = {
            3: lambda: limit_files(1000),
            4: lambda: kept.append(files(tmp_path)),
            5: lambda: (kept.append(files(tmp_path)), limit_files(resource.RLIM_INFINITY)),
            7: lambda: limit_files(1000),
            9: lambda: limit_files(resource.RLIM_INFINITY),
        }
        run = train_tiny(tiny_run(epochs=2, n=80), save=save, watcher=At(full))
        assert run.finished
        assert [words.split(",")[0] for words in told] == [f"no checkpoint after step {step}" for step in (3, 4, 7, 8)]
        assert all("file size limit reached while writing" in words and "make room" in words for words in told)
        assert kept[0] == kept[1]
        assert [name[:13] for name in kept[0]] == ["latest.json", "step-00000002", "step-00000002"]

    assert exit_code(forked(work)) == 0
    assert read_checkpoint(tmp_path, owner="test")[0]["step"] == 10


@pytest.mark.fault(5, "after three checkpoints in a row that could not be written the run ends and says what to do")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_the_third_failure_ends_the_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    fsync = os.fsync

    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    save = Saver(tmp_path, write_atomic, owner="test", seconds=0, told=told.append)
    run = tiny_run(epochs=2)
    broken = At({4: lambda: monkeypatch.setattr(os, "fsync", fails)})
    with pytest.raises(NetwrightError) as caught:
        train_tiny(run, save=save, watcher=broken)
    monkeypatch.setattr(os, "fsync", fsync)
    assert (caught.value.exit_code, len(told), run.step) == (2, 2, 5)  # after step 4, after its epoch, after step 5
    assert str(tmp_path) in caught.value.problem
    assert caught.value.fix
    assert read_checkpoint(tmp_path)[0]["step"] == 3
    assert not [name for name in files(tmp_path) if name.startswith(".")]


@pytest.mark.fault(5, "a run whose last checkpoint cannot be written says so, and does not end as if all were well")
def test_the_last_save_must_succeed(tmp_path: Path) -> None:
    run = tiny_run(epochs=1)
    save = saver(tmp_path / "gone")
    with pytest.raises(NetwrightError, match=r"cannot write a checkpoint to .*gone"):
        train_tiny(run, save=save)
    assert not run.finished
    assert save.failures == 2  # at the end, and once more before the run ended


@pytest.fixture
def closable() -> Iterator[Path]:
    """A folder that everybody may write to; pytest's own are closed to all but one user."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.fault(6, "permission lost in the middle of a run is told, training goes on, and saving is tried again")
def test_permission_lost_for_a_while(closable: Path) -> None:
    told: list[str] = []

    def work() -> None:
        if os.geteuid() == 0:
            os.seteuid(65534)  # nothing is forbidden to root
        folder = closable / "checkpoints"
        folder.mkdir()
        save = Saver(folder, write_atomic, owner="test", seconds=0, told=told.append)
        closed = {3: lambda: folder.chmod(0o555), 5: lambda: folder.chmod(0o755)}
        run = train_tiny(tiny_run(n=96), save=save, watcher=At(closed))
        assert run.finished
        assert [words.split(",")[0] for words in told] == [f"no checkpoint after step {step}" for step in (3, 4)]
        assert all("no permission while writing" in words for words in told)

    assert exit_code(forked(work)) == 0
    assert read_checkpoint(closable / "checkpoints")[0]["step"] == 12


@pytest.mark.fault(6, "a folder that has become read-only ends the run after the third try, with exit code 2")
def test_permission_lost_for_good(closable: Path) -> None:
    def work() -> None:
        if os.geteuid() == 0:
            os.seteuid(65534)
        folder = closable / "checkpoints"
        folder.mkdir()
        save = Saver(folder, write_atomic, owner="test", seconds=0, told=lambda _: None)
        with pytest.raises(NetwrightError, match="no permission while writing") as caught:
            train_tiny(tiny_run(), save=save, watcher=At({3: lambda: folder.chmod(0o555)}))
        assert caught.value.exit_code == 2
        assert read_checkpoint(folder)[0]["step"] == 2

    assert exit_code(forked(work)) == 0


class OwnError(Exception):
    """Raised in code that is not netwright's."""


class Raising(Watcher):
    """Raises in one of its methods, at some step."""

    def __init__(self, method: str, step: int) -> None:
        self.method, self.step = method, step
        self.error = OwnError("mine")
        self.calls: list[str] = []

    def at(self, method: str, run: Run) -> None:
        self.calls.append(method)
        if (method, run.step) == (self.method, self.step):
            raise self.error

    def started(self, run: Run) -> None:
        self.at("started", run)

    def stepped(self, run: Run) -> None:
        self.at("stepped", run)

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        self.at("epoch_done", run)


@pytest.mark.fault(29, "an error in your own watcher is raised as it is, once everything before it is saved")
@pytest.mark.parametrize(("method", "step", "epoch"), [("started", 0, 0), ("stepped", 3, 0), ("epoch_done", 4, 1)])
@pytest.mark.parametrize("seconds", [0, math.inf])
def test_an_error_between_updates_is_raised_after_a_save(
    seconds: float, method: str, step: int, epoch: int, tmp_path: Path
) -> None:
    watcher, noted = Raising(method, step), Noted()
    with pytest.raises(OwnError) as caught:
        train_tiny(tiny_run(), watcher=watcher, save=noted)
    assert caught.value is watcher.error
    assert caught.value.__cause__ is None
    assert noted.places == [(epoch, step)]
    assert watcher.calls.count(method) == (3 if method == "stepped" else 1)
    assert watcher.calls[-1] == method

    with pytest.raises(OwnError):
        train_tiny(tiny_run(), watcher=Raising(method, step), save=saver(tmp_path, seconds=seconds))
    again, (memory, _) = tiny_run(), read_checkpoint(tmp_path)
    assert (memory["epoch"], memory["step"]) == (epoch, step)
    again.recall(memory)
    assert digest(train_tiny(again)) == digest(train_tiny(tiny_run()))


class Unreadable(Pictures):
    """A data set whose sixth batch cannot be read."""

    read = 0

    def batches(self, positions: Any, *, stream: int = 0) -> Any:
        for raw in super().batches(positions, stream=stream):
            self.read += 1
            if self.read == 6:
                raise OwnError("no such picture")
            yield raw


@pytest.mark.fault(29, "an error in your own data set is raised as it is, once everything before it is saved")
def test_an_error_in_the_data_is_raised_after_a_save() -> None:
    noted = Noted()
    with pytest.raises(OwnError, match="no such picture"):
        train_tiny(tiny_run(train_source=Unreadable(64)), save=noted)
    assert noted.places == [(1, 5)]


def breaks_at(station: str) -> Run:
    """A run that breaks in the middle of its sixth update, or at the end of its second epoch."""
    run = tiny_run()

    def broken(*_: Any) -> Any:
        raise OwnError(station)

    def after(step: int, whole: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: broken() if run.step >= step else whole(*given)

    match station:
        case "gradient":
            run.gradient = after(5, run.gradient)
        case "count":
            run.count = after(6, run.count)
        case "validate":
            run.validate = after(8, run.validate)
    return run


@pytest.mark.fault(29, "amid an update or a validation nothing is saved: the checkpoint before it stays as it is")
@pytest.mark.parametrize(("station", "places"), [("gradient", 6), ("count", 6), ("validate", 9)])
def test_an_error_amid_an_update_saves_nothing(station: str, places: int) -> None:
    rare, often = Noted(), Noted(seconds=0)
    for noted in (rare, often):
        with pytest.raises(OwnError, match=station):
            train_tiny(breaks_at(station), save=noted)
    assert rare.places == []
    assert len(often.places) == places


def test_an_error_is_raised_although_it_cannot_be_saved_before(tmp_path: Path) -> None:
    watcher = Raising("stepped", 3)
    with pytest.raises(OwnError):
        train_tiny(tiny_run(), watcher=watcher, save=saver(tmp_path / "gone"))


@pytest.mark.fault(5, "before an error ends a run it is saved, also where the disk had no room for the last checkpoint")
def test_an_error_is_rescued_after_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    save = Saver(folder, write_atomic, owner="test", seconds=0, told=lambda _: None)

    def fails() -> None:
        folder.mkdir()
        raise OwnError("mine")

    with pytest.raises(OwnError):
        train_tiny(tiny_run(), watcher=At({2: fails}), save=save)
    assert read_checkpoint(folder)[0]["step"] == 2


@pytest.mark.fault(32, "when to save is not read off a clock that can be set")
def test_the_wall_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.time, "time", pytest.fail)
    train_tiny(tiny_run(), save=saver(tmp_path, seconds=0))
    assert sorted(path.stem for path in tmp_path.glob("step-*.json")) == ["step-00000007", "step-00000008"]


def test_never_is_a_time_too(tmp_path: Path) -> None:
    assert not saver(tmp_path, seconds=math.inf).due()
    assert saver(tmp_path, seconds=0).due()
