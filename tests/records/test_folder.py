"""The run folder: never reused, locked, and whole after a crash."""

import errno
import json
import math
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import wilson
from netwright.records.lock import Holder


def test_create_never_reuses_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: RunFolder.create(tmp_path / "deep" / "runs", "photos resnet/18"), range(24)))
    assert len({run.path for run in runs}) == 24
    assert all("photos-resnet-18" in run.name for run in runs)


@pytest.mark.parametrize("name", ["..", "", "/", "a" * 300, "../../etc"])
def test_any_name_stays_in_the_output_folder(tmp_path: Path, name: str) -> None:
    assert RunFolder.create(tmp_path, name).path.parent == tmp_path


def test_second_user_is_told_the_process(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    with pytest.raises(NetwrightError, match=f"in use by process {os.getpid()} ") as caught:
        RunFolder.open(run.path).lock()
    assert f"kill {os.getpid()}" in caught.value.fix


def test_lock_is_given_back(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "photos") as run:
        pass
    RunFolder.open(run.path).lock()


def test_lock_of_a_process_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    code = f"from netwright.records.folder import *; print(RunFolder.create(Path({str(tmp_path)!r}), 'x').path)"
    path = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert json.loads((Path(path) / "lock").read_text())["pid"] != os.getpid()
    RunFolder.open(Path(path)).lock()


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


def test_only_one_of_many_processes_gets_a_free_lock(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "photos") as run:
        pass
    code = f"""
import sys
from netwright.records.folder import *
from netwright.core.errors import NetwrightError
try:
    RunFolder(Path({str(run.path)!r})).lock()
    print("mine", flush=True)
except NetwrightError:
    print("held", flush=True)
sys.stdin.read()
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.stdout.readline().strip() for process in started if process.stdout]
    for process in started:
        process.communicate("")
    assert sorted(said) == ["held", "held", "held", "mine"]


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


def test_truncate_drops_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "photos")
    for epoch in range(1, 6):
        run.append_metrics({"epoch": epoch, "step": 10 * epoch})
    run.truncate_metrics(30)
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


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "file", "text")


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
