"""`netwright compare`: what it prints and writes, and mistakes that are told."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer

from netwright.cli import main
from netwright.cli.compare import compare
from tests.lab.test_compare_runs import written


@pytest.fixture(autouse=True)
def verb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The verb, whether or not the command line has it, in a folder with three runs."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(compare)
    app.callback()(lambda: None)
    monkeypatch.setattr(main, "app", app)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for seed in (0, 1):
        guesses = (draw.random(80) < 0.3).astype(int)
        written(tmp_path / "runs" / f"plain-{seed}", guesses, seed=seed)
        tricks = {"tricks": ["flip", "crop(pad=3)", "mixup"]}
        written(tmp_path / "runs" / f"mixup-{seed}", guesses * (draw.random(80) < 0.2), seed=seed, recipe=tricks)


def test_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.code_of(["compare", "plain-0", "mixup-0"]) == 0
    said = capsys.readouterr().out
    assert "B is better than A by" in said and "trick: mixup  none  mixup" in said
    assert "One seed each: this covers other pictures, not another training" in said
    assert "compare/compare.html" in said and (tmp_path / "compare" / "compare.png").is_file()


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"runs/{arm}-{seed}" for arm in ("plain", "mixup") for seed in (0, 1)]
    assert main.code_of(["compare", *names, "--by-recipe", "--json", "-o", "out"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [run["seeds"] for run in found["runs"]] == [[0, 1], [0, 1]]
    (each,) = found["comparisons"]
    assert {"name", "against", "effect", "interval", "p", "p_holm", "n", "verdict"} <= set(each)
    assert each["interval"][0] <= each["effect"] <= each["interval"][1] and each["n"] == 80


def test_against_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.code_of(["compare", "plain-0", "mixup-0", "mixup-1", "--against", "mixup-0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["against"]) for each in found["comparisons"]] == [
        ("plain-0", "mixup-0"),
        ("mixup-1", "mixup-0"),
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["plain-0"], "plain-0 alone cannot be compared"),
        (["plain", "mixup-0"], "2 runs in runs fit 'plain'"),
        (["plain-0", "mixpu-0"], "did you mean 'mixup-0'"),
        (["plain-0", "nowhere/mixup-0"], "there is no run nowhere"),
        (["plain-0", "mixup-0", "--margin", "0"], "--margin 0 is no difference"),
        (["plain-0", "mixup-0", "--margin", "nan"], "--margin nan is no difference"),
        (["plain-0", "plain-1", "--by-recipe"], "nothing but their seeds"),
        (["plain-0", "mixup-0", "--against", "other"], "unknown run to compare against 'other'"),
        (["plain-0", "mixup-0", "-o", "file"], "file is no folder"),
        ([], "Missing argument"),
    ],
)
def test_mistakes_are_told(given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main.code_of(["compare", *given]) == 2
    told = capsys.readouterr()
    assert said in told.err and "fix:" in told.err and told.out == ""
    assert not (tmp_path / "compare").exists()
