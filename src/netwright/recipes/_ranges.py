"""Which values of a recipe a search may change, and within which bounds: as declared, and as a user says."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args, get_origin

from netwright.core.options import options_of
from netwright.core.spec import Spec
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.recipes._recipe import FIND, Recipe
from netwright.tricks import TRICKS

FIELDS = ("optimizer", "schedule", "model", "batch_size", "epochs", "normalise")  # of a recipe, that may be searched
WHOLE = ("batch_size", "epochs")
SHORT = {"optimizer.lr": "lr", "optimizer.weight_decay": "weight_decay", "warmup": "schedule.warmup"}
RATES = ("lr", "weight_decay")
DECADE = 10.0  # either way of the recipe's own learning rate and weight decay
WARMUP = (0.0, 0.3)  # Goyal et al. 2017 warm up for 5 epochs of 90, one-cycle schedules for up to 30 % of the run
TWO_DECADES = 100.0  # a range that spans as much is drawn by its logarithm
DIGITS = 4  # significant ones, that what is tried has
SWITCH = "tricks."
# Where a run is computed, and what it is measured on.
NOT_SEARCHED = "it decides where a run is computed, or which pictures it is measured on"


@dataclass(frozen=True)
class Parameter:
    """One value that a search may change.

    Attributes:
        name: "lr", "weight_decay", "optimizer.momentum", "schedule.warmup", "mixup.alpha", a field of the recipe, or
            "tricks.mixup" for whether the trick is there; "sgd.lr" where optimisers are searched too.
        low: the least; NaN for choices.
        high: the most.
        log: drawn by its logarithm.
        whole: whole numbers only.
        choices: the values, where these are no range.
        usual: the recipe's own value; None where it has none.
        when: the name and the value of the choice without which there is none of it.
        source: who gave the bounds: "declared" or "user".
    """

    name: str
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()
    usual: Any = None
    when: tuple[str, Any] | None = None
    source: Literal["declared", "user"] = "declared"

    def __str__(self) -> str:
        if self.choices:
            return " | ".join(map(written, self.choices))
        kind = [word for word, there in (("whole numbers", self.whole), ("log", self.log)) if there]
        return f"{self.low:g} .. {self.high:g}" + (f" ({', '.join(kind)})" if kind else "")

    def holds(self, value: Any) -> bool:
        """Whether a search could try this value."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def tried(self, value: Any) -> Any:
        """A value that was drawn, as a user would write it: four significant digits, and within the bounds."""
        if value == self.usual:
            return self.usual  # as it is written in the recipe, so that its key is the recipe's
        if self.choices or self.whole:
            return value
        return min(max(significant(value), self.low), self.high)


def declared(recipe: Recipe, *, tricks: bool = False) -> tuple[Parameter, ...]:
    """The parameters that a recipe offers to a search: all that its user has not given.

    Args:
        recipe: how to train.
        tricks: also whether each of its tricks is there.
    """
    return of_recipe(recipe, {}, tricks=tricks)


def of_recipe(recipe: Recipe, asked: Mapping[str, Parameter], *, tricks: bool = False) -> tuple[Parameter, ...]:
    """The same, with what a user asked for in place of what is declared, or beside it."""
    given = fixed(recipe)
    every = [*_of_optimizers(recipe, asked, given), *_of_schedule(recipe, asked), *_of_tricks(recipe, tricks)]
    offered = {each.name: each for each in every if each.name not in given}
    choices = {Spec.parse(text).name: text for text in asked["optimizer"].choices} if "optimizer" in asked else {}
    for name, each in asked.items():
        owner, when = name.rpartition(".")[0], None
        if owner in choices:
            when = ("optimizer", choices[owner])
        elif f"{SWITCH}{owner}" in offered:
            when = (f"{SWITCH}{owner}", True)
        offered[name] = replace(each, when=when)
    # What others depend on comes first: a search draws in this order.
    return tuple(sorted(offered.values(), key=lambda each: each.when is not None))


def fixed(recipe: Recipe) -> dict[str, Any]:
    """What the user of a recipe has given, by the names of parameters: a search leaves it as it is."""
    sources = recipe.sources
    found: dict[str, Any] = {}
    for name in Recipe.model_fields:
        if sources.get(name) == "user" and name not in ("data", "tricks", "device", "threads", "workers", "name"):
            found[name] = getattr(recipe, name)
    for kind in ("optimizer", "schedule"):
        spec = Spec.parse(getattr(recipe, kind))
        mine = {option for option in spec.options if sources.get(f"{kind}.{option}", sources[kind]) == "user"}
        found |= {short(f"{kind}.{option}"): spec.options[option] for option in sorted(mine)}
    for text in recipe.tricks:
        spec = Spec.parse(text)
        if sources[f"tricks.{spec.name}"] == "user":
            found[f"{SWITCH}{spec.name}"] = True
            found |= {f"{spec.name}.{option}": value for option, value in spec.options.items()}
    return found


def applied(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with the values of a search.

    Raises:
        NetwrightError: a value that does not fit.
    """
    fields = {name: value for name, value in values.items() if name in FIELDS and value != getattr(recipe, name)}
    found = recipe.changed("recipe", **fields)
    if "optimizer" in fields:  # what the user has given holds for every optimiser
        kept = {name: value for name, value in fixed(recipe).items() if name in RATES}
        values = kept | dict(values)
    off = [name.removeprefix(SWITCH) for name, value in values.items() if name.startswith(SWITCH) and not value]
    found = found.without(*off)
    for name, value in values.items():
        if name not in FIELDS and not name.startswith(SWITCH):
            found = _with_option(found, name, value)
    return found


def usual(recipe: Recipe, parameters: Iterable[Parameter]) -> dict[str, Any] | None:
    """The recipe's own values of some parameters; None where these do not hold them."""
    every = list(parameters)
    own = {each.name: each.usual for each in every}
    there = [each for each in every if each.when is None or own.get(each.when[0]) == each.when[1]]
    return {each.name: each.usual for each in there} if all(each.holds(each.usual) for each in there) else None


def short(name: str) -> str:
    """The one name of a parameter that has two."""
    return SHORT.get(name, name)


def significant(value: float) -> float:
    """A number with four significant digits."""
    return float(f"{value:.{DIGITS}g}")


def _of_optimizers(recipe: Recipe, asked: Mapping[str, Parameter], given: Mapping[str, Any]) -> Iterable[Parameter]:
    chosen = asked["optimizer"].choices if "optimizer" in asked else (recipe.optimizer,)
    for text in chosen:
        spec = Spec.parse(text)
        for option in RATES:
            value = current(OPTIMIZERS.load(spec.name), spec, option)
            if value == FIND or not value or option in given:
                continue
            if len(chosen) == 1:
                yield _decade(option, value)
            elif option not in asked and (option not in spec.options or text == recipe.optimizer):
                yield replace(_decade(f"{spec.name}.{option}", value), when=("optimizer", text))


def _of_schedule(recipe: Recipe, asked: Mapping[str, Parameter]) -> Iterable[Parameter]:
    texts = asked["schedule"].choices if "schedule" in asked else (recipe.schedule,)
    values = [current(SCHEDULES.load(Spec.parse(text).name), Spec.parse(text), "warmup") for text in texts]
    own = current(SCHEDULES.load(Spec.parse(recipe.schedule).name), Spec.parse(recipe.schedule), "warmup")
    if all(isinstance(value, int | float) for value in values):
        yield _widened(Parameter("schedule.warmup", *WARMUP, usual=own))


def _of_tricks(recipe: Recipe, switches: bool) -> Iterable[Parameter]:
    user = {name for name in fixed(recipe) if name.startswith(SWITCH)}
    for text in recipe.tricks:
        spec = Spec.parse(text)
        make: Any = TRICKS.load(spec.name)
        switch = f"{SWITCH}{spec.name}"
        there = switches and switch not in user
        if there:
            yield Parameter(switch, choices=(True, False), usual=True)
        for option, bounds in make.card.ranges.items():
            value = current(make, spec, option)
            # What is None is chosen by the trick, perhaps because another option is given.
            if isinstance(value, int | float):
                whole = is_whole(options_of(make)[option].annotation)
                found = Parameter(f"{spec.name}.{option}", bounds.low, bounds.high, bounds.log, whole, usual=value)
                yield replace(_widened(found), when=(switch, True) if there else None)


def _decade(name: str, value: float) -> Parameter:
    low, high = significant(value / DECADE), significant(value * DECADE)
    return Parameter(name, low, high, log=True, usual=float(value))


def _widened(parameter: Parameter) -> Parameter:
    """With bounds that hold the recipe's own value, should the declared ones not."""
    value = parameter.usual
    if parameter.log and value <= 0:
        return parameter
    return replace(parameter, low=min(parameter.low, value), high=max(parameter.high, value))


def current(make: Callable[..., Any], spec: Spec, option: str) -> Any:
    """The value of an option: the spec's, else its default; None where there is no such option."""
    known = options_of(make)
    return spec.options.get(option, known[option].default if option in known else None)


def _with_option(recipe: Recipe, name: str, value: Any) -> Recipe:
    owner, _, option = name.rpartition(".")
    field = "optimizer" if owner in ("", "optimizer") or owner in OPTIMIZERS.names() else owner
    if field in ("optimizer", "schedule"):
        spec, registry = Spec.parse(getattr(recipe, field)), OPTIMIZERS if field == "optimizer" else SCHEDULES
    else:
        spec, registry = next(spec for spec in map(Spec.parse, recipe.tricks) if spec.name == owner), TRICKS
    if current(registry.load(spec.name), spec, option) == value:
        return recipe  # as it was written: equal recipes have equal keys
    changed = spec.with_options(**{option: value})
    if registry is TRICKS:
        return recipe.with_(changed, origin="recipe")
    return recipe.changed("recipe", **{field: str(changed)})


def is_whole(annotation: Any) -> bool:
    """Whether an option takes whole numbers only."""
    return (get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation) is int


def written(value: Any) -> str:
    """A value in a line of text."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else repr(value)
