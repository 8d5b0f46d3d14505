"""The verb `anomaly`: what it prints and writes, and mistakes told before anything is scored."""

import json
from pathlib import Path

import pytest

from netwright.cli.main import code_of
from tests.lab.test_anomaly import world as world  # a run that was never trained, and pictures


def command(world: Path, *words: object) -> list[str]:
    return [
        "anomaly",
        str(world / "run"),
        str(world / "new"),
        "-o",
        str(world / "out"),
        "--device",
        "cpu",
        *map(str, words),
    ]


def test_pictures_are_scored_and_told(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(command(world, "--normal-class", "good", "--false-alarms", "0.1", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["auroc"]["value"]["value"] == 1.0 and found["threshold"]["n"] == 40
    assert code_of(command(world, "--normal-class", "good", "--false-alarms", "0.1", "--score", "patch")) == 0
    said = capsys.readouterr().out
    assert "AUROC 100.0 %" in said and "The threshold was set on 40 normal pictures" in said
    assert str(world / "out" / "anomaly.html") in said and (world / "out" / "scores.csv").is_file()


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
def test_mistakes_are_told(world: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(command(world, *words)) == 2
    assert problem in capsys.readouterr().err
    assert not (world / "out").exists()
