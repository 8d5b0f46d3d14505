"""`netwright tune`: flags that become a space, results on the terminal, and mistakes that are told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from netwright.cli import main
from netwright.cli.tune import tune


@pytest.fixture(autouse=True)
def verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb, whether or not the command line has it."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(tune)
    app.callback()(lambda: None)
    monkeypatch.setattr(main, "app", app)


def command(output: Path, *more: str) -> list[str]:
    fast = ["--epochs", "1", "--device", "cpu", "--set", "threads=1", "--set", "precision=fp32", "--confirm", "1"]
    return ["tune", "digits", "-o", str(output), *fast, *more]


def test_search_and_its_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--trials", "2", "--lr", "0.04", "--range", "batch_size=64|128", "--pruner", "none"]
    assert main.code_of(command(tmp_path / "out", *given)) == 0
    said = capsys.readouterr().out
    assert "batch_size       64 | 128   now 64   (your range)" in said
    assert "stay as you gave them: epochs = 1, precision = fp32, lr = 0.04" in said
    assert "trial 1 of 2:" in said and "the recipe as it was" in said
    assert "tune.html" in said
    line = said.rstrip().splitlines()[-1].strip()
    assert line.startswith("netwright train digits --recipe digits") and "lr=0.04" in line
    assert main.code_of(command(tmp_path / "out", *given, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= {"best", "value", "interval", "confirmed", "trials", "fixed"}
    assert found["fixed"]["lr"] == 0.04
    assert len(found["trials"]) == 2
    assert found["interval"][0] <= found["value"] <= found["interval"][1]
    assert found == json.loads((tmp_path / "out" / "tune.json").read_text())


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--lr", "0.1", "--range", "lr=1e-3..1"], "lr is given as 0.1, and as a range too"),
        (["--range", "lr=1..0.1"], "begins above its end"),
        (["--range", "ema.dcay=0.1..0.9"], "unknown option of ema 'dcay'"),
        (["--budget", "soon"], "cannot read the time"),
        (["--pruner", "ahsa"], "unknown pruner 'ahsa'"),
        (["--on", "cloud"], "unknown place to compute runs 'cloud'"),
    ],
)
def test_mistakes(flags: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.code_of(command(tmp_path / "out", "--trials", "1", *flags)) == 2
    told = capsys.readouterr().err
    assert problem in told and "fix:" in told and "Traceback" not in told


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, netwright.cli.tune; print({'torch', 'numpy', 'optuna', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
