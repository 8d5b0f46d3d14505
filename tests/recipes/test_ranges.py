"""What ranges recipes and tricks declare, and how values of a search become a recipe again."""

import math
from typing import Annotated, Any, get_args, get_origin

import pytest

from netwright.core.options import Between, options_of
from netwright.core.spec import Spec
from netwright.engine.trick import Range
from netwright.optim import OPTIMIZERS
from netwright.recipes import RECIPES
from netwright.recipes._ranges import Parameter, applied, declared, fixed, usual
from netwright.recipes._recipe import Recipe, recipe
from netwright.tricks import TRICKS

RANGES = [(name, option) for name in TRICKS.names() for option in vars(TRICKS.load(name))["card"].ranges]


def card_range(name: str, option: str) -> tuple[Any, Range]:
    trick: Any = TRICKS.load(name)
    return options_of(trick)[option], trick.card.ranges[option]


def bounds_of(annotation: Any) -> tuple[Any, float, float]:
    """The type, the least and the most that an annotation allows."""
    parts = [annotation, *get_args(annotation)]
    found = next(part for part in parts if get_origin(part) is Annotated)
    between = next(extra for extra in found.__metadata__ if isinstance(extra, Between))
    return get_args(found)[0], between.low, between.high


class TestCards:
    def test_there_are_ranges(self) -> None:
        assert {"mixup", "cutmix", "label_smoothing", "ema", "dropout", "stochastic_depth"} <= {n for n, _ in RANGES}

    @pytest.mark.parametrize(("name", "option"), RANGES)
    def test_range_lies_within_the_bounds_and_holds_the_default(self, name: str, option: str) -> None:
        known, given = card_range(name, option)
        kind, low, high = bounds_of(known.annotation)
        assert low <= given.low < given.high <= high
        assert given.low > 0 or not given.log
        if kind is int:
            assert isinstance(given.low, int)
            assert isinstance(given.high, int)
        if given.without:
            assert known.default is None
        else:
            assert given.low <= known.default <= given.high

    @pytest.mark.parametrize(("name", "option"), RANGES)
    def test_trick_builds_at_both_ends(self, name: str, option: str) -> None:
        _, given = card_range(name, option)
        for value in (given.low, given.high):
            assert getattr(TRICKS.build(Spec(name, {option: value})), option) == value


class TestDeclared:
    @pytest.mark.parametrize("name", RECIPES.names())
    def test_every_recipe_lies_within_its_own_ranges(self, name: str) -> None:
        found = recipe(name)
        values = usual(found, declared(found, tricks=True))
        assert values is not None
        assert applied(found, values) == found
        assert applied(found, values).key == found.key

    def test_rate_and_decay_have_a_decade_either_way(self) -> None:
        found = {each.name: each for each in declared(Recipe(optimizer="sgd(lr=0.05, weight_decay=2e-4)"))}
        assert (found["lr"].low, found["lr"].high, found["lr"].log) == (0.005, 0.5, True)
        assert (found["weight_decay"].low, found["weight_decay"].high) == (2e-5, 2e-3)

    def test_without_weight_decay_there_is_none_to_search(self) -> None:
        assert "weight_decay" not in {each.name for each in declared(Recipe(optimizer="sgd(weight_decay=0.0)"))}

    def test_ranges_are_widened_to_the_recipe(self) -> None:
        found = {each.name: each for each in declared(Recipe(tricks=("label_smoothing(smoothing=0.4)",)))}
        assert found["label_smoothing.smoothing"].high == 0.4

    def test_what_a_trick_leaves_open_is_not_searched(self) -> None:
        names = {each.name for each in declared(Recipe(tricks=("grad_clip(value=0.5)",)))}
        assert not any(name.startswith("grad_clip") for name in names)

    def test_tricks_may_be_left_out_with_their_options(self) -> None:
        found = {each.name: each for each in declared(Recipe(tricks=("mixup",)), tricks=True)}
        assert found["tricks.mixup"].choices == (True, False)
        assert found["mixup.alpha"].when == ("tricks.mixup", True)


class TestFixed:
    def test_what_the_user_gives_is_not_searched(self) -> None:
        given = recipe("modern", lr=0.01, epochs=3).with_("mixup(alpha=0.4)")
        assert fixed(given) == {"lr": 0.01, "epochs": 3, "tricks.mixup": True, "mixup.alpha": 0.4}
        names = {each.name for each in declared(given, tricks=True)}
        assert not names & {"lr", "mixup.alpha", "tricks.mixup"}
        assert {"weight_decay", "tricks.ema", "ema.decay"} <= names

    def test_of_a_spec_only_the_options_that_were_written_are_fixed(self) -> None:
        given = recipe("modern", optimizer="sgd(lr=0.3)").with_("mixup")
        names = {each.name for each in declared(given)}
        assert "lr" not in names
        assert {"weight_decay", "mixup.alpha"} <= names
        assert fixed(given)["optimizer"] == "sgd(lr=0.3)"


class TestApplied:
    def test_values_go_where_they_belong(self) -> None:
        base = Recipe(optimizer="sgd(lr=0.1)", schedule="cosine", tricks=("ema", "mixup"), batch_size=64)
        values = {
            "lr": 0.02, "weight_decay": 1e-3, "schedule.warmup": 0.1, "mixup.alpha": 0.5, "tricks.ema": False,
            "batch_size": 32,
        }  # fmt: skip
        found = applied(base, values)
        assert found.optimizer == "sgd(lr=0.02, weight_decay=0.001)"
        assert found.schedule == "cosine(warmup=0.1)"
        assert found.tricks == ("mixup(alpha=0.5)",)
        assert found.batch_size == 32

    def test_another_optimiser_keeps_what_the_user_gave(self) -> None:
        given = recipe("digits", lr=0.03)
        assert applied(given, {"optimizer": "adamw"}).optimizer == "adamw(lr=0.03)"
        own = applied(recipe("digits"), {"optimizer": "adamw", "adamw.lr": 2e-3})
        assert own.optimizer == "adamw(lr=0.002)"

    @pytest.mark.parametrize("name", OPTIMIZERS.names())
    def test_every_optimiser_has_a_rate_to_search(self, name: str) -> None:
        assert "lr" in {each.name for each in declared(Recipe(optimizer=name))}


class TestTried:
    def test_values_have_four_digits_and_stay_within(self) -> None:
        each = Parameter("lr", 0.0012345, 0.0098765, log=True)
        assert each.tried(0.00556677) == 0.005567
        assert each.tried(0.0098765) <= each.high
        assert each.tried(0.0012345) >= each.low
        assert math.isclose(each.tried(0.0012345), 0.0012345)

    def test_the_recipes_own_value_stays_as_it_was_written(self) -> None:
        assert Parameter("lr", 0.01, 1.0, usual=0.123456).tried(0.123456) == 0.123456
        kept = Parameter("rotate.degrees", 3, 30, usual=10).tried(10.0)
        assert isinstance(kept, int)
