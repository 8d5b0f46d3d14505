"""What `auto` measures, what it concludes from that, and that it says what it does not know."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from netwright.core.errors import NetwrightError
from netwright.data import Data
from netwright.lab.domain_shift import OWN_MOMENTS, REFRESHED
from netwright.lab.transfer_auto import Auto, Measured, Plan, Speed, auto, first_parts, planned
from netwright.lab.transfer_shift import learnt
from netwright.lab.transfer_words import words
from netwright.lab.trial import Trial, Trials, data_of
from netwright.models import create_model
from netwright.nn.weight_standard import StandardConv2d
from netwright.recipes._recipe import Recipe
from netwright.recipes._transfer import transfer_recipe

MODEL = "resnet20(width=4)"
PLAN = Plan(48, 4, 2, 1, 1)
HALF = Plan(100, 5, 5, 10, 20)  # half the epochs on all pictures


def answers(right: int, n: int = 100) -> NDArray[np.float64]:
    """So many ones first: the answers of the better hold those of the worse."""
    return (np.arange(n) < right).astype(float)


def found(features: int, random: int, finetune: int, plan: Plan = HALF) -> Auto:
    ways = {"features": features, "random_features": random, "finetune": finetune}
    return Auto(plan, *(Measured(way, answers(right), 1.0) for way, right in ways.items()))


class TestPick:
    def test_a_better_fine_tune_is_taken(self) -> None:
        one = found(60, 30, 80)
        assert (one.way, one.resolved) == ("finetune", True)
        assert any("the fine-tune is better" in line for line in words(one))

    def test_better_features_are_taken(self) -> None:
        one = found(80, 30, 60)
        assert (one.way, one.resolved) == ("features", True)
        assert any("features are better and are taken" in line for line in words(one))

    @pytest.mark.parametrize("finetune", [60, 61, 59, 62])
    def test_what_is_not_resolved_is_said_and_the_cheaper_taken(self, finetune: int) -> None:
        one = found(60, 30, finetune)
        assert (one.way, one.resolved) == ("features", False)
        assert any("not resolved, so the cheaper is taken: features" in line for line in words(one))

    @pytest.mark.parametrize("plan", [Plan(100, 5, 5, 5, 20), Plan(100, 5, 5, 20, 20, cut=True)])
    def test_a_fine_tune_that_was_too_short_to_lose_is_not_resolved(self, plan: Plan) -> None:
        one = found(80, 30, 60, plan)
        assert (one.way, one.resolved) == ("features", False)
        assert any("not resolved is what a whole one is worth" in line for line in words(one))
        assert found(60, 30, 80, plan).resolved  # but one that wins although it is short wins

    def test_the_difference_is_paired(self) -> None:
        one = found(60, 30, 70)
        assert one.difference.value == pytest.approx(0.1)
        assert 0.04 < one.difference.low < one.difference.high < 0.18  # unpaired it would reach below 0

    def test_features_no_better_than_random_ones_are_told(self) -> None:
        assert found(60, 30, 60).transfers
        one = found(30, 30, 80)
        assert not one.transfers
        assert any("transfer no better than random ones here" in line for line in words(one))


class TestPlan:
    def test_all_parts_and_all_epochs_where_there_is_time(self) -> None:
        assert planned(100, 20, speed=Speed(1000), seconds=60, classes=5) == Plan(100, 5, 5, 20, 20)

    def test_as_many_epochs_as_the_time_allows(self) -> None:
        # 5 parts of 80 pictures: 6000 passes are 15 epochs
        assert planned(100, 20, speed=Speed(100), seconds=60, classes=5) == Plan(100, 5, 5, 15, 20)

    def test_fewer_parts_rather_than_less_than_half_the_epochs(self) -> None:
        # 20,000 passes: 5 parts have 5 epochs, 3 parts 8, 2 parts 12
        assert planned(1000, 20, speed=Speed(100), seconds=200, classes=5) == Plan(1000, 5, 2, 12, 20)

    def test_fewer_pictures_where_one_part_takes_too_long(self) -> None:
        # 4000 passes in 10 epochs are 400 pictures, with a fifth held out 500
        assert planned(10_000, 20, speed=Speed(100), seconds=40, classes=5) == Plan(500, 5, 1, 10, 20, cut=True)

    def test_ten_of_each_class_however_long_it_takes(self) -> None:
        assert planned(10_000, 20, speed=Speed(1), seconds=1, classes=40) == Plan(400, 5, 1, 10, 20, cut=True)

    def test_fifty_are_held_out_however_long_it_takes(self) -> None:
        assert planned(10_000, 20, speed=Speed(1), seconds=1, classes=5) == Plan(250, 5, 1, 10, 20, cut=True)
        assert planned(100, 20, speed=Speed(1), seconds=1, classes=5) == Plan(100, 5, 3, 10, 20)  # 60 of them

    def test_probes_have_to_be_paid_too(self) -> None:
        # 60 s, of which 2 probes of 100 pictures take 4 s on each of 5 parts: 40 s are left, 8 s a part
        assert planned(100, 20, Speed(100, probe=0.02), 60, classes=5) == Plan(100, 5, 5, 10, 20)
        # 5 parts have 6 s each, 4 have 10 s: 12 epochs of 80 pictures
        assert planned(100, 20, Speed(100, probe=0.02), 56, classes=5) == Plan(100, 5, 4, 12, 20)

    def test_no_number_of_seconds_is_too_large(self) -> None:
        assert planned(100, 20, Speed(1e6), 1e308, classes=5) == Plan(100, 5, 5, 20, 20)

    @pytest.mark.parametrize("seconds", [1, 10, 100, 1000])
    def test_it_costs_what_is_given_unless_that_is_less_than_the_least(self, seconds: float) -> None:
        plan = planned(500, 20, speed=Speed(50), seconds=seconds, classes=4)
        passes = plan.pictures * 4 / 5 * plan.parts * plan.epochs
        least = 4 * (50 + plan.pictures / 5) * 10  # each that is held out asks for four to learn from, 10 epochs long
        assert passes <= max(seconds * 50, least)


class Noted(Trials):
    """Notes what is asked for, and knows the answers already."""

    def __init__(self, right: dict[str, float]) -> None:
        super().__init__()
        self.right = right
        self.asked: list[tuple[Recipe, Data, dict[str, Any]]] = []

    def run(self, recipe: Recipe, data: Data, **given: Any) -> Trial:
        self.asked.append((recipe, data, given))
        n = len(data.splits["test"])
        correct = answers(round(self.right[recipe.name] * n), n)
        return Trial(correct, data.splits["test"].labels, data.splits["test"].labels, 1.0, 100.0)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(create_model(MODEL, classes=3, in_channels=3).state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


def recipes(photos: Path, weights: Path, **changes: Any) -> Any:
    def recipe_of(way: str) -> Recipe:
        given = None if way == "random_features" else str(weights)
        base = transfer_recipe(way, given).changed(data=str(photos), model=MODEL, image_size=16, threads=1)
        return base.changed(**changes) if changes else base

    return recipe_of


class TestMeasuring:
    def test_all_ways_on_the_same_parts_and_never_on_test_pictures(self, photos: Path, weights: Path) -> None:
        recipe_of, noted = recipes(photos, weights), Noted({"features": 0.9, "random_features": 0.1, "finetune": 0.9})
        data = data_of(recipe_of("features"))
        auto(recipe_of, data, plan=PLAN, trials=noted)
        parts: dict[str, list[str]] = {}
        for recipe, part, given in noted.asked:
            if "network" not in given:  # statistics mended
                parts.setdefault(recipe.name, []).append(part.fingerprint)
            assert not {*part.splits["train"].ids, *part.splits["test"].ids} & {*data.splits["test"].ids}
            assert "val" not in part.splits
        assert parts["features"] == parts["random_features"] == parts["finetune"]
        assert len(parts["features"]) == PLAN.parts

    def test_the_speed_decides_on_the_plan(self, photos: Path, weights: Path) -> None:
        recipe_of, noted = recipes(photos, weights), Noted({"features": 0.9, "random_features": 0.1, "finetune": 0.9})
        one = auto(recipe_of, data_of(recipe_of("features")), budget=1000, trials=noted)
        full = recipe_of("finetune").epochs
        assert one.plan == Plan(48, 5, 5, full, full)

    def test_stages_are_measured_only_where_features_do_not_transfer(self, photos: Path, weights: Path) -> None:
        recipe_of = recipes(photos, weights)
        data = data_of(recipe_of("features"))
        good, bad = ({"features": share, "random_features": 0.4, "finetune": 0.9} for share in (1.0, 0.4))
        assert not auto(recipe_of, data, plan=PLAN, trials=Noted(good)).stages
        one = auto(recipe_of, data, plan=PLAN, budget=1000, trials=Noted(bad))
        assert one.skipped == ()
        assert [each.way for each in one.stages] == [f"features(stage={stage})" for stage in range(3)]

    def test_what_is_odd_is_measured_on_as_much_as_a_quarter_of_the_budget_allows(
        self, photos: Path, weights: Path
    ) -> None:
        recipe_of, right = recipes(photos, weights), {"features": 0.4, "random_features": 0.4, "finetune": 0.4}
        data = data_of(recipe_of("features"))
        plan = Plan(48, 12, 12, 1, 1)  # 12 parts of 4 pictures, a second each; 3 stages
        least, all_ = (auto(recipe_of, data, plan=plan, budget=b, trials=Noted(right)) for b in (1, 1000))
        assert {len(stage.correct) for stage in all_.stages} == {48}
        assert least.stages == () and least.mended == {}  # a quarter of a second is not even one part
        assert "earlier stages" in least.skipped
        assert any("not measured for want of time" in line and "earlier stages" in line for line in words(least))
        assert first_parts(list(range(12)), replace(all_, plan=plan), 3, 48.0) == []  # 4 parts hold 16 out, of 50
        some = first_parts(list(range(12)), replace(all_, plan=Plan(600, 12, 12, 1, 1)), 3, 48.0)
        assert some == [0, 1, 2, 3]  # 3 stages of 4 parts take 12 s

    def test_probes_go_without_what_changes_pictures(self, photos: Path, weights: Path) -> None:
        plain, noted = recipes(photos, weights), Noted({"features": 0.4, "random_features": 0.4, "finetune": 0.4})
        told: list[str] = []
        how: dict[str, Any] = {"plan": PLAN, "budget": 1000, "trials": noted, "told": told.append}
        one = auto(lambda way: plain(way).with_("mixup", "rotate", "cutout"), data_of(plain("features")), **how)
        live = {"mixup", "rotate", "cutout"}
        for recipe, _, _ in noted.asked:
            names = {text.partition("(")[0] for text in recipe.tricks}
            assert (live <= names) if recipe.name == "finetune" else not (live & names)
            assert "label_smoothing" in names  # it changes targets alone
        assert one.stages and one.probes_without == ("cutout", "mixup", "rotate")
        assert one.to_json()["probes_without"] == ["cutout", "mixup", "rotate"]
        assert any("without cutout, mixup, rotate" in line for line in told)
        assert any("went without cutout, mixup, rotate" in line for line in words(one))

    def test_every_way_has_the_network_of_the_bundle(self, photos: Path, tmp_path: Path) -> None:
        source, noted = bundle(tmp_path, MODEL), Noted({"features": 0.4, "random_features": 0.4, "finetune": 0.4})
        recipe_of = recipes(photos, source, model="auto")
        auto(recipe_of, data_of(recipe_of("features")), budget=1000, trials=noted)
        assert {recipe.model for recipe, _, _ in noted.asked} == {MODEL}
        assert len({recipe.name for recipe, _, _ in noted.asked}) == 3

    def test_a_bundle_of_other_norms_is_measured_with_them(self, photos: Path, tmp_path: Path) -> None:
        trick = "weight_standardisation"
        source, noted = (
            bundle(tmp_path, MODEL, trick),
            Noted({"features": 0.4, "random_features": 0.1, "finetune": 0.4}),
        )
        plain = recipes(photos, source)
        data = data_of(plain("features"))

        def recipe_of(way: str) -> Recipe:  # under weights that stand still the trick is refused
            own = plain(way).with_(trick)
            return own.without("freeze") if "freeze" in own.tricks else own

        known = learnt(recipe_of("features"), data)
        assert known.made_by == (trick,)
        assert any(isinstance(layer, StandardConv2d) for layer in known.network.modules())
        one = auto(recipe_of, data, plan=PLAN, budget=1000, trials=noted)
        own = [(recipe, given) for recipe, _, given in noted.asked if "network" in given]
        assert len(own) == len(one.mended) * PLAN.parts > 0
        assert all(trick not in recipe.tricks and trick in given["made_from"] for recipe, given in own)

    def test_what_is_wrong_with_weights_is_told_before_anything_is_measured(self, photos: Path, weights: Path) -> None:
        noted = Noted({"features": 0.4, "random_features": 0.1, "finetune": 0.4})
        recipe_of = recipes(photos, weights, model="resnet20")
        with pytest.raises(NetwrightError):
            auto(recipe_of, data_of(recipe_of("features")), trials=noted)
        assert noted.asked == []

    def test_mended_probes_know_what_the_weights_hold(self, tmp_path: Path, weights: Path) -> None:
        photos, made_from = dark(tmp_path), []
        for seed in (0, 1):
            torch.manual_seed(seed)
            torch.save(create_model(MODEL, classes=3, in_channels=3).state_dict(), weights)
            recipe_of, noted = (
                recipes(photos, weights),
                Noted({"features": 0.9, "random_features": 0.1, "finetune": 0.9}),
            )
            auto(recipe_of, data_of(recipe_of("features")), plan=PLAN, budget=1000, trials=noted)
            made_from.append({given["made_from"] for _, _, given in noted.asked if "network" in given})
        assert all(len(each) == 2 for each in made_from)
        assert not made_from[0] & made_from[1]

    def test_early_stopping_is_left_out_for_it_would_choose_on_what_is_measured(
        self, photos: Path, weights: Path
    ) -> None:
        noted = Noted({"features": 0.9, "random_features": 0.1, "finetune": 0.9})
        plain = recipes(photos, weights)
        auto(lambda way: plain(way).with_("early_stopping"), data_of(plain("features")), plan=PLAN, trials=noted)
        assert not any("early_stopping" in " ".join(recipe.tricks) for recipe, _, _ in noted.asked)

    def test_end_to_end_with_dark_pictures(self, tmp_path: Path, weights: Path) -> None:
        photos = dark(tmp_path)
        recipe_of = recipes(photos, weights, epochs=1)
        one = auto(recipe_of, data_of(recipe_of("features")), plan=PLAN, budget=1000)
        assert one.shift is not None
        assert one.shift.inputs_differ
        assert set(one.mended) == {OWN_MOMENTS, REFRESHED}
        assert {len(each.correct) for each in (one.features, one.random, one.finetune, *one.mended.values())} == {24}
        told = "\n".join(words(one))
        assert "the input statistics differ from the pretraining's" in told
        assert one.to_json()["picked"] == one.way


class TestRefusals:
    def test_a_budget_that_is_none(self, photos: Path, weights: Path) -> None:
        recipe_of = recipes(photos, weights)
        for budget in (0, -1, math.inf, math.nan, 10**400):
            with pytest.raises(NetwrightError, match="budget cannot be"):
                auto(recipe_of, data_of(recipe_of("features")), budget=budget)

    def test_a_class_with_one_picture(self, photos: Path, weights: Path) -> None:
        for path in list((photos / "train" / "red").iterdir())[1:]:
            path.unlink()
        recipe_of = recipes(photos, weights)
        with pytest.raises(NetwrightError, match="class red has 1 training picture"):
            auto(recipe_of, data_of(recipe_of("features")), plan=PLAN)


def bundle(root: Path, spec: str, *structure: str) -> Path:
    """The weights and the card of a run of this model, under tricks that keep its tensors' names."""
    (root / "bundle").mkdir()
    torch.manual_seed(0)
    save_file(create_model(spec, classes=3).state_dict(), root / "bundle" / "model.safetensors")
    card = {
        "model": {"spec": spec, "structure": list(structure)},
        "classes": ["x", "y", "z"],
        "preprocess": {"mean": [0.9] * 3, "std": [0.1] * 3},
    }
    (root / "bundle" / "bundle.json").write_text(json.dumps(card))
    return root / "bundle"


def dark(root: Path) -> Path:
    """Noisy, nearly black pictures of two classes."""
    from tests.conftest import photo

    for side, n in (("train", 18), ("val", 6), ("test", 4)):
        for name, level in (("a", 4), ("b", 14)):
            for i in range(n):
                photo(root / "dark" / side / name / f"{i}.png", (level, level, level), 10 * i + level, (20, 20))
    return root / "dark"
