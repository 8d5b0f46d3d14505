"""Every registered trick keeps the rules of `Trick`: a new trick is tested by being registered."""

from dataclasses import fields
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.core.registry import camel, snake
from netwright.core.spec import Spec
from netwright.core.symptoms import Symptom
from netwright.engine.augment import Augment
from netwright.engine.checkpoint import read_checkpoint
from netwright.engine.plans import Raw
from netwright.engine.run import Run
from netwright.engine.trick import TaskName, Trick, Tricks
from netwright.tasks import TASKS
from netwright.tricks import TRICKS
from tests.support import NORMALISE, Pictures, digest, hash_of, outputs, tiny_run, train_tiny, train_until, untimed

NAMES = TRICKS.names()
TRAINED = [name for name in NAMES if "classification" in TRICKS.load(name).card.tasks]  # here; others in test_masks.py
STATIONS = (
    "data", "model", "optim", "geometry", "colour", "pixels", "batch", "loss", "gradient",
    "before_step", "after_step", "after_epoch", "predictor",
)  # fmt: skip
PER_SAMPLE = ("geometry", "colour", "pixels")


def strong(name: str) -> Trick:
    return TRICKS.load(name)(**TRICKS.load(name).card.strong)


def varied(name: str) -> list[Trick]:
    """With default, strong and neutral options."""
    kind = TRICKS.load(name)
    return [kind(), kind(**kind.card.strong), *([] if kind.card.neutral is None else [kind(**kind.card.neutral)])]


NEUTRAL = [name for name in TRAINED if TRICKS.load(name).card.neutral is not None]
BY_SAMPLE = [name for name in TRAINED if any(Tricks([strong(name)]).at(station) for station in PER_SAMPLE)]
DRAWING = [name for name in BY_SAMPLE if name != "progressive_resize"]  # its size is a function of progress alone


@pytest.fixture(scope="module")
def plain() -> Run:
    return train_tiny(tiny_run())


def test_the_bag_is_not_empty() -> None:
    assert len(NAMES) >= 70
    assert len(NEUTRAL) >= 60
    assert len(BY_SAMPLE) >= 30


@pytest.mark.parametrize("name", NAMES)
def test_file_class_and_name_agree(name: str) -> None:
    kind = TRICKS.load(name)
    assert issubclass(kind, Trick)
    assert kind.__module__ == f"netwright.tricks.{name}"
    assert kind().name == name == snake(kind.__name__)
    assert camel(name) == kind.__name__


@pytest.mark.parametrize("name", NAMES)
def test_card_tells_where_it_comes_from_and_what_it_is_for(name: str) -> None:
    kind = TRICKS.load(name)
    card = kind.card
    assert card.paper or (kind.__doc__ and not kind.__doc__.startswith(f"{kind.__name__}("))
    assert TRICKS.summary(name).endswith(".")
    assert card.tasks
    assert set(card.tasks) <= set(get_args(TaskName))
    assert all(isinstance(symptom, Symptom) for symptom in card.treats)
    own = {field.name for field in fields(kind)}
    assert set(card.neutral or {}) <= own
    assert set(card.strong) <= own
    assert card.neutral is None or kind(**card.neutral) != kind(**card.strong)


@pytest.mark.parametrize("name", NAMES)
def test_a_trick_acts_somewhere(name: str) -> None:
    assert any(Tricks([strong(name)]).at(station) for station in (*STATIONS, "start"))


def test_cards_name_tricks_that_exist() -> None:
    for name in NAMES:
        card = TRICKS.load(name).card
        assert set(card.after) <= set(NAMES) - {name}
        assert set(card.excludes) <= set(NAMES) - {name}


def test_order_follows_the_cards_however_the_set_was_given() -> None:
    excluded = {other for name in NAMES for other in TRICKS.load(name).card.excludes}
    chosen = [TRICKS.load(name)() for name in NAMES if name not in excluded]
    order = [each.name for each in Tricks(chosen)]
    assert order == [each.name for each in Tricks(reversed(chosen))]
    place = {name: i for i, name in enumerate(order)}
    for each in chosen:
        assert all(place[before] < place[each.name] for before in each.card.after if before in place)


@pytest.mark.parametrize("name", TRAINED)
def test_options_have_defaults_and_are_stored_unchanged(name: str) -> None:
    kind = TRICKS.load(name)
    kind()  # no option is required
    for each in varied(name):
        given = {field.name: getattr(each, field.name) for field in fields(each)}
        again = kind(**given)
        assert {field.name: getattr(again, field.name) for field in fields(again)} == given
        run = tiny_run(each, epochs=1, n=16, batch_size=8)
        train_tiny(run)
        copied = next(iter(run.tricks))
        assert copied is not each
        assert {field.name: getattr(copied, field.name) for field in fields(copied)} == given
        assert vars(each) == given, "a run left state in the user's object"


@pytest.mark.parametrize("name", TRAINED)
def test_state_made_in_a_run_ends_in_an_underscore_and_is_remembered(name: str) -> None:
    run = train_tiny(tiny_run(strong(name), epochs=1, n=16, batch_size=8))
    (each,) = run.tricks
    assert set(each.memory()) == {attribute for attribute in vars(each) if attribute.endswith("_")}
    assert not set(each.memory()) & {field.name for field in fields(each)}


@pytest.mark.parametrize("name", NAMES)
def test_spec_round_trip(name: str) -> None:
    for each in varied(name):
        assert TRICKS.build(each.spec) == each
        assert each.spec.name == name
    assert str(TRICKS.load(name)().spec) == name  # defaults are not written


@pytest.mark.parametrize("name", NAMES)
def test_spec_round_trip_as_text(name: str) -> None:
    for each in varied(name):
        assert TRICKS.build(str(each.spec)) == each


@pytest.mark.parametrize("name", NAMES)
def test_unknown_option_is_refused_by_name(name: str) -> None:
    with pytest.raises(NetwrightError, match=f"option of {name} 'strenght'"):
        TRICKS.build(Spec(name, {"strenght": 1}))


@pytest.mark.parametrize("name", NEUTRAL)
@pytest.mark.parametrize("floats", [False, True], ids=["bytes", "floats"])
def test_neutral_options_change_nothing(name: str, floats: bool) -> None:
    kind = TRICKS.load(name)
    without = train_tiny(tiny_run(floats=floats))
    neutral = train_tiny(tiny_run(kind(**kind.card.neutral), floats=floats))
    assert digest(neutral) == digest(without)
    assert outputs(neutral).tobytes() == outputs(without).tobytes()
    assert untimed(neutral.history) == untimed(without.history)


@pytest.mark.parametrize("name", TRAINED)
def test_strong_options_change_something(name: str, plain: Run) -> None:
    run = train_tiny(tiny_run(strong(name)))
    changed = {
        "weights": digest(run) != digest(plain),
        "predictor": outputs(run).tobytes() != outputs(plain).tobytes(),
        "groups": len(run.optimizer.groups) != len(plain.optimizer.groups),
        "stopping": run.stopped != plain.stopped,
    }
    assert any(changed.values())


@pytest.mark.parametrize("name", TRAINED)
def test_a_run_is_a_function_of_its_seed(name: str) -> None:
    first, again, other = (train_tiny(tiny_run(strong(name), seed=seed)) for seed in (3, 3, 4))
    assert digest(first) == digest(again)
    assert outputs(first).tobytes() == outputs(again).tobytes()
    assert digest(first) != digest(other)


def test_every_task_can_be_loaded() -> None:
    for task in TASKS.names():
        assert TASKS.load(task)().name == task


@pytest.mark.parametrize("name", NAMES)
def test_works_on_the_tasks_it_claims_and_is_refused_on_others(name: str) -> None:
    chosen = Tricks([strong(name)])
    tasks = TRICKS.load(name).card.tasks
    for task in tasks:
        chosen.require(task)
    for task in {*get_args(TaskName), "detection"} - set(tasks):
        with pytest.raises(NetwrightError, match=f"{name} does not apply to {task}") as caught:
            chosen.require(task)
        assert f"--without {name}" in caught.value.fix
    if "classification" in tasks:
        run = train_tiny(tiny_run(strong(name), epochs=1, n=16, batch_size=8))
        assert np.isfinite(outputs(run)).all()


@pytest.mark.parametrize("one", TRAINED)
def test_every_pair_runs_or_is_refused(one: str) -> None:
    for other in TRAINED[TRAINED.index(one) + 1 :]:
        pair = [TRICKS.load(one)(), TRICKS.load(other)()]
        if one in pair[1].card.excludes or other in pair[0].card.excludes:
            with pytest.raises(NetwrightError, match="cannot be combined"):
                Tricks(pair)
            continue
        run = train_tiny(tiny_run(*pair, epochs=1, n=16, batch_size=8))
        assert run.step == 2, (one, other)
        assert run.finished, (one, other)
        assert np.isfinite(outputs(run)).all(), (one, other)


def resumed(tricks: list[Trick], folder: Path, steps: int) -> tuple[Run, Run]:
    """A run that was never stopped, and one that was stopped after `steps` and went on from its files."""
    whole = train_tiny(tiny_run(*tricks, epochs=3))
    train_until(tiny_run(*tricks, epochs=3), steps, folder)
    second = tiny_run(*tricks, epochs=3)
    second.recall(read_checkpoint(folder)[0])
    assert second.step == steps
    return whole, train_tiny(second)


def assert_same_run(whole: Run, second: Run) -> None:
    assert digest(second) == digest(whole)
    assert hash_of(second.tricks.memory()) == hash_of(whole.tricks.memory())
    assert hash_of(second.optimizer.memory()) == hash_of(whole.optimizer.memory())
    assert untimed(second.history) == untimed(whole.history)
    assert second.stopped == whole.stopped
    assert outputs(second).tobytes() == outputs(whole).tobytes()


@pytest.mark.parametrize("name", TRAINED)
def test_resuming_mid_epoch_equals_not_stopping(name: str, tmp_path: Path) -> None:
    assert_same_run(*resumed([strong(name)], tmp_path, 5))  # four steps an epoch


HOLDING = ("bn_freeze", "freeze", "gradual_unfreeze")  # they would keep from the others what these are to act on
FREE = [name for name in TRAINED if name not in HOLDING]
EXCLUDED = {other for name in FREE for other in TRICKS.load(name).card.excludes}
ALL = [TRICKS.load(name)() for name in FREE if name not in EXCLUDED]


@pytest.mark.parametrize("steps", [1, 4, 6, 11, 12])
def test_resuming_with_all_tricks_at_once(steps: int, tmp_path: Path) -> None:
    assert_same_run(*resumed(ALL, tmp_path, steps))  # 4 and 12: the last step of an epoch, before it is closed


@pytest.mark.parametrize("name", BY_SAMPLE)
@pytest.mark.parametrize("size", [8, 7])
def test_draws_belong_to_the_sample_not_to_the_batch(name: str, size: int) -> None:
    pictures = Pictures(12, 8)
    everything = next(pictures.batches([np.arange(12)]))

    def seen(positions: list[list[int]]) -> torch.Tensor:
        run = tiny_run(strong(name))
        augment = Augment(run, type(NORMALISE)(NORMALISE.mean, NORMALISE.std, size))
        parts = [Raw(everything.image[p], everything.label[p], everything.id[p]) for p in positions]
        images = torch.cat([augment.normalised(raw).image for raw in parts])
        return images[np.argsort(np.concatenate(positions))]

    whole = seen([list(range(12))])
    split = seen([[11, 3, 0, 7, 5], [10, 1], [2, 9, 8, 6, 4]])
    assert torch.equal(whole, split)
    again = seen([list(range(12))])
    assert torch.equal(whole, again)


@pytest.mark.parametrize("name", DRAWING)
def test_samples_epochs_and_seeds_draw_differently(name: str) -> None:
    source = Pictures(1, 8)
    one = next(source.batches([np.zeros(1, int)]))
    many = Raw(one.image.repeat(16, 1, 1, 1), one.label.repeat(16), torch.arange(16))

    def seen(seed: int, epoch: int) -> torch.Tensor:
        kind = TRICKS.load(name)
        run = tiny_run(kind() if name != "cutout" else kind(size=0.3), seed=seed)
        run.epoch = epoch
        return Augment(run, NORMALISE).normalised(many).image

    first = seen(0, 0)
    assert len({row.numpy().tobytes() for row in first}) > 1  # one picture, sixteen ids
    assert not torch.equal(first, seen(0, 1))
    assert not torch.equal(first, seen(1, 0))


def test_a_trick_given_twice_is_refused() -> None:
    with pytest.raises(NetwrightError, match="given twice: flip"):
        Tricks([TRICKS.build("flip"), TRICKS.build("flip(probability=1)")])
