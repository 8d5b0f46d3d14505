"""What a full disk, or an error in somebody else's code, costs a run: nothing."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from netwright import NetwrightError, fit
from netwright.core.errors import EXIT_TERMINATED, Interrupted
from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.records import folder
from netwright.records.folder import RunFolder
from netwright.records.store import RunStore
from tests.recipes.test_fit import same_history, same_weights, small, small_data


class Full(Watcher):
    """The disk is full from one step to another."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.disk = pytest.MonkeyPatch()
        self.words: list[str] = []

    def stepped(self, run: Run) -> None:
        if run.step == self.first:
            self.disk.setattr(folder, "_append", full)
            self.disk.setattr(folder, "write_atomic", full)
        if run.step == self.last:
            self.disk.undo()

    def told(self, words: str) -> None:
        self.words.append(words)


def full(*_: Any) -> None:
    raise NetwrightError("disk full while writing", "make room")


@pytest.mark.fault(5, "metrics that a full disk had no room for are written as soon as there is some")
def test_no_row_is_lost_to_a_full_disk(tmp_path: Path) -> None:
    watcher = Full(3, 9)
    result = fit(small(), data=small_data(), output=tmp_path / "full", watcher=watcher)
    assert [words.split(" could")[0] for words in watcher.words] == ["the metrics of epoch 1", "the metrics of epoch 2"]
    assert all("make room" in words for words in watcher.words)
    assert [row["epoch"] for row in RunFolder.open(result.path).metrics()] == [1, 2, 3]
    assert same_weights(result.path, fit(small(), data=small_data(), output=tmp_path / "whole").path)


class FullAtLast(Full):
    """The disk is full until the last row was to be written."""

    def epoch_done(self, run: Run, row: dict[str, Any]) -> None:
        if run.epoch == run.epochs:
            self.disk.undo()


@pytest.mark.fault(5, "the last row of the metrics, too, is written as soon as the disk has room for it")
def test_the_last_row_is_not_lost_to_a_full_disk(tmp_path: Path) -> None:
    result = fit(small(), data=small_data(), output=tmp_path, watcher=FullAtLast(10, 99))
    assert [row["epoch"] for row in RunFolder.open(result.path).metrics()] == [1, 2, 3]
    assert result.record["status"] == "done"


def test_a_store_that_cannot_be_written_loses_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritable(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(folder, "_append", full)
        full()

    monkeypatch.setattr(RunStore, "add", unwritable)
    assert fit(small(), data=small_data(), output=tmp_path).record["status"] == "done"


class FullAndFailing(Full):
    """Meets an error of its own while the disk is full."""

    def stepped(self, run: Run) -> None:
        super().stepped(run)
        if run.step == self.last - 1:
            raise ArithmeticError("mine")


@pytest.mark.fault(5, "a full disk hides no other error: what ended the run is what you are told")
def test_an_error_on_a_full_disk_is_told(tmp_path: Path) -> None:
    watcher = FullAndFailing(3, 6)
    with pytest.raises(ArithmeticError, match="mine"):
        fit(small(), data=small_data(), output=tmp_path, watcher=watcher)
    watcher.disk.undo()


@pytest.mark.fault(25, "a signal while the run is entered into the store ends it with its own exit code")
def test_a_signal_while_the_store_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any, **__: Any) -> int:
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr(RunStore, "add", asked)
    with pytest.raises(Interrupted) as caught:
        fit(small(), data=small_data(), output=tmp_path)
    assert caught.value.exit_code == EXIT_TERMINATED
    assert RunFolder.newest(tmp_path).record()["status"] == "interrupted"


class Deleting(Watcher):
    """Deletes the run's folder."""

    def __init__(self, output: Path) -> None:
        self.output = output

    def stepped(self, run: Run) -> None:
        if run.step == 3:
            shutil.rmtree(RunFolder.newest(self.output).path)


@pytest.mark.fault(6, "a run whose folder is deleted while it trains ends with a word about it, and exit code 2")
def test_a_run_folder_that_is_deleted_is_told(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match=r"cannot write .*No such file") as caught:
        fit(small(), data=small_data(), output=tmp_path, watcher=Deleting(tmp_path))
    assert caught.value.exit_code == 2


def test_a_run_that_is_extended_keeps_its_row_in_the_store(tmp_path: Path) -> None:
    path = fit(small(), data=small_data(), output=tmp_path).path
    longer = fit(resume=path, data=small_data(), extend=4)
    (row,) = RunStore.beside(tmp_path).list()
    assert (row.key, row.status) == (longer.record["key"], "done")


class Failing(Watcher):
    """Raises after the sixth update."""

    error = ArithmeticError("mine")

    def stepped(self, run: Run) -> None:
        if run.step == 6:
            raise self.error


@pytest.mark.fault(29, "after an error in your own code the run is closed in order and can be resumed")
def test_an_error_in_a_watcher_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError) as caught:
        fit(small(), data=small_data(), output=tmp_path / "cut", watcher=Failing())
    assert caught.value is Failing.error
    cut = RunFolder.newest(tmp_path / "cut")
    assert (cut.record()["status"], cut.record()["problem"]) == ("failed", "mine")
    assert [row.status for row in RunStore.beside(tmp_path / "cut").list()] == ["failed"]
    assert cut.log_file.read_text().count("failed mine") == 1
    assert cut.lock_file.read_text() == ""
    resumed = fit(resume=cut.path, data=small_data())
    assert resumed.record["resumed"][0]["step"] == 6
    whole = fit(small(), data=small_data(), output=tmp_path / "whole")
    assert same_weights(whole.path, cut.path)
    assert same_history(whole.path, cut.path)
