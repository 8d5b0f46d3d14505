"""`netwright synthesize`: pictures of each class that a conditional autoencoder draws, as a folder to train on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.lab.synthetic import Drawn
    from netwright.lab.tstr import Tested


def synthesize(
    run: Annotated[Path, typer.Argument(help="A run folder or a bundle of a conditional_vae.")],
    per_class: Annotated[int, typer.Option(min=1, help="Pictures of each class.")] = 100,
    output: Annotated[Path, typer.Option("-o", "--output", help="New folder, with a folder for each class.")] = Path(
        "synthetic"
    ),
    seed: Annotated[int, typer.Option(min=0, help="The same one draws the same pictures.")] = 0,
    test: Annotated[
        str | None, typer.Option(help="Real data with a test split: train on synthetic, test on these.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each kind, with --test. [default: 5]")] = None,
    real_per_class: Annotated[
        int | None, typer.Option(min=1, help="Real pictures of each class to train on, with --test. [default: all]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The classifier, with --test. [default: lenet5, above 64 pixels resnet18]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the classifier over as many pictures as both kinds. [default: 20]")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="With --test, also write it as a page.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of the processor.")] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Draw pictures of each class, for `netwright train FOLDER`; with --test, say what training on them is worth.

    The same small classifier is trained on real, on synthetic and on both kinds of pictures, for the same number of
    updates, and tested on real pictures that the network has not been trained on.
    """
    given = {"seeds": seeds, "real_per_class": real_per_class, "model": model, "epochs": epochs}
    _refuse(test, given | {"page": page, "threads": threads})
    from netwright.cli.check import refuse_unwritable
    from netwright.lab.studies._output import refuse_unwritable as refuse_folder
    from netwright.lab.synthetic import drawn, refuse_taken, refuse_unconditional, write

    refuse_taken(output)
    refuse_folder(output)
    if page is not None:
        refuse_unwritable(page, "page")
    from netwright.bundle.autoencoder import load_autoencoder

    bundle = load_autoencoder(run, device=device or "auto")
    refuse_unconditional(bundle)
    from netwright.lab.tstr import real_pictures, seen_by, worth

    seen = None if test is None else seen_by(run, bundle, test)
    if test is not None and seen is not None:
        real_pictures(bundle, test, seen)  # what cannot be tested on is refused before anything is written
    made = drawn(bundle, per_class, seed)
    folders = write(made, output)
    said: dict[str, Any] = {"path": str(output), "pictures": len(made.labels), "folders": folders, "seed": seed}
    if not as_json:
        _tell_written(made, folders, output, tested=test is not None)
    if test is not None and seen is not None:
        wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        told = options.silent if as_json else typer.echo
        tested = worth(bundle, made, test, seen, seed=seed, threads=threads, told=told, **wanted)
        said["test"] = tested.found
        _conclude(tested, run.name, page, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(said, ensure_ascii=False))


def _refuse(test: str | None, given: dict[str, Any]) -> None:
    """Flags that mean nothing without a test.

    Raises:
        NetwrightError: one was given.
    """
    name = next((name for name, value in given.items() if value is not None), None)
    if test is None and name is not None:
        raise NetwrightError(f"--{name.replace('_', '-')} is for the test", "add --test DATA, or leave it out")


def _tell_written(made: "Drawn", folders: dict[str, str], output: Path, *, tested: bool) -> None:
    each = len(made.labels) // len(made.classes)
    typer.echo(f"{len(made.labels)} pictures in {output}: {each} of each of {len(made.classes)} classes")
    for name, folder in folders.items():
        if name != folder:
            typer.echo(f"no folder can be called '{name}', so its pictures are in {folder}")
    more = "" if tested else "; what that is worth: add --test DATA"
    typer.echo(f"next: netwright train {output}{more}")


def _conclude(tested: "Tested", name: str, page: Path | None, *, quiet: bool) -> None:
    """The table and what it says; and the page."""
    from netwright.cli._columns import columns
    from netwright.report.synthetic import rows_of, words

    if page is not None:
        from netwright.lab.tstr import page_of
        from netwright.records.atomic import write_atomic

        write_atomic(page, page_of(tested, name))
    if quiet:
        return
    for line in ["", *columns(rows_of(tested.found), left=1), "", *words(tested.found)]:
        typer.echo(line)
    if page is not None:
        typer.echo(f"page: {page}")
