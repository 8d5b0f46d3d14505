"""`netwright history`: many architectures on one's own pictures, under one protocol."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli._columns import columns

if TYPE_CHECKING:
    from netwright.core.errors import NetwrightError
    from netwright.lab.history import Told
    from netwright.recipes._recipe import Recipe


def history(
    path: Annotated[str, typer.Argument(help="A folder of photos, or an .npz.")],
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="A network; may be repeated. [default: by picture size]")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each network.")] = 1,
    recipe: Annotated[
        str | None, typer.Option(help="The protocol. [default: history for digits and .npz, else modern]")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="For all networks.")] = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Rate = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels that the networks see.")] = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    device: options.Device = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for runs and result.")] = Path("history"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Train a list of networks on the same data with the same budget, augmentation and seeds, and compare them.

    The same command goes on where it was stopped, and runs that are finished are not repeated.
    """
    fields = ("optimizer", "epochs", "batch_size", "lr", "image_size", "seed", "device")
    given = (optimizer, epochs, batch_size, lr, image_size, seed, device)
    changes = options.changes(dict(zip(fields, given, strict=True)), set_)
    arrays = path == "digits" or path.endswith(".npz") or any(Path(path).glob("*.npz"))
    name = recipe or ("history" if arrays else "modern")
    base = options.chosen_recipe(path, name, changes, with_, without)

    from netwright.lab.history import Told
    from netwright.lab.history import history as run_history

    found = run_history(base, model, seeds=seeds, output=output, told=Told() if as_json else _aloud())
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _conclude(found, output)


def _aloud() -> "Told":
    from netwright.cli._display import Display
    from netwright.lab.history import Told

    def starting(recipe: "Recipe", number: int, total: int) -> None:
        typer.echo(f"\n{number} of {total}: {recipe.model}, seed {recipe.seed}")

    def known(recipe: "Recipe", path: Path) -> None:
        typer.echo(f"done before: {path}")

    def failed(recipe: "Recipe", error: "NetwrightError") -> None:
        typer.echo(f"left out: {error}", err=True)

    return Told(starting, known, failed, Display)


def _conclude(found: dict[str, Any], output: Path) -> None:
    """The table, and where the rest is."""
    from netwright.report.history import meaning, rows_of

    for line in ["", *columns(rows_of(found)), "", meaning(found)]:
        typer.echo(line)
    typer.echo(f"table, picture and page: {output / 'history.html'}")
