"""The run folder: never reused, locked, and whole after a crash."""

import errno
import math
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.records import folder
from netwright.records.atomic import replacing, write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import wilson
from tests.forked import exit_code, forked


def test_create_never_reuses_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunFolder.create(tmp_path / "deep" / "runs", "photos resnet/18"), range(24)))
    assert len({run.path for run in runs}) == 24
    assert all("photos-resnet-18" in run.name for run in runs)


@pytest.mark.parametrize("name", ["..", "", "/", "a" * 300, "../../etc"])
def test_any_name_stays_in_the_output_folder(tmp_path: Path, name: str) -> None:
    assert RunFolder.create(tmp_path, name).path.parent == tmp_path


def test_open_suggests_the_nearest_and_the_newest(tmp_path: Path) -> None:
    first, second = RunFolder.create(tmp_path, "photos-resnet18"), RunFolder.create(tmp_path, "photos-vit")
    with pytest.raises(NetwrightError, match="there is no run") as nearest:
        RunFolder.open(tmp_path / f"{first.name}x")
    assert f"did you mean {first.path}?" in nearest.value.fix
    with pytest.raises(NetwrightError, match="there is no run") as far:
        RunFolder.open(tmp_path / "zzzz")
    assert str(second.path) in far.value.fix
    with pytest.raises(NetwrightError, match="is not a run folder") as output:
        RunFolder.open(tmp_path)
    assert str(second.path) in output.value.fix
    with pytest.raises(NetwrightError, match="there is no run"):
        RunFolder.open(tmp_path / "no" / "such")


def test_newest(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="there is no run in"):
        RunFolder.newest(tmp_path)
    RunFolder.create(tmp_path, "b")
    last = RunFolder.create(tmp_path, "a")
    (tmp_path / "99999999-000000-stranger").mkdir()
    assert RunFolder.newest(tmp_path) == last


class Clock:
    """A clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = datetime(2026, 10, 25, 2, 59, 58)
        monkeypatch.setattr(folder, "datetime", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)

    def now(self) -> datetime:
        return self.time


@pytest.mark.fault(32, "where the clock goes back, the run that was started last is still the newest")
def test_the_newest_run_is_the_last_although_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, names = Clock(monkeypatch), []
    for hours, name in ((0, "z"), (-1, "y"), (-1, "x"), (-2000, "z"), (-2000, "a"), (3, "a")):
        clock.time = datetime(2026, 10, 25, 2, 59, 58) + timedelta(hours=hours)
        run = RunFolder.create(tmp_path, name)
        os.utime(run.path, (clock.time.timestamp(),) * 2)
        assert RunFolder.newest(tmp_path) == run
        names.append(run.name)
    assert names == sorted(names)
    assert names[0] == "20261025-025958-z"
    assert names[-1] == "20261025-055958-a"


@pytest.mark.fault(32, "runs that are started in the same second have folders of their own")
def test_runs_of_one_second_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    names = [RunFolder.create(tmp_path, "same").name for _ in range(3)]
    assert names == [f"20261025-025958-same{end}" for end in ("", "-2", "-3")]


def test_names_that_are_no_time_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    for name in ("99999999-999999-x", "x", "best"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text("{}")
    assert RunFolder.create(tmp_path, "a").name == "20261025-025958-a"


@pytest.mark.fault(2, "what killed processes left half written is cleared away when the run goes on")
def test_locking_clears_away_what_killed_processes_left(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "photos") as run:
        pass
    dead, alive = forked(lambda: None), forked(lambda: time.sleep(60))
    exit_code(dead)
    places = [run.path, run.checkpoints, run.samples, run.samples / "mistakes"]
    places[-1].mkdir()
    outside = tmp_path / f".outside.{dead}-0123abcd"
    outside.write_text("another's")
    (run.path / "up").symlink_to(tmp_path)
    orphans = [place / f".step-00000001.json.{pid}-0123abcd" for place in places for pid in (dead, os.getpid())]
    kept = [place / name for place in places for name in (f".a.{alive}-0123abcd", f".a.{dead}-x", "a", ".hidden")]
    for path in orphans + kept:
        path.write_text("half")
    link = run.path / f".link.{dead}-0123abcd"
    link.symlink_to("lock")
    with replacing(run.report_file) as mine:
        mine.write_text("being written")
        run.lock()
        assert mine.exists()
    os.kill(alive, signal.SIGKILL)
    exit_code(alive)
    assert not any(path.exists() for path in orphans)
    assert all(path.exists() for path in [*kept, link, outside])


def test_record_round_trip(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    with pytest.raises(NetwrightError, match="cannot read"):
        run.record()
    run.write_record({"loss": math.nan, "n": np.int64(3), "at": wilson(1, 2), "where": tmp_path, "list": (np.ones(2),)})
    record = run.record()
    assert record["loss"] is None
    assert record["n"] == 3
    assert record["at"] == wilson(1, 2).to_json()
    assert record["where"] == str(tmp_path)
    assert record["list"] == [[1.0, 1.0]]


def test_file_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    name = os.fsdecode(b"caf\xe9.jpg")
    run.write_record({"name": name})
    run.append_metrics({"name": name})
    run.log(name)
    assert run.record() == {"name": name}
    assert run.metrics() == [{"name": name}]


def test_metrics_survive_a_torn_line(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    assert run.metrics() == []
    run.append_metrics({"epoch": 1, "step": 10})
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 2, "st')
    run.append_metrics({"epoch": 3, "step": 30, "loss": math.inf})
    assert [row["epoch"] for row in run.metrics()] == [1, 3]
    assert run.metrics()[1]["loss"] is None


def test_a_resumed_run_repeats_and_misses_no_row(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    rows = [{"epoch": epoch, "step": 10 * epoch} for epoch in range(1, 6)]
    for row in (rows[0], *rows[2:]):
        run.append_metrics(row)
    run.write_metrics(rows[:3])
    run.append_metrics({"epoch": 4, "step": 40})
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3, 4]


def test_log_lines_carry_their_time(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    run.log("first")
    run.log("second")
    first, second = run.log_file.read_text().splitlines()
    assert first.endswith(" first")
    assert second.startswith("20")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "disk full while writing"),
        (errno.EDQUOT, "disk quota used up while writing"),
        (errno.EROFS, "read-only disk while writing"),
        (errno.EACCES, "no permission while writing"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    path = tmp_path / "record.json"
    write_atomic(path, "old")

    def fail(_: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(NetwrightError, match=says) as caught:
        write_atomic(path, b"x" * 12_345)
    assert "--output" in caught.value.fix
    assert ("12.3 kB are needed" in caught.value.fix) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    assert path.read_text() == "old"


def test_who_is_reading_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_atomic(path, "old")
    with path.open() as reader:
        write_atomic(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO, errno.ESTALE])
def test_whatever_the_disk_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(NetwrightError, match=re.escape(f"cannot write {tmp_path}/file ({os.strerror(number)})")):
        write_atomic(tmp_path / "file", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [None, ArithmeticError("mine")])
def test_a_folder_that_is_gone_is_left_without_a_word(tmp_path: Path, error: Exception | None) -> None:
    run = RunFolder.create(tmp_path, "photos")
    with pytest.raises(ArithmeticError) if error else nullcontext(), run:
        shutil.rmtree(run.path)
        with pytest.raises(NetwrightError, match="No such file or directory"):
            run.log("a line")
        if error:
            raise error


def test_a_full_disk_is_told_when_appending(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    run.metrics_file.symlink_to("/dev/full")
    with pytest.raises(NetwrightError, match="disk full while writing"):
        run.append_metrics({"epoch": 1})


@pytest.mark.parametrize("below", ["", "deep", "deep/er"])
def test_an_output_that_is_a_file_is_told(tmp_path: Path, below: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(NetwrightError, match=r"notes\.txt is not a folder") as caught:
        RunFolder.create(file / below, "photos")
    assert "--output" in caught.value.fix
    assert file.read_text() == "mine"
    with pytest.raises(NetwrightError, match=r"notes\.txt is not a folder"):
        write_atomic(file / "record.json", "text")


@pytest.mark.fault(34, "an output folder may be a link, also one that leads upwards")
def test_an_output_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "deep" / "runs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "runs")
    (tmp_path / "deep" / "runs" / "up").symlink_to("..")
    for output in (tmp_path / "link", tmp_path / "link" / "up" / "runs" / "up" / "runs"):
        run = RunFolder.create(output, "photos")
        run.write_record({"a": 1})
        assert (tmp_path / "deep" / "runs" / run.name / "record.json").is_file()
        assert RunFolder.newest(tmp_path / "deep" / "runs").record() == {"a": 1}


@pytest.mark.fault(34, "an output folder that is a link to itself, or to nothing, is told")
@pytest.mark.parametrize("below", ["", "deep", "deep/er"])
@pytest.mark.parametrize("target", ["link", "nowhere"])
def test_an_output_that_is_a_broken_link_is_told(tmp_path: Path, target: str, below: str) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(NetwrightError, match="link") as caught:
        RunFolder.create(link / below, "photos")
    assert "--output" in caught.value.fix
    for look in (RunFolder.open, RunFolder.newest):
        with pytest.raises(NetwrightError, match="run"):
            look(link / below)
    assert link.is_symlink()


def test_names_that_are_too_long_are_told(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 300)
    with pytest.raises(NetwrightError, match="too long"):
        RunFolder.create(long, "photos")
    with pytest.raises(NetwrightError, match="too long"):
        write_atomic(long, "text")
    for look in (RunFolder.open, RunFolder.newest):
        with pytest.raises(NetwrightError, match="cannot look for a run in"):
            look(long)


def test_a_long_name_of_many_bytes_is_cut(tmp_path: Path) -> None:
    assert "\N{CJK UNIFIED IDEOGRAPH-65E5}" in RunFolder.create(tmp_path, "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 200).name


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run = RunFolder.create(Path("~/runs"), "photos")
    assert run.path.parent == tmp_path / "runs"
    assert RunFolder.open(Path("~/runs") / run.name) == run
    assert RunFolder.newest(Path("~/runs")) == run
    with pytest.raises(NetwrightError, match="nobody's home"):
        RunFolder.newest(Path("~no-such-user/runs"))


@pytest.mark.parametrize("text", ["[1, 2]", "null", "{", ""])
def test_a_record_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    run = RunFolder.create(tmp_path, "photos")
    run.record_file.write_text(text)
    with pytest.raises(NetwrightError, match=r"cannot read .*record\.json"):
        run.record()
