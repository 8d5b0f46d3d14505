"""Every verb as a user types it: what is printed, in which form, with which exit code."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netwright.cli.main import code_of, optional_resume
from netwright.cli.main import run as command

QUICK = ["--model", "resnet20(width=4)", "--epochs", "2", "--batch-size", "12", "--image-size", "32", "--device", "cpu"]


def netwright(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "netwright", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def run(brief_reports: None, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Path:
    """A run on photos; the JSON is alone on stdout, whoever else may write there."""
    assert code_of(["train", str(photos), "--output", str(tmp_path / "runs"), "--json", *QUICK]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["status"] == "done"
    return Path(told["path"])


def test_from_photos_to_prediction_and_back(run: Path, photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures = [str(photos / "test" / name / "0.jpg") for name in ("blue", "red")]
    assert code_of(["predict", str(run), *pictures, "--json", "--top", "2"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [p["name"] for p in found["predictions"]] == pictures
    assert all(len(p["top"]) == 2 and p["top"][0]["label"] == p["label"] for p in found["predictions"])
    assert code_of(["predict", str(run), *pictures, "--csv", "--top", "2"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "file,label_1,probability_1,label_2,probability_2"
    assert len(lines) == 3
    assert code_of(["evaluate", str(run), str(photos), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["metrics"]["accuracy"]["n"] == 15
    assert code_of(["evaluate", str(run), str(photos)]) == 0
    assert "accuracy" in capfd.readouterr().out
    (run / "report.html").unlink()
    assert code_of(["report", str(run)]) == 0
    assert (run / "report.html").exists()


def test_unreadable_pictures_are_named_and_the_others_predicted(
    run: Path, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("not a picture")
    assert code_of(["predict", str(run), str(bad), str(photos / "test" / "red" / "0.jpg"), "--json"]) == 2
    printed = capfd.readouterr()
    assert str(bad) in printed.err
    found = json.loads(printed.out)
    assert len(found["predictions"]) == 1
    assert found["unreadable"][0]["name"] == str(bad)


def test_show_says_every_value_and_where_it_came_from(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert code_of(["show", str(run), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capfd.readouterr().out)["values"]}
    assert (rows["epochs"]["value"], rows["epochs"]["source"]) == (2, "user")
    assert rows["channels"]["source"] == "auto"
    assert rows["schedule"]["source"] == "recipe"
    for name in ("modern", "mixup", "adamw", "cosine", "classification", "resnet18", str(run / "bundle")):
        assert code_of(["show", name]) == 0
        assert capfd.readouterr().out.strip()


@pytest.mark.parametrize("kind", ["models", "tricks", "optimizers", "schedules", "tasks", "recipes", "data"])
def test_every_kind_is_listed_with_a_line_on_each(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["list", kind, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found
    assert all(line.strip() for line in found.values())


def test_list_takes_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["list", "models", "resnet5*", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"resnet50", "resnet56"}


def test_resume_without_a_value_means_the_newest() -> None:
    assert optional_resume(["train", "--resume", "--json"]) == ["train", "--resume", "newest", "--json"]
    assert optional_resume(["train", "--resume"]) == ["train", "--resume", "newest"]
    assert optional_resume(["train", "--resume", "runs/a"]) == ["train", "--resume", "runs/a"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("no_reports")
def test_a_signal_saves_and_the_run_goes_on(
    photos: Path, tmp_path: Path, number: int, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "runs"
    quick = [*QUICK[:3], "500", *QUICK[4:]]
    words = [sys.executable, "-m", "netwright", "train", str(photos), "--output", str(output), *quick]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: any("epoch" in path.read_text() for path in output.glob("*/metrics.jsonl")))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "everything is saved" in errors
    assert "Traceback" not in errors
    (run,) = (path for path in output.iterdir() if path.is_dir())
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "interrupted"
    steps = record["result"]["steps"]
    resumed = ["train", "--resume", "--output", str(output), "--json", "--extend", str(steps // 3 + 2)]
    with pytest.raises(SystemExit) as left:
        command(resumed)
    told = capfd.readouterr()
    assert not left.value.code, told.err
    assert json.loads(told.out)["result"]["steps"] > steps


def _wait_for(there: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_help_and_list_do_not_import_torch() -> None:
    heavy = ("torch", "torchvision", "timm", "scipy", "sklearn", "matplotlib", "sqlalchemy")
    code = (
        "import sys; from netwright.cli.main import code_of\n"
        "for line in sys.argv[1:]:\n"
        "    code_of(line.split())\n"
        f"    print(line, [m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    lines = ["--help", "train --help", "list tricks", "list models", "train --with mixupp"]
    done = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if line.endswith("]")] == [f"{line} []" for line in lines]


def test_a_training_run_imports_neither_torchvision_nor_timm_nor_the_compiler(tmp_path: Path) -> None:
    """And its JSON is alone on stdout, to the end of the process."""
    code = (
        "import sys; from netwright.cli.main import code_of; "
        "assert code_of(['train', '--epochs', '1', '--json', '--output', sys.argv[1]]) == 0; "
        "print([m for m in ('torchvision', 'timm', 'torch._dynamo', 'sklearn') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert json.loads(done.stdout)["status"] == "done"


def test_our_own_mistakes_leave_a_report_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("netwright.cli.catalogue.catalogue", lambda *_: 1 / 0)
    assert code_of(["list", "models"]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    (file,) = tmp_path.glob("netwright-error-*.txt")
    assert "ZeroDivisionError" in file.read_text()
    assert file.name in printed
