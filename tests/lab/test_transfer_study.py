"""The study of transfer: what is run, on which pictures, for how long, and what the numbers say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from netwright.core.errors import Interrupted, NetwrightError
from netwright.data import Data
from netwright.data.subset import some_of_each
from netwright.lab import transfer_cases as cases_
from netwright.lab import trial as trial_
from netwright.lab.transfer_cases import base_network, halves, read_tasks, transfer_cases
from netwright.lab.transfer_plan import LONGEST, epochs_for, read_arms, read_sizes, sizes_of
from netwright.lab.transfer_study import opened, prepared, summary, transfer_study, whole, write
from netwright.lab.trial import Trial, Trials
from netwright.models import create_model
from netwright.models._published import IMAGENET
from netwright.recipes._recipe import Recipe
from netwright.recipes._transfer import transfer_recipe
from netwright.tricks.head import Head

NAME = "resnet20(width=4)"
ARMS = ("scratch", "random_features", "features", "finetune")


def squares(path: Path, classes: int = 6, grey: bool = False) -> Path:
    """A bright square whose place is the class, in noise, as an .npz with its splits."""
    draw, arrays = np.random.default_rng(classes), {}
    for split, n in (("train", 12), ("val", 4), ("test", 6)):
        labels = np.repeat(np.arange(classes), n)
        images = draw.integers(0, 120, (len(labels), 16, 16, *(() if grey else (3,)))).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[label // 3 * 8 : label // 3 * 8 + 8, label % 3 * 5 : label % 3 * 5 + 5] += 100
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    np.savez(path, **arrays)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(3)
    save_file(create_model(NAME).state_dict(), tmp_path / "weights.safetensors")
    return str(tmp_path / "weights.safetensors")


def arms(data: Path, weights: str | None, names: tuple[str, ...] = ARMS, **values: Any) -> dict[str, Recipe]:
    how = {"data": str(data), "model": NAME, "epochs": 1, "batch_size": 8, "device": "cpu", "threads": 1} | values
    given = {name: weights or "base" if name in ("features", "finetune") else None for name in names}
    found = {name: transfer_recipe(name, given[name]).changed(**how) for name in names}
    return found if weights else {name: recipe.changed(weights=None) for name, recipe in found.items()}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Data]]:
    """What was trained rather than remembered."""
    trained: list[tuple[Recipe, Data]] = []
    measured = trial_.measured

    def counted(recipe: Recipe, data: Data, **given: Any) -> Any:
        trained.append((recipe, data))
        return measured(recipe, data, **given)

    monkeypatch.setattr(trial_, "measured", counted)
    monkeypatch.setattr(cases_, "measured", counted)
    return trained


class TestPlan:
    def test_sizes_are_read_in_order_and_once(self) -> None:
        assert read_sizes("20, 5,all,5") == [5, 20, None]

    @pytest.mark.parametrize("text", ["", ",", "5,-1", "0", "5.5", "many", "²"])
    def test_other_sizes_are_refused(self, text: str) -> None:
        with pytest.raises(NetwrightError, match="--sizes"):
            read_sizes(text)

    def test_commas_in_brackets_part_nothing(self) -> None:
        assert read_arms(["features(kind='mlp',hidden=8), partial(last=2)", "scratch,scratch"]) == [
            "features(hidden=8, kind='mlp')",
            "partial(last=2)",
            "scratch",
        ]
        with pytest.raises(NetwrightError, match="no arms"):
            read_arms([" ,"])

    def test_sizes_that_are_all_there_is_are_taken_once(self) -> None:
        known, told = sizes_of([10, 20, 30], [5, 20, 30, 50, None])
        assert [(size.name, size.pictures) for size in known] == [("5", 15), ("20", 50), ("all", 60)]
        assert known[1].per_class == pytest.approx(50 / 3)
        assert len(told) == 2 and "no class has more than 30" in told[0]

    @pytest.mark.parametrize(
        ("epochs", "n", "expected"),
        [
            (20, 50, 67),  # 3 updates an epoch: 67 make 201
            (20, 450, 20),  # 28 an epoch: 560 are enough
            (4, 50, LONGEST * 4),  # 120 updates, and no more
            (20, 10, 200),  # a batch is at most all pictures
        ],
    )
    def test_epochs_grow_as_pictures_shrink(self, epochs: int, n: int, expected: int) -> None:
        assert epochs_for(epochs, n, 16, 200) == expected

    def test_the_loader_makes_as_many_updates(self, tmp_path: Path) -> None:
        recipe = arms(squares(tmp_path / "six.npz"), None, epochs=2)["scratch"]
        found, part = prepared(recipe, opened(recipe), 3, 10)  # 18 pictures, 2 updates an epoch
        _, parts = trial_.measured(found, part)
        assert parts.run.steps == parts.run.step == 10


class TestCurves:
    def test_every_way_at_every_size_and_nothing_twice(
        self, tmp_path: Path, weights: str, runs: list[tuple[Recipe, Data]]
    ) -> None:
        data, trials = squares(tmp_path / "six.npz"), Trials(tmp_path / "trials")
        how: dict[str, Any] = {"sizes": [2, None], "seeds": 2, "updates": 4, "trials": trials}
        told: list[str] = []
        found = transfer_study(arms(data, weights), told=told.append, **how)
        assert len(runs) == len(told) == 16
        assert "16 of 16: finetune, all pictures a class, seed 1" in told
        assert [(row["arm"], row["size"]) for row in found["rows"]] == [
            (arm, size) for arm in ARMS for size in ("2", "all")
        ]
        assert {recipe.model for recipe, _ in runs} == {NAME} and {recipe.image_size for recipe, _ in runs} == {16}
        assert all("val" not in part.splits and len(part.splits["test"]) == 36 for _, part in runs)
        again = transfer_study(arms(data, weights), **how)
        assert len(runs) == 16
        assert json.dumps(again) == json.dumps(found)
        transfer_study(arms(data, weights), **how | {"seeds": 3})
        assert len(runs) == 24, "another seed is eight more"

    def test_a_seed_draws_the_same_for_every_way(
        self, tmp_path: Path, weights: str, runs: list[tuple[Recipe, Data]]
    ) -> None:
        transfer_study(arms(squares(tmp_path / "six.npz"), weights), sizes=[2, 4], seeds=2, updates=1, trials=Trials())
        drawn = {
            (recipe.name, recipe.seed, len(part.splits["train"])): frozenset(part.splits["train"].ids.tolist())
            for recipe, part in runs
        }
        for name in ARMS:
            for seed in (0, 1):
                assert drawn[name, seed, 12] == drawn["scratch", seed, 12] < drawn[name, seed, 24]
        assert drawn["scratch", 0, 12] != drawn["scratch", 1, 12]

    def test_other_weights_under_the_same_name_are_not_taken_for_them(
        self, tmp_path: Path, weights: str, runs: list[tuple[Recipe, Data]]
    ) -> None:
        how: dict[str, Any] = {"sizes": [2], "seeds": 1, "updates": 1, "trials": Trials(tmp_path / "trials")}
        both = arms(squares(tmp_path / "six.npz"), weights, ("scratch", "features"))
        transfer_study(both, **how)
        save_file(create_model(NAME).state_dict(), weights)
        transfer_study(both, **how)
        assert [recipe.name for recipe, _ in runs] == ["scratch", "features", "features"]

    def test_what_is_stopped_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: list[tuple[Recipe, Data]]
    ) -> None:
        one = arms(squares(tmp_path / "six.npz"), None, ("scratch", "random_features"))
        how: dict[str, Any] = {"sizes": [2], "seeds": 2, "updates": 1, "trials": Trials(tmp_path / "trials")}

        def stopped(words: str) -> None:
            if words.startswith("3"):
                raise Interrupted("stopped")

        with pytest.raises(Interrupted):
            transfer_study(one, told=stopped, **how)
        assert len(runs) == 2
        transfer_study(one, **how)
        assert len(runs) == 4

    def test_early_stopping_keeps_what_it_looks_at(self, tmp_path: Path) -> None:
        recipe = arms(squares(tmp_path / "six.npz"), None)["scratch"]
        data = opened(recipe)
        assert "val" not in prepared(recipe, data, None, 1)[1].splits
        assert "val" in prepared(recipe.with_("early_stopping"), data, None, 1)[1].splits

    def test_what_cannot_be_studied_is_refused(self, tmp_path: Path) -> None:
        data = squares(tmp_path / "six.npz")
        how: dict[str, Any] = {"sizes": [2], "trials": Trials()}
        with pytest.raises(NetwrightError, match="0 seeds"):
            transfer_study(arms(data, None, ("scratch",)), seeds=0, **how)
        with pytest.raises(NetwrightError, match="batch size of a study"):
            transfer_study(arms(data, None, ("scratch",), batch_size="largest"), **how)
        with pytest.raises(NetwrightError, match="at least 32x32"):
            transfer_study(arms(data, None, ("scratch",), model="resnet18"), **how)


def reached(*correct: np.ndarray) -> list[Trial]:
    zeros = np.zeros(len(correct[0]), np.int64)
    return [Trial(row.astype(float), zeros, zeros, 2.0, 100.0) for row in correct]


def test_differences_are_paired_and_crossings_found(tmp_path: Path) -> None:
    both = arms(squares(tmp_path / "six.npz"), "w", ("features", "finetune"))
    data = opened(both["features"])
    known, _ = sizes_of([100] * 6, [5, 20])
    rank = np.arange(300)

    def share(part: float) -> np.ndarray:
        return rank < 300 * part

    found = summary(
        {name: recipe.changed(image_size=16) for name, recipe in both.items()},
        data,
        known,
        {
            # Fine-tuning gets the same pictures right but for a twentieth: behind at 5, ahead at 20.
            "features": [
                reached(share(0.50), share(0.51), share(0.49)),
                reached(share(0.60), share(0.61), share(0.59)),
            ],
            "finetune": [
                reached(share(0.45), share(0.46), share(0.44)),
                reached(share(0.65), share(0.66), share(0.64)),
            ],
        },
    )
    assert [(each["size"], each["arm"], each["resolved"]) for each in found["differences"]] == [
        ("5", "features", True),
        ("20", "finetune", True),
    ]
    assert found["differences"][0]["difference"]["value"] == pytest.approx(0.05)
    (crossed,) = found["crossings"]
    assert (crossed["arm"], crossed["over"], crossed["kind"]) == ("finetune", "features", "crossing")
    assert crossed["value"] == pytest.approx(10, rel=0.05)  # in the middle of the logarithms
    assert 5 < crossed["low"] < 10 < crossed["high"] < 20
    row = found["rows"][0]
    assert row["accuracy"]["value"] == pytest.approx(0.5) and row["seed_sd"] == pytest.approx(0.01)
    # Accuracy itself is less sure than the paired difference.
    assert row["accuracy"]["high"] - row["accuracy"]["low"] > 0.1


class TestCases:
    def run(self, tmp_path: Path, weights: str | None, **given: Any) -> dict[str, Any]:
        how = {"seeds": 2, "updates": 2, "trials": Trials(tmp_path / "trials"), "output": tmp_path} | given
        return transfer_cases(arms(squares(tmp_path / "six.npz"), weights), **how)

    def test_all_five_and_their_controls(self, tmp_path: Path, runs: list[tuple[Recipe, Data]]) -> None:
        far = str(squares(tmp_path / "far.npz", classes=4, grey=True))
        found = self.run(tmp_path, None, far=far, per_class=3)
        assert [(row["task"], row["arm"]) for row in found["rows"]] == [("same task", "base")] + [
            (task, arm) for arm in ("features", "finetune", "random_features", "scratch") for task in ("near", "far")
        ]
        assert [row["n"] for row in found["rows"][:3]] == [18, 18, 24]
        assert [row["chance"] for row in found["rows"][:3]] == [1 / 3, 1 / 3, 1 / 4]
        assert found["tasks"]["near"] == {"data": "six", "classes": ["1", "3", "5"], "pictures": 9}
        assert found["tasks"]["base"]["classes"] == ["0", "2", "4"]
        assert found["tasks"]["far"]["pictures"] == 12
        handed = {recipe.seed: recipe.weights for recipe, _ in runs if recipe.name == "features"}
        assert handed[0] != handed[1], "every seed has a base network of its own"
        assert all(recipe.weights is None for recipe, _ in runs if recipe.name in ("scratch", "random_features"))
        assert {recipe.channels for recipe, _ in runs} == {3}
        total = len(runs)
        assert self.run(tmp_path, None, far=far, per_class=3)["rows"] == found["rows"]
        assert len(runs) == total

    def test_the_handed_on_network_sees_what_it_was_trained_on(self, tmp_path: Path) -> None:
        """The weights file says nothing of moments, so that it is read as ImageNet's: and so the base is trained."""
        tasks, named = read_tasks(arms(squares(tmp_path / "six.npz"), None), None, None)
        assert tasks.base is not None
        assert (tasks.base.preprocess.mean, tasks.base.preprocess.std) == IMAGENET[:2]
        file, trial = base_network(named["scratch"], tasks.base, tmp_path, 2)
        recipe, part = prepared(named["features"].changed(weights=file), tasks.others["near"], None, 2)
        _, parts = trial_.measured(recipe, part)
        assert (tuple(parts.run.normalise.mean), tuple(parts.run.normalise.std)) == IMAGENET[:2]
        # The backbone is the base network's, and the same pictures give the base's own accuracy again.
        fresh = Head(norm="batch", power=0.5).model(create_model(NAME, classes=3)).eval()
        fresh.load_state_dict(load_file(file))
        test = tasks.base.splits["test"]
        images = torch.from_numpy(np.asarray(test.images[:])).permute(0, 3, 1, 2)
        guesses = fresh(parts.run.normalise(images)).argmax(1)
        assert guesses.tolist() == trial.guesses.tolist()

    def test_given_weights_are_handed_on_and_have_no_task_here(self, tmp_path: Path, weights: str) -> None:
        found = self.run(tmp_path, weights, seeds=1)
        assert [(row["task"], row["arm"]) for row in found["rows"]] == [
            ("near", arm) for arm in ("features", "finetune", "random_features", "scratch")
        ]
        assert found["rows"][0]["n"] == 36 and found["weights"] == weights
        assert any("far task: left out" in words for words in found["notes"])
        assert any("given weights were trained on are not here" in words for words in found["notes"])

    def test_a_near_task_of_its_own_leaves_all_classes_to_the_base(self, tmp_path: Path) -> None:
        near = squares(tmp_path / "near.npz", classes=2)
        tasks, _ = read_tasks(arms(squares(tmp_path / "five.npz", classes=5), None), str(near), None)
        assert tasks.base is not None and len(tasks.base.classes) == 5
        assert len(tasks.others["near"].classes) == 2

    def test_too_few_classes_to_halve_are_refused(self, tmp_path: Path) -> None:
        data = opened(arms(squares(tmp_path / "five.npz", classes=5), None)["scratch"])
        with pytest.raises(NetwrightError, match="has 5 classes"):
            halves(data)


def test_everything_is_written(tmp_path: Path, weights: str) -> None:
    data = squares(tmp_path / "six.npz")
    how: dict[str, Any] = {"seeds": 1, "updates": 1, "trials": Trials(tmp_path / "trials")}
    study = transfer_study(arms(data, weights, ("scratch", "features")), sizes=[2], **how)
    found = whole(study, transfer_cases(arms(data, weights), output=tmp_path, **how))
    assert set(found["protocol"]["recipes"]) == set(ARMS)
    page = write(found, tmp_path / "out")
    assert page.name == "transfer_study.html"
    for end in ("json", "md", "png", "html"):
        assert (tmp_path / "out" / f"transfer_study.{end}").stat().st_size > 300
    assert json.loads((tmp_path / "out" / "transfer_study.json").read_text())["format"] == 1


def test_parts_of_some_of_each_are_what_is_trained_on(tmp_path: Path) -> None:
    recipe = arms(squares(tmp_path / "six.npz"), None)["scratch"].changed(seed=4)
    data = opened(recipe)
    _, part = prepared(recipe, data, 3, 1)
    assert part.fingerprint == some_of_each(data, 3, 4).fingerprint


@pytest.mark.data
def test_learnt_features_beat_random_ones_on_five_photos_a_class(tmp_path: Path, real_data: Path) -> None:
    file = str(real_data / "weights" / "squeezenet1_0-imagenet-dc.pth")
    how: dict[str, Any] = {"model": "squeezenet1_0", "image_size": 64, "epochs": 60, "batch_size": "auto"}
    both = arms(real_data / "clothing", file, ("features", "random_features"), **how)
    found = transfer_study(both, sizes=[5], seeds=1, trials=Trials(tmp_path))
    (ahead,) = found["differences"]
    assert (ahead["arm"], ahead["resolved"]) == ("features", True)
    assert found["n"] == 214
