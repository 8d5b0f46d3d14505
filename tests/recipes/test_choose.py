"""What netwright chooses: a network and a batch size that suit the data, the largest batch, a learning rate."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netwright import NetwrightError, Trick, fit, from_arrays, recipe
from netwright.core.errors import Interrupted
from netwright.engine import loop
from netwright.engine.run import Run
from netwright.recipes import _assemble, _choose, _memory
from netwright.recipes._assemble import assemble
from netwright.recipes._choose import FEWEST, MOST, batch_size_for, largest_batch, suited
from netwright.recipes._inputs import read_inputs
from netwright.recipes._memory import left_to_container
from netwright.recipes._recipe import Recipe, read_recipe
from netwright.records.folder import RunFolder
from netwright.tricks import TRICKS
from tests.conftest import COLOURS, photo
from tests.recipes.test_fit import StopAfter, pictures, same_weights, small, small_data
from tests.support import hash_of, tiny_run

pytestmark = pytest.mark.usefixtures("no_reports")
PLAIN = {"device": "cpu", "threads": 1, "epochs": 1}


@pytest.fixture(autouse=True)
def no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Going through all of Python's objects takes longer than a trial here, and little memory is at stake."""
    monkeypatch.setattr(_choose, "_collect", lambda: None)


@pytest.mark.parametrize(
    ("n", "size"),
    [(1, 16), (1280, 16), (1437, 16), (2560, 32), (10_000, 128), (20_480, 256), (50_000, 256), (1_281_167, 256)],
)
def test_batch_sizes(n: int, size: int) -> None:
    assert batch_size_for(n) == size


def test_batch_sizes_are_powers_of_two_that_give_about_eighty_updates() -> None:
    for n in range(1, 40_000, 97):
        size = batch_size_for(n)
        assert FEWEST <= size <= MOST
        assert size & (size - 1) == 0
        if FEWEST < size < MOST:
            assert 80 / 2**0.5 <= n / size <= 80 * 2**0.5


def inputs_of(side: int) -> Any:
    return read_inputs(recipe("modern"), pictures_of(side), None)


@pytest.mark.parametrize(("side", "model"), [(12, "resnet20"), (64, "resnet20"), (65, "resnet18"), (96, "resnet18")])
def test_the_network_suits_the_size_of_the_pictures(side: int, model: str) -> None:
    found = suited(recipe("modern"), inputs_of(side))
    assert (found.model, found.batch_size) == (model, 16)
    assert (found.sources["model"], found.sources["batch_size"]) == ("auto", "auto")


def test_what_a_user_says_is_never_overridden() -> None:
    said = recipe("modern", model="lenet5", batch_size=4)
    assert suited(said, inputs_of(96)) == said
    assert (said.sources["model"], said.sources["batch_size"]) == ("user", "user")
    only_model = suited(recipe("modern", model="lenet5"), inputs_of(96))
    assert (only_model.model, only_model.batch_size) == ("lenet5", 16)
    assert suited(recipe("modern", batch_size="largest"), inputs_of(96)).batch_size == "largest"


def test_a_network_of_ones_own_is_given_no_name() -> None:
    own = linear()
    parts = assemble(recipe("modern", **PLAIN).without("translate"), data=pictures_of(8), model=own)
    assert (parts.recipe.model, parts.recipe.batch_size, parts.spec) == ("auto", 16, None)
    assert parts.run.model is own


def pictures_of(side: int) -> Any:
    return from_arrays(train=pictures(48, 0, side), val=pictures(8, 1, side))


def trial(until: int, error: Callable[[], Exception] = lambda: torch.OutOfMemoryError("full")) -> Any:
    """Runs whose gradient fails from a batch size on, and the sizes that were tried."""
    sizes: list[int] = []

    def made(recipe: Recipe) -> Run:
        size = int(recipe.batch_size)
        sizes.append(size)
        run = tiny_run(batch_size=size, n=64, network=linear)
        gradient = run.gradient

        def limited(batch: Any, run: Run) -> Any:
            if len(batch) >= until:
                raise error()
            return gradient(batch, run)

        run.gradient = limited
        return run

    return made, sizes


def linear() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))


@pytest.mark.parametrize(("until", "size"), [(2, 1), (17, 16), (32, 16), (1000, 64)])
def test_the_largest_is_the_power_of_two_below_what_is_too_much(until: int, size: int) -> None:
    made, sizes = trial(until)
    assert largest_batch(recipe("digits"), 64, made) == size
    assert sizes == [2**i for i in range(len(sizes))]
    assert sizes[-1] == (2 * size if until <= 64 else size)


def test_each_size_is_tried_with_two_updates_and_a_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    made, sizes = trial(16)
    updates, validations = list[int](), list[int]()
    monkeypatch.setattr(_choose, "step", lambda run, *rest: (updates.append(1), loop.step(run, *rest)))

    def watched(recipe: Recipe) -> Run:
        run = made(recipe)
        validate = run.validate
        run.validate = lambda: (validations.append(1), validate())[1]
        return run

    assert largest_batch(recipe("digits"), 64, watched) == 8
    assert sizes == [1, 2, 4, 8, 16]
    assert (len(updates), len(validations)) == (2 * 4 + 1, 4)


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "MPS backend out of memory"])
def test_other_words_for_full_memory(words: str) -> None:
    made, _ = trial(4, lambda: RuntimeError(words))
    assert largest_batch(recipe("digits"), 64, made) == 2


def test_not_even_one() -> None:
    made, _ = trial(1)
    with pytest.raises(NetwrightError, match="not even one picture fits") as caught:
        largest_batch(recipe("digits"), 64, made)
    assert "--image-size" in caught.value.fix


def test_other_errors_are_not_hidden() -> None:
    made, _ = trial(4, lambda: RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        largest_batch(recipe("digits"), 64, made)


def test_on_a_cpu_the_next_size_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """1000 bytes and 100 a picture: 16 would hold 2600."""
    made, sizes = trial(1000)
    monkeypatch.setattr(_choose, "peak", lambda: 1000 + 100 * sizes[-1])
    monkeypatch.setattr(_choose, "free", lambda: 2500 / _choose.USABLE)
    assert largest_batch(recipe("digits"), 64, made) == 8
    assert sizes == [1, 2, 4, 8]
    monkeypatch.setattr(_choose, "free", lambda: 2600.001 / _choose.USABLE)
    assert largest_batch(recipe("digits"), 64, made) == 16


def test_memory_of_this_machine() -> None:
    block = np.ones(1 << 24)  # 128 MiB
    assert 64 << 20 < _memory.peak() <= _memory.free()
    del block


def test_memory_of_a_container(tmp_path: Path) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    assert left_to_container(limit, used) == float("inf")
    limit.write_text("max\n"), used.write_text("400\n")
    assert left_to_container(limit, used) == float("inf")
    limit.write_text("1000\n")
    assert left_to_container(limit, used) == 600
    (tmp_path / "memory.stat").write_text("active_file 7\ninactive_file 30\ntotal_inactive_file 50\n")
    assert left_to_container(limit, used) == 630


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Room for so many pictures, as far as the choice is told."""
    held: list[int] = []
    monkeypatch.setattr(_choose, "peak", lambda: held[-1])
    monkeypatch.setattr(_choose, "free", lambda: most / _choose.USABLE)
    tried = _choose._tried
    monkeypatch.setattr(_choose, "_tried", lambda run: (held.append(run.loader.batch_size), tried(run))[1])


def test_the_largest_batch_trains_as_if_it_had_been_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 16)
    # These draw weights, change layers, hold parts of the network and keep averages: trials must touch none of it.
    tricks = ("init(kind='lsuv')", "dropout", "layer_freezing", "ema")
    chosen = small(epochs=1).with_(*tricks)
    found = fit(chosen, data=small_data(), output=tmp_path, batch_size="largest")
    named = fit(chosen, data=small_data(), output=tmp_path, batch_size=16)
    assert found.record["recipe"]["batch_size"] == 16
    assert found.record["sources"]["batch_size"] == "auto"
    assert same_weights(found.path, named.path)
    assert read_recipe(found.path / "record.json").reopened().batch_size == "largest"
    assert read_recipe(named.path / "record.json").reopened().batch_size == 16


@dataclass
class Restless(Trick):
    """Counts its starts and the networks it meets there, and draws weights."""

    def model(self, module: torch.nn.Module) -> torch.nn.Module:
        self.network, self.starts = module, 0
        return module

    def start(self, run: Run) -> None:
        assert run.model is self.network
        self.starts += 1
        with torch.no_grad():
            next(run.model.parameters()).add_(torch.randn(()))


def test_trials_share_nothing_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TRICKS, "_added", {})
    limited(monkeypatch, 16)
    found, named = (
        assemble(small(batch_size=size).with_(Restless()), data=small_data()).run for size in ("largest", 16)
    )
    assert [trick.starts for trick in found.tricks if isinstance(trick, Restless)] == [1]
    assert hash_of(found.model.state_dict()) == hash_of(named.model.state_dict())


def test_the_largest_batch_of_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 64)
    found = fit("digits", output=tmp_path, batch_size="largest", **PLAIN)
    assert found.record["recipe"]["batch_size"] == 64
    assert found.record["result"]["steps"] == 1206 // 64


def test_batch_normalisation_cannot_begin_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 8)
    parts = assemble(
        small(batch_size="largest").with_("accumulate(parts=2)"),
        data=from_arrays(train=pictures(16, 0, 8), val=pictures(8, 1, 8)),
    )
    assert parts.recipe.batch_size == 8


def test_a_rate_that_was_found_is_in_the_record_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        fit(small(lr="find"), data=small_data(), output=tmp_path, watcher=StopAfter(5))
    cut = RunFolder.newest(tmp_path)
    record = cut.record()
    assert record["sources"]["optimizer.lr"] == "auto"
    rate = assemble(read_recipe(cut.record_file), data=small_data()).run.optimizer.lr
    assert record["recipe"]["optimizer"] == f"sgd(lr={rate})"

    monkeypatch.setattr(_assemble, "lr_find", lambda *_: pytest.fail("searched again"))
    resumed = fit(resume=cut.path, data=small_data())
    named = fit(small(lr=rate), data=small_data(), output=tmp_path)
    assert resumed.record["recipe"]["optimizer"] == f"sgd(lr={rate})"
    assert same_weights(resumed.path, named.path), "the search left no trace"
    again = read_recipe(cut.record_file).reopened()
    assert again.optimizer == "sgd(lr='find')"
    assert again.changed(optimizer="adamw(lr=0.001)").reopened().optimizer == "adamw(lr=0.001)"


def test_wrong_words_are_refused() -> None:
    with pytest.raises(NetwrightError, match="lr cannot be 'fast'"):
        recipe("digits", lr="fast")
    with pytest.raises(NetwrightError, match="batch_size cannot be 'huge'") as caught:
        recipe("digits", batch_size="huge")
    assert "'largest'" in caught.value.fix


def test_reopened_puts_back_what_was_open() -> None:
    done = suited(recipe("modern"), inputs_of(12)).resolved(image_size=12, channels=3, device="cpu", threads=1)
    again = done.reopened()
    assert (again.model, again.batch_size, again.image_size, again.device) == ("auto", "auto", None, "auto")
    assert again.key == recipe("modern").key
    assert done.with_largest(64).changed(batch_size=8).reopened().batch_size == 8


def folder_of(root: Path, side: int) -> Path:
    for split, count in (("train", 4), ("val", 2), ("test", 2)):
        for place, (name, colour) in enumerate(COLOURS.items()):
            for i in range(count):
                photo(root / split / name / f"{i}.png", colour, 1000 * place + 100 * len(split) + i, (side, side))
    return root


@pytest.mark.parametrize(("name", "side", "model"), [
    ("modern", 32, "resnet20"), ("modern", 80, "resnet18"), ("speedrun_cifar", 32, "airbench94"),
])  # fmt: skip
def test_recipes_train_an_epoch(name: str, side: int, model: str, tmp_path: Path) -> None:
    data = folder_of(tmp_path / "photos", side)
    done = fit(name, data=str(data), image_size=side, output=tmp_path, batch_size=8, **PLAIN)
    assert done.record["recipe"]["model"] == model
    assert done.record["model"]["name"] == model
    assert 0 <= done.accuracy <= 1


def test_folders_are_trained_with_modern_unless_told_otherwise(tmp_path: Path) -> None:
    parts = assemble(recipe("modern", data=str(folder_of(tmp_path / "photos", 32)), image_size=32, **PLAIN))
    assert (parts.recipe.model, parts.recipe.batch_size) == ("resnet20", 16)
    assert parts.spec == "resnet20"
