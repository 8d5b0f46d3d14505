"""`--transfer auto`: measures, says what it found, and gives the recipe to train with."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from netwright.cli._options import chosen_recipe
from netwright.core.errors import NetwrightError, unknown
from netwright.core.spec import Spec

if TYPE_CHECKING:
    from netwright.lab.transfer_auto import Auto
    from netwright.recipes._recipe import Recipe

AUTO, BUDGET, CONTROL = "auto", "budget", "random_features"


def is_auto(transfer: str | None) -> bool:
    """Whether `--transfer` leaves the way open."""
    return transfer is not None and Spec.parse(transfer).name == AUTO


def auto_recipe(
    path: str | None,
    changes: dict[str, Any],
    added: list[str] | None,
    removed: list[str] | None,
    transfer: str = AUTO,
    *,
    as_json: bool = False,
) -> "tuple[Recipe, dict[str, Any]]":
    """The recipe of the way that is picked, and what was measured, for `auto.json` in the run's folder.

    Args:
        path: of the data.
        changes: of recipes' fields; `weights` are needed.
        added: tricks, for every way.
        removed: tricks, of each way that has them.
        transfer: "auto", or "auto(budget=60)", in seconds.
        as_json: print nothing.

    Raises:
        NetwrightError: an unknown option, no weights, or whatever training refuses.
    """
    seconds = budget(transfer)
    if changes.get("weights") is None:
        fix = "give weights: --weights FILE, a bundle, hf-hub:NAME or imagenet"
        raise NetwrightError("auto has nothing to transfer", fix)
    recipe_of = recipes(path, changes, added, removed)
    recipe_of("finetune")  # refuses what is wrong before anything heavy is loaded

    from netwright.lab.transfer_auto import BUDGET as USUAL
    from netwright.lab.transfer_auto import auto, opened
    from netwright.lab.transfer_words import words

    def told(sentence: str) -> None:
        if not as_json:
            typer.echo(f"auto: {sentence}")

    found: Auto = auto(recipe_of, opened(recipe_of("features")), budget=seconds or USUAL, told=told)
    if not as_json:
        typer.echo("\n".join(["", *words(found), ""]))
    return recipe_of(found.way), found.to_json()


def budget(transfer: str) -> float | None:
    """The seconds that were given; None leaves them to `lab.transfer_auto`.

    Raises:
        NetwrightError: another option, or no positive number.
    """
    options = Spec.parse(transfer).options
    for name in options:
        if name != BUDGET:
            raise unknown("option of auto", name, [BUDGET])
    given = options.get(BUDGET)
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | float) or not given > 0):
        raise NetwrightError(f"budget cannot be {given!r}", "give seconds, as in --transfer 'auto(budget=60)'")
    return given


def recipes(
    path: str | None, changes: dict[str, Any], added: list[str] | None, removed: list[str] | None
) -> "Callable[[str], Recipe]":
    """The recipe of each way, with what the user asked for; a trick is taken out where it is."""

    def recipe_of(way: str) -> "Recipe":
        own = {name: value for name, value in changes.items() if name != "weights" or Spec.parse(way).name != CONTROL}
        base: Recipe = chosen_recipe(path, None, own, added, None, way)
        present = {Spec.parse(text).name for text in base.tricks}
        return base.without(*(name for name in removed or [] if name in present))

    from netwright.recipes._transfer import transfer_recipe

    held = {
        Spec.parse(text).name
        for way in ("features", "finetune")
        for text in transfer_recipe(way, changes.get("weights")).tricks
    }
    for name in removed or []:
        if name not in held:
            raise unknown("trick to leave out", name, held)
    return recipe_of
