"""`--transfer auto`: measures, says what it found, and gives the recipe to train with."""

import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from netwright.cli._options import chosen_recipe
from netwright.core.errors import NetwrightError, unknown
from netwright.core.spec import Spec

if TYPE_CHECKING:
    from netwright.lab.transfer_auto import Auto
    from netwright.recipes._recipe import Recipe

AUTO, BUDGET, CONTROL = "auto", "budget", "random_features"
FILE = "auto.json"


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
    from netwright.lab.transfer_auto import auto
    from netwright.lab.transfer_words import words
    from netwright.lab.trial import data_of

    def told(sentence: str) -> None:
        if not as_json:
            typer.echo(f"auto: {sentence}")

    found: Auto = auto(recipe_of, data_of(recipe_of("features")), budget=seconds or USUAL, told=told)
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
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= sys.float_info.max:
        raise NetwrightError(f"budget cannot be {given!r:.40}", "give seconds, as in --transfer 'auto(budget=60)'")
    return given


def kept(measured: dict[str, Any], output: Path) -> Path:
    """Put what was measured in a file in the output folder, since there is no run yet; whatever ends that, it stays.

    Raises:
        NetwrightError: it cannot be written.
    """
    from netwright.records.atomic import disk_errors, write_atomic

    try:
        place = output.expanduser() / f"auto-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.json"
    except RuntimeError:
        raise NetwrightError(f"{output.parts[0]} is nobody's home folder", "write --output in full") from None
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(place, json.dumps(measured, indent=1))
    return place


def moved(place: Path, run: Path) -> None:
    """Put it into the folder of the run that came to its end."""
    from netwright.records.atomic import disk_errors

    with disk_errors(run / FILE):
        place.replace(run / FILE)


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
