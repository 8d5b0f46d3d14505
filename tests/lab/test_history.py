"""`history`: one protocol for all, nothing repeated, nothing lost, and differences told with their intervals."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netwright.cli.main import code_of
from netwright.core.errors import Interrupted, NetwrightError
from netwright.engine.loop import Watcher
from netwright.engine.run import Run
from netwright.lab import history as lab
from netwright.lab.history import Told, history, plan, summary
from netwright.recipes._recipe import Recipe, recipe
from netwright.report.history import legend, meaning, rows_of

MODELS = ["resnet20(width=4)", "lenet5(modern=True)"]


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Bright or dark squares in noise, as an .npz with its splits."""
    draw, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 64), ("val", 24), ("test", 24)):
        labels = np.arange(n) % 2
        images = draw.integers(0, 120, (n, 16, 16, 3)).astype(np.uint8)
        images[labels == 1, 4:12, 4:12] += 100
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    np.savez(tmp_path / "squares.npz", **arrays)
    return tmp_path / "squares.npz"


def protocol(data: Path, **values: Any) -> Recipe:
    return recipe("history", data=str(data), epochs=2, batch_size=16, device="cpu", threads=1, **values)


class StopAfter(Watcher):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def stepped(self, run: Run) -> None:
        if run.step == self.steps:
            run.interrupted = 130


def test_only_model_and_seed_differ(squares: Path) -> None:
    base = protocol(squares, seed=3)
    runs = plan(base, MODELS, 2)
    assert [(run.model, run.seed) for run in runs] == [(model, seed) for model in MODELS for seed in (3, 4)]
    assert len({run.changed(model="lenet5", seed=0).key for run in runs}) == 1


@pytest.mark.parametrize(("models", "seeds"), [([], 1), (MODELS, 0), (["resnet19"], 1), (["resnet20(widht=4)"], 1)])
def test_nonsense_is_refused_before_anything_is_trained(squares: Path, models: list[str], seeds: int) -> None:
    with pytest.raises(NetwrightError):
        plan(protocol(squares), models, seeds)


def test_it_trains_compares_and_is_not_repeated(squares: Path, tmp_path: Path) -> None:
    known: list[Path] = []
    told = Told(known=lambda recipe, path: known.append(path))
    first = history(protocol(squares), MODELS, seeds=2, output=tmp_path / "out", told=told)
    assert not known
    assert [row["model"] for row in first["rows"]] == MODELS
    assert all(len(row["runs"]) == 2 and row["seed_sd"] is not None for row in first["rows"])
    assert all(row["params"] > 0 and row["macs"] > 0 and row["seconds"] > 0 for row in first["rows"])
    assert all(row["latency"]["low"] <= row["latency"]["median"] <= row["latency"]["high"] for row in first["rows"])
    assert first["split"] == "test" and first["rows"][0]["accuracy"]["n"] == 24
    for name in ("history.json", "history.html", "history.md", "history.png"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    again = history(protocol(squares), MODELS, seeds=2, output=tmp_path / "out", told=told)
    assert len(known) == 4
    assert [row["accuracy"] for row in again["rows"]] == [row["accuracy"] for row in first["rows"]]
    history(protocol(squares, lr=1e-3), MODELS[:1], output=tmp_path / "out", told=told)
    assert len(known) == 4, "another protocol is another run"


def test_other_data_under_the_same_name_is_trained_anew(squares: Path, tmp_path: Path) -> None:
    known: list[Path] = []
    told = Told(known=lambda recipe, path: known.append(path))
    history(protocol(squares), MODELS[:1], output=tmp_path / "out", told=told)
    arrays = dict(np.load(squares))
    arrays["x_train"] = arrays["x_train"][::-1].copy()
    np.savez(squares, **arrays)
    history(protocol(squares), MODELS[:1], output=tmp_path / "out", told=told)
    assert not known


def test_an_interrupted_history_goes_on(squares: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        history(protocol(squares), MODELS, output=out, told=Told(watcher=lambda: StopAfter(3)))
    found = history(protocol(squares), MODELS, output=out)
    assert len(list(out.glob("*/record.json"))) == 2, "the stopped run was finished, not made again"
    untouched = history(protocol(squares), MODELS, output=tmp_path / "whole")
    assert [row["accuracy"] for row in found["rows"]] == [row["accuracy"] for row in untouched["rows"]]


def test_a_model_that_cannot_be_trained_is_said_and_left_out(squares: Path, tmp_path: Path) -> None:
    failed: list[str] = []
    told = Told(failed=lambda recipe, error: failed.append(recipe.model))
    found = history(protocol(squares), [*MODELS[:1], "resnet18"], output=tmp_path / "out", told=told)
    assert failed == ["resnet18"]
    assert "at least 32x32" in found["problems"]["resnet18"]
    assert [row["model"] for row in found["rows"]] == MODELS[:1]
    assert "at least 32x32" in (tmp_path / "out" / "history.html").read_text()
    with pytest.raises(NetwrightError, match="no model could be trained"):
        history(protocol(squares), ["resnet18"], output=tmp_path / "none")


def reading(correct: np.ndarray) -> Any:
    values = {("model", "params"): 1, ("model", "macs"): 2, ("seconds",): 3.0, ("data", "name"): "d"}
    evaluation = SimpleNamespace(correct=correct)
    folder = SimpleNamespace(name="run")
    return SimpleNamespace(at=lambda *keys: values.get(keys), evaluation=evaluation, folder=folder, split="test")


def test_differences_are_paired_picture_by_picture(squares: Path) -> None:
    best = np.arange(400) < 300
    # Wrong on the same pictures and 12 more: paired this is clear, though the two intervals overlap.
    close = np.arange(400) < 288
    equal = np.roll(best, 20)  # as often right, on other pictures
    latency = {name: [1.0, 2.0, 3.0, 4.0] for name in ("best", "close", "equal")}
    finished = {"best": [reading(best)], "close": [reading(close)], "equal": [reading(equal)]}
    found = summary(protocol(squares), finished, latency)
    rows = {row["model"]: row for row in found["rows"]}
    assert found["best"] == "best"
    assert rows["close"]["behind"]["value"] == pytest.approx(0.03)
    assert 0 < rows["close"]["behind"]["low"] < 0.03 < rows["close"]["behind"]["high"]
    assert rows["close"]["accuracy"]["high"] > rows["best"]["accuracy"]["low"]
    assert rows["equal"]["behind"]["low"] < 0 < rows["equal"]["behind"]["high"]
    assert "more often than 1 of 2. Not told apart from it: equal." in meaning(found)
    assert "One seed" in meaning(found)
    assert rows["best"]["seed_sd"] is None
    assert "between seeds" not in rows_of(found)[0]
    assert "1 seed;" in legend(found)


def test_seeds_are_averaged_picture_by_picture() -> None:
    one, other = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert lab.correctness([reading(one), reading(other)]).tolist() == [1.0, 0.5, 0.5, 0.0]


def test_default_models_exist(squares: Path) -> None:
    for models in (lab.FOR_SMALL, lab.FOR_PHOTOS):
        assert len(plan(protocol(squares), models, 1)) == len(models) >= 6


def test_the_verb(squares: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["history", str(squares), "-o", str(tmp_path / "out"), "--epochs", "1", "--device", "cpu"]
    command += [part for model in MODELS for part in ("-m", model)]
    assert code_of(command) == 0
    said = capsys.readouterr().out
    assert all(model in said for model in MODELS)
    assert "history.html" in said
    assert code_of([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["model"] == MODELS[0]
    assert code_of(["history", str(squares), "-m", "resnet19"]) == 2
    assert "did you mean" in capsys.readouterr().err
