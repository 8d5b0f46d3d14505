"""What a search looks through: a recipe's declared ranges, those a user asks for, and what is left as it is."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import Option, options_of, value_of
from netwright.core.spec import Spec, literal
from netwright.lab.pruning import quiet
from netwright.models import check_model
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.recipes._ranges import (
    FIELDS,
    NOT_SEARCHED,
    RATES,
    TWO_DECADES,
    WHOLE,
    Parameter,
    applied,
    current,
    declared,
    fixed,
    is_whole,
    of_recipe,
    short,
    usual,
    written,
)
from netwright.recipes._recipe import Recipe
from netwright.tricks import TRICKS

REGISTRIES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
NAMED = (*REGISTRIES, "model")
RANGE = "write --range name=low..high or --range 'name=one|other', as in lr=1e-4..1e-1 or 'batch_size=32|64'"


@dataclass(frozen=True)
class Space:
    """What a search may change in a recipe.

    Attributes:
        recipe: as it was.
        parameters: what is searched; those that others depend on come first.
        fixed: what the user gave, which stays.
    """

    recipe: Recipe
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any]

    @property
    def key(self) -> str:
        """A hash of the recipe and of what is searched: searches that share it are one."""
        known = [{**asdict(each), "low": str(each.low), "high": str(each.high)} for each in self.parameters]
        return sha256(f"{self.recipe.key} {json.dumps(known, sort_keys=True)}".encode()).hexdigest()[:16]

    @property
    def usual(self) -> dict[str, Any] | None:
        """The values of the recipe as it was; None where it lies outside."""
        return usual(self.recipe, self.parameters)

    def drawn(self, trial: Any) -> dict[str, Any]:
        """The values that an optuna trial suggests, as they are tried."""
        found: dict[str, Any] = {}
        for each in self.parameters:
            if each.when is None or found.get(each.when[0]) == each.when[1]:
                found[each.name] = each.tried(_suggested(trial, each))
        return found

    def to_recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with these values."""
        return applied(self.recipe, values)


def space_of(recipe: Recipe, ranges: Sequence[str] = (), *, tricks: bool = False) -> Space:
    """The space of a recipe, with what a user asks for.

    Args:
        recipe: knows which of its values the user gave.
        ranges: as `lr=1e-4..1e-1`, `batch_size=32|64`, `optimizer=sgd|adamw`, `mixup.alpha=0.1..2`.
        tricks: also search whether each trick that the user did not ask for is there.

    Raises:
        NetwrightError: a range cannot be read, or there is nothing to search.
    """
    found = of_recipe(recipe, read_ranges(recipe, ranges), tricks=tricks)
    if not found:
        given = ", ".join(fixed(recipe)) or "nothing"
        fix = "leave one of them to the search, or give a range: --range lr=1e-4..1e-1; or add --tricks"
        raise NetwrightError(f"there is nothing to search: given are {given}", fix)
    return Space(recipe, found, fixed(recipe))


def read_ranges(recipe: Recipe, texts: Sequence[str]) -> dict[str, Parameter]:
    """What `--range` asks for, by name: `lr=1e-4..1e-1`, `batch_size=32|64`, `optimizer=sgd|adamw`.

    Raises:
        NetwrightError: it cannot be read, names nothing that the recipe has, or values that may not be given.
    """
    found: dict[str, Parameter] = {}
    taken = fixed(recipe)
    # Choices of optimisers come first: others may be options of these.
    for text in sorted(texts, key=lambda text: not text.startswith("optimizer=")):
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not name or not values:
            raise NetwrightError(f"cannot read --range {text}", RANGE)
        name = short(name)
        if name in found:
            raise NetwrightError(f"--range gives {name} twice", "give it once")
        if name in taken:
            problem = f"{name} is given as {written(taken[name])}, and as a range too"
            raise NetwrightError(problem, f"leave out one of them: the value, or --range {text}")
        found[name] = _read(recipe, name, values, found)
    return found


def _read(recipe: Recipe, name: str, values: str, found: Mapping[str, Parameter]) -> Parameter:
    """One range or some choices, every value checked."""
    known = _options(recipe, name, found)
    if ".." in values and "|" not in values:
        return _range(recipe, name, values, known)
    choices = tuple(literal(part.strip()) for part in values.split("|"))
    for value in choices:
        if not isinstance(value, str | int | float):
            raise NetwrightError(f"{value!r} cannot be searched", "give numbers, words, or True and False")
        _checked(recipe, name, value, known)
    if name in NAMED:
        choices = tuple(_spec(recipe, name, str(value)) for value in choices)
    if len(set(map(str, choices))) < 2:
        raise NetwrightError(f"--range {name}={values} leaves nothing to choose", "give two or more: 'one|other'")
    return Parameter(name, choices=choices, usual=_own(recipe, name), source="user")


def _range(recipe: Recipe, name: str, values: str, known: Sequence[Option]) -> Parameter:
    low, high = (literal(part.strip()) for part in values.split("..", 1))
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise NetwrightError(f"--range {name}={values} is no range of numbers", RANGE)
        _checked(recipe, name, value, known)
    if low > high:
        raise NetwrightError(f"--range {name}={values} begins above its end", f"turn it round: {name}={high}..{low}")
    if low == high:
        raise NetwrightError(f"--range {name}={values} leaves nothing to choose", "give it as a value, not as a range")
    whole = name in WHOLE or (bool(known) and all(is_whole(option.annotation) for option in known))
    log = low > 0 and _by_logarithm(name, low, high)
    return Parameter(name, low, high, log, whole, usual=_own(recipe, name), source="user")


def _by_logarithm(name: str, low: float, high: float) -> bool:
    owner, _, option = name.rpartition(".")
    if option in RATES or high / low >= TWO_DECADES:
        return True
    trick: Any = TRICKS.load(owner) if owner in TRICKS.names() else None
    bounds = trick and trick.card.ranges.get(option)
    return bool(bounds and bounds.log)


def _options(recipe: Recipe, name: str, found: Mapping[str, Parameter]) -> Sequence[Option]:
    """What the parameter sets: an option, of each optimiser there may be; nothing for a field.

    Raises:
        NetwrightError: there is no such field, trick or option.
    """
    owner, _, option = name.rpartition(".")
    if name in FIELDS:
        return ()
    if name in Recipe.model_fields:
        raise NetwrightError(f"{name} cannot be searched: {NOT_SEARCHED}", f"give one of {', '.join(FIELDS)}")
    chosen = found["optimizer"].choices if "optimizer" in found else (recipe.optimizer,)
    names = [Spec.parse(text).name for text in chosen]
    if name in RATES or owner == "optimizer":
        return [_option(OPTIMIZERS.load(each), each, option) for each in names]
    if owner in names:
        return [_option(OPTIMIZERS.load(owner), owner, option)]
    if owner == "schedule":
        schedule = Spec.parse(recipe.schedule).name
        return [_option(SCHEDULES.load(schedule), schedule, option)]
    tricks = [Spec.parse(text).name for text in recipe.tricks]
    if owner in tricks:
        return [_option(TRICKS.load(owner), owner, option)]
    if owner in TRICKS.names():
        raise NetwrightError(f"the recipe has no trick {owner}, and {name} is an option of it", f"--with {owner}")
    every = [*FIELDS, *RATES, "schedule.warmup", *(each.name for each in declared(recipe))]
    raise unknown("parameter", name, dict.fromkeys(every))


def _option(make: Callable[..., Any], owner: str, option: str) -> Option:
    known = options_of(make)
    if option not in known:
        raise unknown(f"option of {owner}", option, known)
    return known[option]


def _checked(recipe: Recipe, name: str, value: Any, known: Sequence[Option]) -> None:
    """Refuse a value that could not be given by itself."""
    if name in REGISTRIES:
        REGISTRIES[name].build(str(value))
    if name == "model":
        check_model(str(value))
    if not known:
        recipe.changed("recipe", **{name: value})
    for option in known:
        value_of(name, option.annotation, value)


def _spec(recipe: Recipe, field: str, text: str) -> str:
    """A choice in its one spelling; the bare name of what the recipe has stands for that, with its options."""
    spec, own = Spec.parse(text), Spec.parse(getattr(recipe, field))
    return str(own if spec == Spec(own.name) else spec)


def _own(recipe: Recipe, name: str) -> Any:
    """The recipe's value of what a user asked for; None where it has none."""
    owner, _, option = name.rpartition(".")
    if name in FIELDS:
        return getattr(recipe, name)
    if name in RATES or owner == "optimizer":
        spec = Spec.parse(recipe.optimizer)
        return current(OPTIMIZERS.load(spec.name), spec, option)
    if owner in OPTIMIZERS.names():
        spec = Spec.parse(recipe.optimizer)
        spec = spec if spec.name == owner else Spec(owner)
        return current(OPTIMIZERS.load(owner), spec, option)
    if owner == "schedule":
        spec = Spec.parse(recipe.schedule)
        return current(SCHEDULES.load(spec.name), spec, option)
    specs = {Spec.parse(text).name: Spec.parse(text) for text in recipe.tricks}
    return current(TRICKS.load(owner), specs[owner], option) if owner in specs else None


def _suggested(trial: Any, parameter: Parameter) -> Any:
    with quiet():
        if parameter.choices:
            return trial.suggest_categorical(parameter.name, parameter.choices)
        suggest = trial.suggest_int if parameter.whole else trial.suggest_float
        return suggest(parameter.name, parameter.low, parameter.high, log=parameter.log)
