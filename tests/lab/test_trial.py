"""Trials: what a run reached, remembered, and run anew as soon as anything that decides it is another."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from netwright.core.errors import EXIT_INTERRUPTED, Interrupted, NetwrightError
from netwright.data import Data, from_arrays
from netwright.data.subset import some_of_each
from netwright.lab import trial as lab
from netwright.lab.trial import Trial, Trials, contents, measured
from netwright.models import create_model
from netwright.recipes._fit import fit
from netwright.recipes._recipe import Recipe, recipe
from netwright.tasks import TASKS

NAME = "resnet20(width=4)"


def squares(*sides: str) -> Data:
    """Bright or dark squares in noise."""
    draw, given = np.random.default_rng(0), {}
    for side, n in (("train", 48), ("val", 20), ("test", 24)):
        labels = np.arange(n) % 2
        images = draw.integers(0, 120, (n, 16, 16, 3)).astype(np.uint8)
        images[labels == 1, 4:12, 4:12] += 100
        given[side] = (images, labels)
    return from_arrays(**{side: given[side] for side in sides}, classes=("dark", "bright"))


@pytest.fixture
def data() -> Data:
    return squares("train", "val", "test")


def small(**values: object) -> Recipe:
    how = {"data": "", "model": NAME, "epochs": 2, "batch_size": 16, "device": "cpu", "threads": 1}
    return recipe("modern", **how | values)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that were trained rather than remembered."""
    trained: list[Recipe] = []

    def counted(recipe: Recipe, *args: object, **given: object) -> object:
        trained.append(recipe)
        return measured(recipe, *args, **given)

    monkeypatch.setattr(lab, "measured", counted)
    return trained


def same(one: Trial, other: Trial) -> bool:
    return np.array_equal(one.guesses, other.guesses) and np.array_equal(one.labels, other.labels)


def test_it_says_of_every_picture_what_was_guessed(data: Data) -> None:
    found = Trials().run(small(), data)
    assert found.labels.tolist() == data.splits["test"].labels.tolist()
    assert found.correct.tolist() == (found.guesses == found.labels).astype(float).tolist()
    assert found.accuracy == pytest.approx(found.correct.mean())
    assert found.seconds > 0 and found.images_per_second > 0


def test_it_reaches_what_fit_reaches(data: Data, tmp_path: Path) -> None:
    run = fit(small(), data=data, output=tmp_path)
    found = Trials().run(small(), data)
    assert found.accuracy == pytest.approx(run.accuracy)


def test_what_is_remembered_is_not_run_again(data: Data, tmp_path: Path, runs: list[Recipe]) -> None:
    first = Trials(tmp_path).run(small(), data)
    again = Trials(tmp_path).run(small(), data)
    assert len(runs) == 1
    assert same(first, again)
    assert (first.seconds, first.images_per_second) == (again.seconds, again.images_per_second)
    assert again.correct.tolist() == first.correct.tolist()
    Trials().run(small(), data)
    assert len(runs) == 2, "without a folder nothing is remembered"


def test_whatever_decides_a_result_is_part_of_what_is_remembered(
    data: Data, tmp_path: Path, runs: list[Recipe]
) -> None:
    trials = Trials(tmp_path)
    trials.run(small(), data)
    for number, (recipe_, data_, given) in enumerate(
        [
            (small(seed=1), data, {}),
            (small(lr=1e-4), data, {}),
            (small(), some_of_each(data, 8), {}),
            (small(), data, {"split": "val"}),
            (small(), data, {"made_from": "other weights"}),
        ],
        2,
    ):
        trials.run(recipe_, data_, **given)
        assert len(runs) == len(list(tmp_path.glob("*.json"))) == number
    trials.run(small(workers=1), data)
    assert len(runs) == 6, "how fast it is computed changes nothing"


def test_what_weights_hold_is_part_of_what_is_remembered_and_not_where_they_lie(
    data: Data, tmp_path: Path, runs: list[Recipe]
) -> None:
    def file(name: str, seed: int) -> str:
        torch.manual_seed(seed)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save_file(create_model(NAME, classes=2).state_dict(), tmp_path / name)
        return str(tmp_path / name)

    trials = Trials(tmp_path / "trials")
    trials.run(small(epochs=1, weights=file("one.safetensors", 0)), data)
    trials.run(small(epochs=1, weights=file("copy.safetensors", 0)), data)
    assert len(runs) == 1
    trials.run(small(epochs=1, weights=file("one.safetensors", 1)), data)
    assert len(runs) == 2, "the same name, and other tensors"
    file("bundle/model.safetensors", 0)
    for mean in (0.4, 0.5):
        card = {"model": {"spec": NAME}, "preprocess": {"mean": [mean] * 3, "std": [0.2] * 3}}
        (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(card))
        trials.run(small(epochs=1, weights=str(tmp_path / "bundle")), data)
    assert len(runs) == 4, "the same tensors, and a card with other moments"


def test_what_is_fetched_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").write_text("a file of this name is not what is meant")
    assert [contents(name) for name in (None, "imagenet", "hf-hub:a/b", "gone.pt")] == [
        "",
        "imagenet",
        "hf-hub:a/b",
        "gone.pt",
    ]


def test_a_network_or_task_of_its_own_has_to_say_what_it_is_made_from(
    data: Data, tmp_path: Path, runs: list[Recipe]
) -> None:
    trials = Trials(tmp_path)
    for given in (
        {"network": lambda: create_model(NAME, classes=2)},
        {"task": TASKS.load("classification")(classes=2)},
    ):
        with pytest.raises(ValueError, match="made_from"):
            trials.run(small(epochs=1), data, **given)
    assert not runs


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"guesses": [0]}', '{"guesses": "x", "labels": [1]}'])
def test_what_cannot_be_read_is_run_again(data: Data, tmp_path: Path, runs: list[Recipe], text: str) -> None:
    Trials(tmp_path).run(small(epochs=1), data)
    place = next(tmp_path.glob("*.json"))
    place.write_text(text)
    found = Trials(tmp_path).run(small(epochs=1), data)
    assert len(runs) == 2
    assert json.loads(place.read_text())["guesses"] == found.guesses.tolist()


def test_without_a_test_split_it_is_validation(tmp_path: Path) -> None:
    whole = squares("train", "val", "test")
    data = replace(whole, splits={side: whole.splits[side] for side in ("train", "val")})
    found = Trials(tmp_path).run(small(epochs=1), data)
    assert found.labels.tolist() == data.splits["val"].labels.tolist()


def test_a_split_that_is_not_there_is_told(data: Data) -> None:
    for sides, asked in ((("train", "test"), "val"), (("train",), "test")):
        less = replace(data, splits={side: data.splits[side] for side in sides})
        for run in (Trials().run, measured):
            with pytest.raises(NetwrightError, match=f"has no {asked} split") as told:
                run(small(epochs=1), less, split=asked)
            assert ("test" if asked == "val" else "val_fraction") in told.value.fix


def test_a_network_of_ones_own_is_trained(data: Data) -> None:
    built: list[nn.Module] = []

    def network() -> nn.Module:
        built.append(create_model(NAME, classes=2))
        return built[-1]

    before = create_model(NAME, classes=2).state_dict()
    _, parts = measured(small(), data, network=network)
    assert parts.run.model is built[0]
    assert any(not torch.equal(parts.run.model.state_dict()[name], before[name]) for name in before)


def test_a_task_of_ones_own_is_used(data: Data) -> None:
    asked: list[int] = []

    class Counting(TASKS.load("classification")):
        def loss(self, output: object, target: torch.Tensor) -> torch.Tensor:
            asked.append(len(target))
            return super().loss(output, target)

    measured(small(epochs=1), data, task=Counting(classes=2))
    assert asked.count(16) >= 3


def test_threads_are_given_back(data: Data) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Trials().run(small(epochs=1), data)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_signal_stops_it_and_nothing_half_is_remembered(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killing(TASKS.load("classification")):
        def loss(self, output: object, target: torch.Tensor) -> torch.Tensor:
            os.kill(os.getpid(), signal.SIGINT)
            monkeypatch.setattr(Killing, "loss", TASKS.load("classification").loss)
            return super().loss(output, target)

    killing, before = Killing.loss, signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="those that were finished are kept"):
        Trials(tmp_path).run(small(), data, task=Killing(classes=2), made_from="Killing")
    assert not list(tmp_path.glob("*.json"))
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    monkeypatch.setattr(Killing, "loss", killing)
    with pytest.raises(Interrupted, match="nothing of what was measured is kept") as told:
        Trials().run(small(), data, task=Killing(classes=2), made_from="Killing")
    assert told.value.exit_code == EXIT_INTERRUPTED


def test_users_mistakes_are_told(data: Data) -> None:
    with pytest.raises(NetwrightError, match="at least 32x32"):
        Trials().run(small().changed(model="resnet18"), data)
