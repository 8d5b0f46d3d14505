"""`--transfer auto` from the command line: options are checked first, each way gets what the user asked for."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.cli import _transfer, train
from netwright.cli._transfer import auto_recipe, budget, is_auto, recipes
from netwright.core.errors import Interrupted, NetwrightError
from netwright.lab import transfer_auto, trial
from netwright.lab.transfer_auto import Auto, Measured, Plan
from netwright.recipes._recipe import recipe


@pytest.mark.parametrize(
    ("given", "expected"), [("auto", True), ("auto(budget=5)", True), ("features", False), (None, False)]
)
def test_auto_is_told_from_the_ways(given: str | None, expected: bool) -> None:
    assert is_auto(given) is expected


class TestOptions:
    def test_the_budget_in_seconds(self) -> None:
        assert budget("auto(budget=30)") == 30
        assert budget("auto") is None

    @pytest.mark.parametrize(
        "given",
        [
            "auto(budget=0)",
            "auto(budget=-1)",
            "auto(budget='long')",
            "auto(budget=True)",
            "auto(budget=1e400)",
            f"auto(budget=1{'0' * 400})",
        ],
    )
    def test_a_budget_that_is_none(self, given: str) -> None:
        with pytest.raises(NetwrightError, match="budget cannot be"):
            budget(given)

    def test_the_nearest_option_is_told(self) -> None:
        with pytest.raises(NetwrightError, match="option of auto 'budgets'") as told:
            budget("auto(budgets=3)")
        assert "did you mean 'budget'" in told.value.fix

    def test_weights_are_wanted_first(self) -> None:
        with pytest.raises(NetwrightError, match="auto has nothing to transfer"):
            auto_recipe("photos", {}, None, None)


class TestRecipes:
    def test_the_control_gets_no_weights_and_all_the_rest(self) -> None:
        recipe_of = recipes("photos", {"weights": "w.pt", "model": "resnet20", "epochs": 3}, None, None)
        assert [recipe_of(way).weights for way in ("features", "random_features", "finetune")] == ["w.pt", None, "w.pt"]
        assert {recipe_of(way).epochs for way in ("features", "random_features", "finetune")} == {3}

    def test_a_trick_is_taken_out_where_it_is(self) -> None:
        recipe_of = recipes("photos", {"weights": "w.pt"}, None, ["flip"])
        assert "flip" not in recipe_of("finetune").tricks
        assert recipe_of("features").tricks == recipes("photos", {"weights": "w.pt"}, None, None)("features").tricks

    def test_a_trick_that_no_way_has_cannot_be_taken_out(self) -> None:
        with pytest.raises(NetwrightError, match="trick to leave out 'flop'"):
            recipes("photos", {"weights": "w.pt"}, None, ["flop"])

    def test_tricks_are_added_to_every_way(self) -> None:
        recipe_of = recipes("photos", {"weights": "w.pt"}, ["grad_clip"], None)
        assert all("grad_clip" in recipe_of(way).tricks for way in ("features", "random_features", "finetune"))


@pytest.mark.parametrize("as_json", [False, True])
def test_the_recipe_that_is_picked_comes_back_and_what_was_measured(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ways = [Measured(way, (np.arange(100) < n).astype(float), 1.0) for way, n in WAYS.items()]

    def known(recipe_of: Any, data: Any, *, budget: float, told: Any) -> Auto:
        told(f"in {budget:g} s")
        return Auto(Plan(100, 5, 5, 10, 20), *ways)

    monkeypatch.setattr(transfer_auto, "auto", known)
    monkeypatch.setattr(trial, "data_of", lambda recipe: None)
    chosen, document = auto_recipe("photos", {"weights": "w.pt"}, None, None, "auto(budget=7)", as_json=as_json)
    assert (chosen.name, document["picked"], document["resolved"]) == ("finetune", "finetune", True)
    told = capsys.readouterr().out
    assert told == "" if as_json else "in 7 s" in told and "the fine-tune is better and is taken" in told


@pytest.mark.parametrize("ending", [None, Interrupted("stopped"), NetwrightError("no room")])
def test_what_was_measured_is_kept_however_the_run_ends(
    ending: Exception | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "runs" / "run"

    def trained(*_: Any) -> Path:
        if ending:
            raise ending
        run.mkdir()
        return run

    monkeypatch.setattr(train, "auto_recipe", lambda *_, **__: (recipe("digits"), {"picked": "features"}))
    monkeypatch.setattr(train, "run_to_the_end", trained)
    with pytest.raises(type(ending)) if ending else nullcontext():
        train.train_measured("digits", None, {}, None, None, "auto", tmp_path / "runs", False)
    beside = list((tmp_path / "runs").glob("auto-*.json"))
    (place,) = beside if ending else [run / "auto.json"]
    assert json.loads(place.read_text()) == {"picked": "features"}
    assert bool(beside) == bool(ending)


WAYS = {"features": 60, "random_features": 30, "finetune": 80}


def test_nothing_heavy_is_loaded_with_the_module() -> None:
    source = Path(_transfer.__file__).read_text("utf-8")
    assert "\nimport torch" not in source
    assert "\nfrom netwright.lab" not in source
