"""`netwright lr-find`, and the flags that leave a choice to netwright."""

import json
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from netwright.cli import lr_find as verb
from netwright.cli.lr_find import command_for, drawing
from netwright.cli.main import app, code_of
from netwright.core.errors import NetwrightError
from netwright.engine import lr_find as engine
from netwright.engine.lr_find import Search
from netwright.recipes._recipe import recipe
from netwright.report.rates import visible

SEARCH = ["--low", "1e-3", "--high", "1", "--steps", "40"]
QUICK = ["--model", "lenet5(modern=True)", "--device", "cpu", *SEARCH]

pytestmark = pytest.mark.usefixtures("no_reports")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert code_of([*arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["lr-find", "lr_find"])
def test_it_prints_the_rate_a_drawing_and_what_to_do(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ran(capsys, name, "--with", "flip", *QUICK).splitlines()
    rate = float(lines[0].removeprefix("learning rate "))
    assert 1e-3 < rate < 1
    assert any("logarithmic" in line for line in lines)
    assert lines[-1].strip().startswith("netwright train --model 'lenet5(modern=True)' --device cpu --with flip")
    assert lines[-1].endswith(f"--lr {rate:g}")
    assert list(Path().iterdir()) == [], "no run folder is made"


def test_json_and_its_command_trains(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(ran(capsys, "lr-find", "--json", *QUICK))
    assert len(told["rates"]) == len(told["losses"]) > engine.FEWEST
    words = shlex.split(told["command"])
    assert words[:2] == ["netwright", "train"]
    done = json.loads(ran(capsys, *words[1:], "--epochs", "1", "--json"))
    assert done["recipe"]["optimizer"] == f"sgd(lr={told['lr']})"
    assert done["sources"]["optimizer.lr"] == "user"


def test_the_seed_decides_and_the_rate_of_the_recipe_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    first, again, other = (
        json.loads(ran(capsys, "lr-find", "--json", *QUICK, *more))
        for more in (["--seed", "1"], ["--seed", "1", "--optimizer", "sgd(lr='find')"], ["--seed", "2"])
    )
    assert first["losses"] == again["losses"]
    assert first["losses"] != other["losses"]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_pictures(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(f"rates.{suffix}")
    told = json.loads(ran(capsys, "lr-find", "--json", "--save", str(path), *QUICK))
    if suffix == "png":
        assert path.read_bytes().startswith(b"\x89PNG")
    else:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
        assert f"{told['lr']:g}" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--save", "rates.gif"], "cannot draw in rates.gif"),
        (["--low", "1", "--high", "0.1"], "cannot search from 1 to 0.1"),
        (["--steps", "3"], "steps > 10"),
        (["--recipe", "cifar"], "recipe cifar needs data"),
        (["--batch-size", "huge"], "batch_size cannot be 'huge'"),
        (["--with", "mixupp"], "did you mean 'mixup'"),
        (["--set", "epochs"], "write --set field=value"),
    ],
)
def test_mistakes(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["lr-find", "--device", "cpu", *arguments]) == 2
    errors = capsys.readouterr().err
    assert problem in errors
    assert "fix: " in errors


def test_the_first_mistakes_are_told_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "searched", lambda *_: pytest.fail("searched"))
    assert code_of(["lr-find", "--save", "rates.gif"]) == 2


def test_defaults_are_the_engines() -> None:
    assert (verb.LOW, verb.HIGH, verb.STEPS) == (engine.LOW, engine.HIGH, engine.STEPS)


def test_the_arrow_stands_below_the_rate() -> None:
    rates = tuple(10.0**power for power in range(-4, 1))
    lines = drawing(Search(rates, (2.0, 1.8, 1.0, 0.9, 5.0), 1e-2), dots=False)
    assert lines[-1] == " " * 8 + " " * round(0.5 * 63) + "^ 0.01"
    assert lines[-2].split() == ["0.0001", "learning", "rate,", "logarithmic", "1"]
    assert visible((2.0, 1.8, 1.0, 0.9, 5.0)) == pytest.approx([2.0, 1.8, 1.0, 0.9, 2.0 + 0.25 * 1.1])


def test_the_command_says_again_what_was_said() -> None:
    values = {"recipe": "cifar", "model": "resnet20(norm='group')", "batch_size": "auto", "seed": None}
    repeated = {"with": ["mixup(alpha=0.4)", "ema"], "without": ["flip"], "set": ["val_fraction=0.2"]}
    words = shlex.split(command_for("my photos", values, repeated, 0.083))
    assert words == [
        "netwright", "train", "my photos", "--recipe", "cifar", "--model", "resnet20(norm='group')",
        "--batch-size", "auto", "--with", "mixup(alpha=0.4)", "--with", "ema", "--without", "flip",
        "--set", "val_fraction=0.2", "--lr", "0.083",
    ]  # fmt: skip


def test_train_finds_tells_and_records(capsys: pytest.CaptureFixture[str]) -> None:
    plain = ["train", "--epochs", "1", "--device", "cpu", "--lr", "find", "--batch-size", "auto"]
    text = ran(capsys, *plain)
    (path,) = Path("runs").glob("*/record.json")
    record = json.loads(path.read_text())
    rate = record["recipe"]["optimizer"].removeprefix("sgd(lr=").removesuffix(")")
    assert "first it looks for a learning rate" in text
    assert f"batches of 16, peak learning rate {float(rate):g}" in text
    assert (record["sources"]["optimizer.lr"], record["sources"]["batch_size"]) == ("auto", "auto")
    rows = {row["name"]: row for row in json.loads(ran(capsys, "show", str(path.parent), "--json"))["values"]}
    assert rows["optimizer"]["source"] == "recipe; lr: auto"


@pytest.mark.parametrize("verb", [["train"], ["lr-find", "digits"], ["history", "digits"]])
@pytest.mark.parametrize(("flag", "value"), [("--lr", "fast"), ("--lr", "True"), ("--lr", "none"), ("-b", "1.5")])
def test_words_that_are_no_numbers(verb: list[str], flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([*verb, flag, value]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("command", ["train", "history", "lr-find"])
def test_shared_flags_say_the_same_everywhere(command: str) -> None:
    import typer

    shared = {"--with", "--without", "--set", "--batch-size", "--device"}
    verbs: Any = typer.main.get_command(app).commands
    ours, trains = (
        {o: p.help for p in verbs[name].params for o in p.opts if o in shared} for name in (command, "train")
    )
    assert ours == trains
    assert set(ours) == shared


def test_what_is_announced() -> None:
    from netwright.cli.train import announced

    chosen = recipe("modern", data="photos/", lr="find", batch_size="largest")
    assert announced(chosen).splitlines() == [
        "netwright trains a network that suits the pictures on photos/",
        "first it tries how large a batch may be",
        "first it looks for a learning rate",
    ]
    assert announced(recipe("digits")) == "netwright trains lenet5(modern=True) on digits"


def test_the_recipe_refuses_what_the_flag_refuses() -> None:
    with pytest.raises(NetwrightError, match="'auto' or 'largest'"):
        recipe("digits", batch_size="all")
