"""The verb `study`: flags become a study's options, and mistakes are told before anything is trained."""

import json
from pathlib import Path

import numpy as np
import pytest

from netwright.cli.main import code_of


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    draw, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 64), ("val", 16), ("test", 16)):
        labels = np.arange(n) % 4
        images = draw.integers(0, 120, (n, 16, 16, 3)).astype(np.uint8)
        images += (40 * labels).astype(np.uint8)[:, None, None, None]
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    np.savez(tmp_path / "pictures.npz", **arrays)
    return tmp_path / "pictures.npz"


def command(*words: object) -> list[str]:
    return ["study", *map(str, words), "--model", "resnet20(width=4, blocks=1)", "--epochs", "1", "--device", "cpu"]


def test_a_study_from_the_command_line(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = command("continual", pictures, "--base", 2, "--step", 1, "--memory", 2, "--seeds", 1, "-o", out)
    words += ["--strategies", "finetune,distilled", "--per-class", "10"]
    assert code_of(words) == 0
    said = capsys.readouterr().out
    assert "1 of 5: base, 2 classes, seed 0" in said
    assert "After the last step, with all 4 classes, 2 pictures kept of each older class" in said
    assert str(out / "study.html") in said
    assert code_of([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["study"] == "continual(base=2, memory=2, seeds=1, step=1, strategies=('finetune', 'distilled'))"
    assert found["pictures"]["train"] == 40


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["continul"], "did you mean 'continual'"),
        (["transferability", "--memory", "3"], "unknown option of transferability 'memory'"),
        (["continual", "--base", "many"], "continual: base cannot be 'many'"),
        (["continual", "--base", "9"], "leaves nothing to learn"),
        (["continual", "--strategies", "frozn"], "did you mean 'frozen'"),
        (["continual", "--with", "mixup"], "mixup changes targets"),
        (["continual", "--set", "task=multi_label"], "studies are for classification"),
    ],
)
def test_mistakes_are_told(
    pictures: Path, tmp_path: Path, words: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *flags = words
    assert code_of([*command(name, pictures, "-o", tmp_path / "out"), *flags]) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["file", "file/deeper"])
def test_a_folder_that_cannot_be_is_told_before_training(
    pictures: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert code_of(command("continual", pictures, "-o", tmp_path / place)) == 2
    said = capsys.readouterr()
    assert f"{tmp_path / 'file'} is no folder" in said.err and "--output FOLDER" in said.err
    assert said.out == "", "nothing was trained"
    assert (tmp_path / "file").read_text() == "mine"


def test_classes_without_a_test_picture_are_named_before_training(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = dict(np.load(pictures))
    left = arrays["y_test"] != 2
    np.savez(pictures, **arrays | {"x_test": arrays["x_test"][left], "y_test": arrays["y_test"][left]})
    # In one order or another class 2 comes by itself, and then nothing of it could be measured.
    assert code_of(command("continual", pictures, "--base", 2, "--seeds", 9, "-o", tmp_path / "out")) == 2
    said = capsys.readouterr()
    assert "class 2 has no test picture" in said.err and "give one in test" in said.err
    assert said.out == ""
    assert not (tmp_path / "out").exists()
