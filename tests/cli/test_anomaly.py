"""The verb `anomaly`: what it prints and writes, and mistakes told before anything is scored."""

import json
from pathlib import Path
from typing import Any

import pytest

from netwright.cli.main import code_of
from tests.lab.test_anomaly import world as world  # a run that was never trained, and pictures


def command(world: Path, out: Path, *words: object) -> list[str]:
    where = [str(world / "run"), str(world / "new"), "-o", str(out)]
    return ["anomaly", *where, "--device", "cpu", *map(str, words)]


def test_pictures_are_scored_and_told(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--normal-class", "good", "--false-alarms", "0.1", "--score", "patch")
    assert code_of(command(world, tmp_path / "out", *options)) == 0
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "anomaly.json").read_text())
    assert found["auroc"]["value"]["value"] == 1.0 and found["threshold"]["n"] == 40
    assert "AUROC 100.0 %" in said and "The threshold was set on 40 normal pictures" in said
    assert str(tmp_path / "out" / "anomaly.html") in said and (tmp_path / "out" / "scores.csv").is_file()


def test_json_is_all_that_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[dict[str, Any]] = []
    monkeypatch.setattr("netwright.lab.anomaly.anomaly", lambda *_, **options: heard.append(options) or {"notes": []})
    assert code_of(command(tmp_path, tmp_path / "out", "--json", "--normal-class", "a", "--normal-class", "b")) == 0
    assert json.loads(capsys.readouterr().out) == {"notes": []} and heard[0]["normal_classes"] == ("a", "b")


def test_what_could_not_be_read_is_named_and_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("netwright.lab.anomaly.anomaly", lambda *_, **__: {"notes": ["left out: a.png: no picture"]})
    assert code_of(command(tmp_path, tmp_path / "out", "--json")) == 2
    assert "left out: a.png" in capsys.readouterr().err


def test_files_that_are_not_ours_are_not_written_over(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.csv").write_text("mine")
    assert code_of(command(world, tmp_path)) == 2
    assert "netwright did not write it" in capsys.readouterr().err
    assert (tmp_path / "scores.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--false-alarms", "5"], "false alarms cannot be 5"),
        (["--false-alarms", "0.001"], "give 999 or more"),
        (["--score", "eror"], "did you mean 'error'"),
        (["--score", "elbo"], "codes of this network are not drawn"),
        (["--normal-class", "god"], "did you mean 'good'"),
        (["--normal", "nowhere"], "nowhere does not exist"),
    ],
)
def test_mistakes_are_told(
    world: Path, tmp_path: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(command(world, tmp_path / "out", *words)) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
