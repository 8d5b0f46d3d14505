"""`netwright transfer-study`: flags that become recipes, results on the terminal, and mistakes that are told."""

import json
from pathlib import Path

import pytest
import torch
import typer
from safetensors.torch import save_file

from netwright.cli import main
from netwright.cli.transfer_study import recipes, transfer_study
from netwright.core.errors import NetwrightError
from netwright.models import create_model
from tests.lab.test_transfer_study import NAME, squares


@pytest.fixture(autouse=True)
def verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb, whether or not the command line has it."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command("transfer-study")(transfer_study)
    app.callback()(lambda: None)
    monkeypatch.setattr(main, "app", app)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    data = str(squares(tmp_path / "six.npz"))
    fast = ["--epochs", "1", "--updates", "1", "--device", "cpu", "--set", "threads=1", "--seeds", "2"]
    return ["transfer-study", data, "--model", NAME, "-o", str(tmp_path / "out"), *fast]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(3)
    save_file(create_model(NAME).state_dict(), tmp_path / "weights.safetensors")
    return str(tmp_path / "weights.safetensors")


def test_curves(command: list[str], weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command += ["--weights", weights, "--sizes", "2,all", "--arms", "features,scratch"]
    assert main.code_of(command) == 0
    said = capsys.readouterr().out
    assert "8 of 8: scratch, all pictures a class, seed 1" in said
    assert "pictures a class  way" in said and "right most often" in said
    assert "transfer_study.html" in said
    assert main.code_of([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cases"] is None and len(found["study"]["rows"]) == 4
    assert found == json.loads((tmp_path / "out" / "transfer_study.json").read_text())


def test_cases_alone(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far = str(squares(tmp_path / "far.npz", classes=2, grey=True))
    assert main.code_of([*command, "--far", far, "--per-class", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["study"] is None and len(found["cases"]["rows"]) == 9
    assert main.code_of([*command, "--far", far, "--per-class", "2"]) == 0
    said = capsys.readouterr().out
    assert "same task" in said and "held out from the base network: 1, 3, 5" in said
    assert not (tmp_path / "out" / "transfer_study.png").exists()


def test_flags_reach_every_way(weights: str) -> None:
    changes = {"model": NAME, "epochs": 3, "lr": 1e-4, "seed": 7}
    names = ["scratch", "random_features", "features", "partial(last=2)"]
    found = recipes("photos", names, weights, (changes, ["grad_clip"], ["flip"]))
    assert list(found) == names
    for name, recipe in found.items():
        assert (recipe.model, recipe.epochs, recipe.seed, recipe.data) == (NAME, 3, 7, "photos")
        assert "lr=0.0001" in recipe.optimizer
        assert any(trick.startswith("grad_clip") for trick in recipe.tricks)
        assert not any(trick.startswith("flip") for trick in recipe.tricks)
        assert recipe.weights == (None if name in ("scratch", "random_features") else weights)
    assert "freeze(last=2)" in found["partial(last=2)"].tricks


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "has nothing to transfer"),
        (["--arms", "fetures"], "did you mean 'features'"),
        (["--arms", "scratch", "--sizes", "5,x"], "'x' is no number of pictures"),
        (["--arms", "scratch(last=2)"], "unknown option of head"),
        (["--arms", "partial(lst=2)", "--weights", "w"], "last"),
        (["--arms", "scratch", "--per-class", "3"], "add --cases"),
        (["--arms", "scratch", "--set", "weights=w"], "give --weights instead"),
        (["--arms", "scratch", "--set", "data=w"], "as the first argument"),
        (["--arms", "scratch", "--without", "mixup"], "has no trick mixup"),
        (["--arms", "scratch", "--without", "flp"], "did you mean 'flip'"),
        (["--arms", "scratch", "--set", "epocs=2"], "did you mean 'epochs'"),
        (["--arms", "features", "--weights", "none.pth"], "no weights file"),
        (["--arms", "scratch", "-b", "largest"], "cannot be found by trying"),
        (["--arms", "scratch", "--model", "resnet19"], "resnet18"),
        (["--cases", "--far", "nowhere"], "nowhere"),
        (["--arms", "scratch,auto"], "unknown way to transfer 'auto'"),
    ],
)
def test_mistakes_are_told(command: list[str], given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.code_of([*command, *given]) == 2
    told = capsys.readouterr().err
    assert said in told and "fix:" in told


def test_auto_is_not_named_as_what_would_do() -> None:
    with pytest.raises(NetwrightError) as told:
        recipes("photos", ["auto"], "w", ({}, None, None))
    assert "auto" not in told.value.fix.replace("--arms", "") and "finetune" in told.value.fix


def test_a_way_that_does_not_fit_is_told_before_others_train(
    command: list[str], weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command += ["--arms", "scratch,partial(last=99)", "--weights", weights]
    assert main.code_of(command) == 2
    said = capsys.readouterr()
    assert "last cannot be 99" in said.err and said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_is_told_before_training(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    assert main.code_of([*command, "--arms", "scratch"]) == 2
    said = capsys.readouterr()
    assert "is no folder" in said.err and said.out == ""


def test_a_missing_weight_names_the_other_ways_out() -> None:
    with pytest.raises(NetwrightError) as told:
        recipes("photos", ["scratch", "finetune"], None, ({}, None, None))
    assert "--weights FILE" in told.value.fix and "--cases" in told.value.fix
