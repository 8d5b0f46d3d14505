"""`netwright tune`: search better values for a recipe, and see whether they are better."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli.ablate import seconds_of


def tune(
    path: options.Path_ = None,
    trials: Annotated[int, typer.Option(min=1, help="In all; those of earlier calls count.")] = 30,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Begin no trial after 30m, 2h, …")] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=VALUES",
            help='Search this instead of what is declared: "lr=1e-4..1e-1", "batch_size=32|64"; may be repeated.',
        ),
    ] = None,
    tricks: Annotated[bool, typer.Option("--tricks", help="Search which of the recipe's tricks are there.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Of each trial.")] = 1,
    confirm: Annotated[int, typer.Option(min=0, help="Fresh seeds, to compare the best with the recipe.")] = 3,
    pruner: Annotated[str, typer.Option(help="How trials are stopped early: asha, median, or none.")] = "asha",
    recipe: options.Recipe = None,
    model: options.Model = None,
    weights: options.Weights = None,
    transfer: options.Transfer = None,
    optimizer: options.Optimizer = None,
    schedule: options.Schedule = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Rate = None,
    image_size: options.ImageSize = None,
    group: options.Group = None,
    quarantine: options.Quarantine = None,
    seed: options.Seed = None,
    device: options.Device = None,
    on: Annotated[str, typer.Option(help="Where runs are computed: local, ray, ray://HOST:PORT.")] = "local",
    processes: Annotated[int | None, typer.Option(min=1, help="Runs at once.")] = None,
    gpus: Annotated[float, typer.Option(min=0, help="GPUs of each run, with Ray; 0.5 shares one.")] = 0.0,
    store: Annotated[str | None, typer.Option(help="Address of the run store. [default: runs.db there]")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for results.")] = Path("tune"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Search a recipe's values on the validation pictures, then compare the best with the recipe on the test pictures.

    What you give, as --lr 0.01, stays; the rest is drawn from declared ranges. The same command goes on where it was
    stopped. Without a path: the handwritten digits.
    """
    values = {
        "model": model,
        "weights": weights,
        "optimizer": optimizer,
        "schedule": schedule,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "image_size": image_size,
        "group": group,
        "quarantine": quarantine,
        "seed": seed,
        "device": device,
    }
    chosen = options.chosen_recipe(path, recipe, options.changes(values, set_), with_, without, transfer)
    budgeted = None if budget is None else seconds_of(budget)
    limits = {"trials": trials, "budget": budgeted, "seeds": seeds, "confirm": confirm, "pruner": pruner}
    where = {"on": on, "processes": processes, "gpus": gpus, "store": store, "output": output}
    found = _searched(chosen, range_ or [], {"tricks": tricks, **where}, limits, as_json=as_json)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _conclude(found, output / "tune.html")


def _searched(
    chosen: Any, ranges: list[str], where: dict[str, Any], limits: dict[str, Any], *, as_json: bool
) -> dict[str, Any]:
    """torch is imported here, after everything that can be refused without it."""
    from netwright.lab.tune import tune as search
    from netwright.lab.tune_search import Wanted

    return search(chosen, ranges, **where, wanted=Wanted(**limits), told=options.silent if as_json else typer.echo)


def _conclude(found: dict[str, Any], page: Path) -> None:
    """What was found, whether it holds, and the command that trains it."""
    from netwright.lab.tune_words import confirmed_lines, settings
    from netwright.report.tune import headline

    lines = ["", headline(found), f"best: {settings(found['best'])}", *confirmed_lines(found)]
    for line in [*lines, f"page: {page}", "train it:", f"  {found['command']}"]:
        typer.echo(line)
