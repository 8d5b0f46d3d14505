"""What a full disk, or an error in somebody else's code, costs a run: nothing."""

from pathlib import Path
from typing import Any

import pytest

from netwright import NetwrightError, fit
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
