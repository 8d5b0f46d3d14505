"""Arms as a user writes them, and the command that trains one: what is read, refused, and read back by the CLI."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from netwright.cli.main import app
from netwright.core.errors import NetwrightError
from netwright.data import open_data
from netwright.lab.arms import REFUSED, Arm, command, differences, parted, read_arms, refuse_unfit
from netwright.recipes._recipe import Recipe, recipe
from netwright.recipes._transfer import transfer_recipe
from netwright.tricks import TRICKS

DIGITS = recipe("digits")
MODERN = recipe("modern", data="photos")


def arm(text: str, base: Recipe = DIGITS) -> Arm:
    (found,) = read_arms(base, text)
    return found


def refused(text: str, base: Recipe = DIGITS) -> NetwrightError:
    with pytest.raises(NetwrightError) as told:
        read_arms(base, text)
    return told.value


def parsed(line: str) -> Recipe:
    """The recipe that the command line makes of a `netwright train` line."""
    words = shlex.split(line)
    assert words[:2] == ["netwright", "train"]
    chosen: list[Recipe] = []
    verb: Any = typer.main.get_command(app).commands["train"]
    with patch("netwright.cli.train.train_new", lambda found, output, as_json: chosen.append(found)):
        verb.invoke(verb.make_context("train", words[2:]))
    return chosen[0]


class TestParted:
    @pytest.mark.parametrize(
        ("text", "separator", "parts"),
        [
            ("a; b;c", ";", ["a", "b", "c"]),
            ("a(b=';') ; c", ";", ["a(b=';')", "c"]),
            ('a(b="x;y\\";", c=(1, 2)); d', ";", ['a(b="x;y\\";", c=(1, 2))', "d"]),
            ("crop(pad=4), flip", ",", ["crop(pad=4)", "flip"]),
            ("a(b=(1, 2), c={'d': [3, 4]}), e", ",", ["a(b=(1, 2), c={'d': [3, 4]})", "e"]),
            ("lr=1e+3 + flip+ema", "+", ["lr=1e+3", "flip", "ema"]),
            ("stage+ema", "+", ["stage", "ema"]),
            ("", ";", [""]),
        ],
    )
    def test_separators_in_brackets_quotes_and_numbers_do_not_count(
        self, text: str, separator: str, parts: list[str]
    ) -> None:
        assert parted(text, separator) == parts

    @pytest.mark.parametrize(
        ("text", "problem"),
        [("a(b", "no ) at its end"), ("a(b]", "']' closes nothing"), ("a)", "closes nothing"), ("a 'b", "no ' at its")],
    )
    def test_what_is_not_closed_is_said(self, text: str, problem: str) -> None:
        with pytest.raises(NetwrightError, match="cannot read") as told:
            parted(text, ";")
        assert problem in told.value.problem

    @given(st.lists(st.sampled_from(["mixup(alpha=8)", "crop(pad=(1, 2))", "a='x + y; z'", "lr=1e+3", "flip"])))
    def test_joined_texts_come_apart_again(self, parts: list[str]) -> None:
        assert parted(" ; ".join(parts), ";") == (parts or [""])
        assert parted(" + ".join(parts), "+") == (parts or [""])


class TestAnArm:
    def test_adds_a_trick(self) -> None:
        found = arm("mixup(alpha=8)")
        assert found.recipe.key == DIGITS.with_("mixup(alpha=8)").key
        assert (found.name, found.changes) == ("mixup(alpha=8)", ("with mixup(alpha=8)",))

    def test_replaces_a_trick(self) -> None:
        found = arm("ema(decay=0.9)")
        assert found.recipe.key == DIGITS.with_("ema(decay=0.9)").key
        assert found.changes == ("ema(decay=0.9) instead of ema(decay=0.98)",)

    @pytest.mark.parametrize("text", ["without ema", "-ema", "- ema", "  without   ema "])
    def test_leaves_a_trick_out(self, text: str) -> None:
        found = arm(text)
        assert found.recipe.key == DIGITS.without("ema").key
        assert (found.name, found.changes) == ("without ema", ("without ema",))

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("lr=0.01", {"lr": 0.01}),
            ("schedule=constant", {"schedule": "constant"}),
            ("schedule = cosine(warmup=0.1)", {"schedule": "cosine(warmup=0.1)"}),
            ("optimizer='sgd(lr=0.1)'", {"optimizer": "sgd(lr=0.1)"}),
            ("optimizer=adamw + lr=1e-3", {"optimizer": "adamw", "lr": 1e-3}),
            ("model=\"resnet20(norm='group')\"", {"model": "resnet20(norm='group')"}),
            ("batch_size=64", {"batch_size": 64}),
            ("epochs=3", {"epochs": 3}),
            ("image_size=16", {"image_size": 16}),
            ("normalise=unit", {"normalise": "unit"}),
            ("weights=hf-hub:some/name", {"weights": "hf-hub:some/name"}),
            ("lr=1e+1", {"lr": 10.0}),
        ],
    )
    def test_changes_fields(self, text: str, values: dict[str, Any]) -> None:
        assert arm(text).recipe.key == DIGITS.changed(**values).key

    def test_joins_changes_and_has_a_name(self) -> None:
        found = arm("gentle one: mixup + without ema + lr=0.01")
        assert found.name == "gentle one"
        assert found.recipe.key == DIGITS.changed(lr=0.01).with_("mixup").without("ema").key
        assert found.changes == ("with mixup", "without ema", "optimizer sgd(lr=0.01) instead of sgd(lr=0.05)")

    def test_several_come_from_one_text_or_several(self) -> None:
        names = ["mixup", "without ema", "slow"]
        assert [each.name for each in read_arms(DIGITS, "mixup; -ema ; slow: lr=0.001;")] == names
        assert [each.name for each in read_arms(DIGITS, ["mixup; without ema", "slow: lr=0.001"])] == names

    def test_takes_another_recipe_s_way_of_training(self) -> None:
        found = arm("recipe=cifar", MODERN).recipe
        cifar = recipe("cifar")
        assert found.tricks == cifar.tricks
        assert (found.optimizer, found.schedule, found.batch_size) == (cifar.optimizer, cifar.schedule, 128)
        assert (found.data, found.model, found.epochs) == ("photos", MODERN.model, MODERN.epochs)

    def test_another_recipe_leaves_what_the_user_fixed(self) -> None:
        base = MODERN.changed(lr=0.5, schedule="constant").with_("mixup")
        found = arm("recipe=cifar + epochs=10", base).recipe
        assert found.tricks == ("crop(pad=4)", "flip", "mixup", "no_decay")
        assert found.optimizer == "sgd(lr=0.5, momentum=0.9, weight_decay=0.0005)"
        assert (found.schedule, found.epochs) == ("constant", 10)

    def test_nothing_is_executed(self, tmp_path: Path) -> None:
        told = refused(f"mixup(alpha=open('{tmp_path}/x', 'w'))")
        assert "not a literal" in told.problem
        assert not (tmp_path / "x").exists()


class TestMistakes:
    @pytest.mark.parametrize(
        ("text", "problem", "fix"),
        [
            ("", "no arms were given", "--arms"),
            (" ; ", "no arms were given", "--arms"),
            ("mixpu", "unknown trick 'mixpu'", "did you mean 'mixup'"),
            ("cosine", "'cosine' is no trick: it belongs to schedule=", '--arms "schedule=cosine"'),
            ("adamw(lr=0.1)", "it belongs to optimizer=", "optimizer=adamw(lr=0.1)"),
            ("resnet20", "it belongs to model=", "model=resnet20"),
            ("cifar", "it belongs to recipe=", "recipe=cifar"),
            ("epoch=3", "unknown recipe field 'epoch'", "did you mean 'epochs'"),
            ("lr=", "lr has no value", "write lr=VALUE"),
            ("lr=fast", "lr cannot be 'fast'", "give a number"),
            ("epochs=0", "epochs cannot be 0", "greater than or equal to 1"),
            ("optimizer=sdg", "unknown optimizer 'sdg'", "did you mean 'sgd'"),
            ("optimizer='sgd(lr=0.1)' + lr=0.2", "two learning rates", "give one of them"),
            ("recipe=cifr", "unknown recipe 'cifr'", "did you mean 'cifar'"),
            ("flip +", "a change is missing", "join changes by ' + '"),
            ("named:", "a change is missing", "join changes by ' + '"),
            (": flip", "no name before its colon", "write one"),
            ("flip + flip", "flip is changed twice", "once in each arm"),
            ("ema + without ema", "ema is changed twice", "once in each arm"),
            ("lr=1 + lr=2", "lr is changed twice", "once in each arm"),
            ("without", "does not name one trick", "write without NAME"),
            ("without crop, ema", "does not name one trick", "write without crop + without ema"),
            ("without flip", "recipe digits has no trick flip", "it has: crop, ema, no_decay, rotate"),
            ("without flp", "unknown trick 'flp'", "did you mean 'flip'"),
            ("mixup(0.3)", "a value without a name", "alpha=0.4"),
            ("mixup(alpha=0.3", "no ) at its end", "close it"),
            ("flip; flip", "the arm 'flip' is given twice", "a name of its own"),
            ("-ema; without ema", "the arm 'without ema' is given twice", "a name of its own"),
            ("baseline: flip", "an arm cannot be named baseline", "a name of its own"),
            ("mixup flip", "cannot read 'mixup flip'", "options go in brackets"),
        ],
    )
    def test_are_told_with_what_to_do(self, text: str, problem: str, fix: str) -> None:
        told = refused(text)
        assert problem in told.problem
        assert fix in told.fix

    @pytest.mark.parametrize("name", sorted(REFUSED))
    def test_fields_that_would_end_the_comparison_are_refused(self, name: str) -> None:
        told = refused(f"{name}=1")
        assert f"arms cannot differ in {name}" in told.problem
        assert told.fix

    def test_every_field_is_either_refused_or_allowed_on_purpose(self) -> None:
        """A field that comes later must be put on one of the sides."""
        assert set(Recipe.model_fields) - set(REFUSED) == {
            "model", "weights", "optimizer", "schedule", "epochs", "batch_size", "image_size", "channels", "fit",
            "normalise", "non_finite", "precision",
        }  # fmt: skip

    def test_in_words_are_told_before_torch_is_imported(self) -> None:
        code = (
            "import sys\nfrom netwright.core.errors import NetwrightError\n"
            "from netwright.lab.plan import named_arms\nfrom netwright.recipes._recipe import recipe\n"
            "for text in ('mixpu', 'lr=fast', 'seed=3', 'recipe=cifr', 'a: b: c', 'mixup)', 'resnet20', ''):\n"
            "    try:\n        named_arms(recipe('digits'), text)\n"
            "    except NetwrightError:\n        assert 'torch' not in sys.modules\n"
            "    else:\n        raise ValueError(text)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class TestUnfit:
    def test_options_are_checked(self) -> None:
        for text, words in (
            ("mixup(alfa=3)", "alfa"),
            ("schedule='cosine(flor=1)'", "flor"),
            ("model=lenet6", "lenet6"),
        ):
            with pytest.raises(NetwrightError, match=words):
                refuse_unfit(arm(text).recipe, [])

    def test_tricks_that_exclude_each_other_name_the_one_that_was_there(self) -> None:
        with pytest.raises(NetwrightError, match="swa cannot be combined with ema") as told:
            refuse_unfit(arm("swa").recipe, ["ema", "crop"])
        assert '--arms "without ema + swa"' in told.value.fix
        assert refuse_unfit(arm("without ema + swa").recipe, ["ema"]) is None
        with pytest.raises(NetwrightError) as told:
            refuse_unfit(MODERN.with_("alternating_flip").changed(model="lenet5"), ["alternating_flip"])
        assert "without alternating_flip + flip" in told.value.fix

    def test_every_exclusion_of_the_cards_is_seen(self) -> None:
        bare = Recipe()
        for name in TRICKS.names():
            for other in TRICKS.load(name).card.excludes:
                with pytest.raises(NetwrightError, match="cannot be combined"):
                    refuse_unfit(bare.with_(name, other), [])

    def test_the_task_and_the_weights_have_a_say(self) -> None:
        with pytest.raises(NetwrightError, match="does not apply to multi_label"):
            refuse_unfit(DIGITS.changed(task="multi_label").with_("class_weights"), [])
        with pytest.raises(NetwrightError, match="whitening would undo the weights"):
            refuse_unfit(DIGITS.changed(weights="file").with_("whitening"), [])

    def test_a_rate_that_is_to_be_found_is_no_wrong_option(self) -> None:
        assert refuse_unfit(DIGITS.changed(lr="find"), []) is None


class TestCommand:
    @pytest.mark.parametrize(
        "text",
        [
            "mixup(alpha=8)",
            "without ema + lr=0.01",
            "model=\"lenet5(norm='group')\" + weights='a b.safetensors'",
            "recipe=cifar + image_size=16 + channels=3 + fit=pad",
            "normalise=unit + precision=bf16 + non_finite=skip + batch_size=largest",
            "optimizer=adamw + schedule='one_cycle(warmup=0.3, momentum=(0.85, 0.95))'",
            "lr=find",
        ],
    )
    @pytest.mark.parametrize("base", [DIGITS, MODERN], ids=lambda base: base.name)
    def test_the_command_line_makes_the_same_recipe_of_it(self, text: str, base: Recipe) -> None:
        found = arm(text, base)
        assert parsed(command(found)).key == found.recipe.key

    def test_it_is_as_short_as_it_can_be(self) -> None:
        line = command(arm("without ema + mixup(alpha=8)"), seed=3)
        assert line == "netwright train digits --recipe digits --with 'mixup(alpha=8)' --without ema --seed 3"

    def test_a_seed_takes_the_place_of_the_recipe_s(self) -> None:
        found = parsed(command(arm("flip"), seed=7))
        assert (found.seed, found.key) == (7, DIGITS.with_("flip").changed(seed=7).key)

    def test_what_netwright_filled_in_is_said_where_it_matters(self) -> None:
        base = MODERN.resolved(model="resnet20", batch_size=64, precision="fp32", image_size=32, channels=3, threads=2)
        line = command(Arm("x", base.changed("auto", device="cpu", workers=2)))
        assert "threads" not in line and "device" not in line and "workers" not in line
        assert parsed(line).key == base.key
        assert "--set threads=1" in command(Arm("x", base.changed(threads=1)))

    @pytest.mark.parametrize("way", ["finetune", "partial(last=2)", "gradual_unfreeze", "features"])
    def test_ways_of_transfer_are_written_out(self, way: str) -> None:
        found = transfer_recipe(way, "weights.safetensors").changed(data="my photos/")
        assert parsed(command(Arm("x", found))).key == found.key

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_any_recipe_comes_back(self, data: st.DataObject) -> None:
        words = st.text("abc '\"(){}$\\;+é0123456789.", min_size=1, max_size=8)
        values = data.draw(
            st.fixed_dictionaries(
                {"data": words.map(lambda word: f"x{word}")},
                optional={
                    "epochs": st.integers(1, 99),
                    "group": words | st.none(),
                    "quarantine": words.map(lambda word: f"q{word}"),
                    "val_fraction": st.floats(0.01, 0.8),
                    "lr": st.floats(1e-6, 1e6),
                    "channels": st.sampled_from([1, 3, None]),
                    "seed": st.integers(0, 2**63 - 1),
                    "gate": st.sampled_from(["error", "off"]),
                    "task": st.just("multi_label"),
                    "schedule": st.sampled_from(["constant", "cosine(warmup=0.1)"]),
                },
            )
        )
        tricks = data.draw(st.lists(st.sampled_from(["flip", "mixup(alpha=8)", "crop(pad=4)", "ema"]), unique=True))
        base = data.draw(st.sampled_from(["digits", "modern", "cifar", "finetune"]))
        found = recipe(base, tricks=tricks, **values)
        assert parsed(command(Arm("x", found))).key == found.key


@settings(max_examples=40, deadline=None)
@given(
    tricks=st.lists(st.sampled_from(["mixup(alpha=8)", "flip", "ema(decay=0.9)", "swa"]), unique=True, max_size=3),
    removed=st.lists(st.sampled_from(["crop", "rotate", "no_decay"]), unique=True, max_size=2),
    fields=st.dictionaries(st.sampled_from(["epochs", "batch_size"]), st.integers(1, 512), max_size=2),
)
def test_what_is_written_is_what_differs(tricks: list[str], removed: list[str], fields: dict[str, int]) -> None:
    parts = [*tricks, *(f"without {name}" for name in removed), *(f"{name}={value}" for name, value in fields.items())]
    if parts:
        found = arm(" + ".join(parts))
        assert found.name == " + ".join(parts)
        assert found.recipe == DIGITS.changed(**fields).with_(*tricks).without(*removed)
        assert bool(found.changes) == (found.recipe.key != DIGITS.key)
        assert differences(found.recipe, DIGITS) == () or found.changes


def test_pictures_are_the_same_whatever_they_are_looked_at_with(tmp_path: Path) -> None:
    """Why arms may differ in image_size, fit and channels: splits follow from the contents of the files."""
    draw = np.random.default_rng(0)
    for at in range(60):
        pixels = draw.integers(0, 255, (24 + at % 5, 30, 3)).astype(np.uint8)
        place = tmp_path / f"class{at % 2}"
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / f"{at}.png")
    one = open_data(str(tmp_path))
    for changed in ({"image_size": 16}, {"fit": "pad"}, {"fit": "squash"}, {"channels": 1}):
        other = open_data(str(tmp_path), **changed)
        for split in ("train", "val", "test"):
            np.testing.assert_array_equal(one.splits[split].ids, other.splits[split].ids)
