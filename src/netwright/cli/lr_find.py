"""`netwright lr-find`: the learning rate to train with, from one short run at all of them."""

import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli._plot import WIDTH, has_dots, panel
from netwright.report.rates import save_search, visible
from netwright.report.schedules import check_suffix

if TYPE_CHECKING:
    from netwright.engine.lr_find import Search
    from netwright.recipes._recipe import Recipe

# `netwright.engine.lr_find` has the same; `--help` shows these without importing torch.
LOW, HIGH, STEPS = 1e-6, 10.0, 100


def lr_find(
    path: options.Path_ = None,
    recipe: options.Recipe = None,
    model: options.Model = None,
    optimizer: options.Optimizer = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    batch_size: options.BatchSize = None,
    image_size: options.ImageSize = None,
    seed: options.Seed = None,
    device: options.Device = None,
    low: Annotated[float, typer.Option(help="The first rate.")] = LOW,
    high: Annotated[float, typer.Option(help="The last rate, unless the loss grows fourfold before.")] = HIGH,
    steps: Annotated[int, typer.Option(help="Updates at most.")] = STEPS,
    save: Annotated[Path | None, typer.Option(help="Draw it in this file, .svg or .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Find a learning rate: train a little at growing rates, and take the one where the loss falls fastest.

    Nothing is kept; the last line is the command that trains with it. `netwright train --lr find` does both.
    """
    if save is not None:
        check_suffix(save)
    values = {
        "model": model,
        "optimizer": optimizer,
        "batch_size": batch_size,
        "image_size": image_size,
        "seed": seed,
        "device": device,
    }
    chosen = options.chosen_recipe(path, recipe, options.changes(values, set_), with_, without)
    found = searched(chosen, low, high, steps)
    if save is not None:
        save_search(save, found.rates, found.losses, found.best)
    repeated = {"with": with_ or [], "without": without or [], "set": set_ or []}
    command = command_for(path, {"recipe": recipe, **values}, repeated, found.best)
    if as_json:
        typer.echo(json.dumps({"lr": found.best, "rates": found.rates, "losses": found.losses, "command": command}))
    else:
        typer.echo("\n".join([f"learning rate {found.best:g}", *drawing(found, dots=has_dots()), "", "next:"]))
        typer.echo(f"  {command}")


def searched(chosen: "Recipe", low: float, high: float, steps: int) -> "Search":
    """Put a run together as training would, and search; no run folder is made."""
    from netwright.engine.lr_find import lr_find
    from netwright.recipes._assemble import assemble

    if chosen.finds_rate:
        chosen = chosen.changed(lr=1.0)  # else it would be searched for twice
    return lr_find(assemble(chosen).run, low=low, high=high, steps=steps)


def drawing(found: "Search", *, dots: bool) -> list[str]:
    """Smoothed loss over the rate as text, with an arrow at the best."""
    ends = f"{found.rates[0]:.2g}", "learning rate, logarithmic", f"{found.rates[-1]:.2g}"
    part = math.log(found.best / found.rates[0]) / math.log(found.rates[-1] / found.rates[0])
    arrow = f"{'':8}{'':{round(part * (WIDTH - 1))}}^ {found.best:g}"
    return ["", "smoothed loss", *panel(visible(found.losses), dots=dots, below=ends), arrow]


def command_for(path: str | None, values: dict[str, Any], repeated: dict[str, list[str]], rate: float) -> str:
    """The command line that trains with what was given here and the rate that was found."""
    words = ["netwright", "train", *([path] if path else [])]
    for name, value in values.items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    for name, given in repeated.items():
        words += [word for value in given for word in (f"--{name}", value)]
    return shlex.join([*words, "--lr", f"{rate:g}"])
