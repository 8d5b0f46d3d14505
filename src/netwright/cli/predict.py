"""`netwright predict`: what a trained model says of pictures."""

import csv
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import EXIT_USER, NetwrightError

if TYPE_CHECKING:
    from netwright.bundle.predictor import Predictor


class Masks(StrEnum):
    """How masks are written."""

    ids = "ids"
    colours = "colours"


def predict(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    files: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for masks, of a model that gives each pixel a class.")
    ] = None,
    masks: Annotated[
        Masks | None, typer.Option(help="With -o: class numbers with a palette, or colours. [default: ids]")
    ] = None,
    overlay: Annotated[
        bool | None, typer.Option("--overlay/--no-overlay", help="With -o: masks over pictures too. [default: yes]")
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="With -o: probabilities of each pixel too, as NPY.")
    ] = False,
    instances: Annotated[
        bool,
        typer.Option("--instances", help="With -o: things too, numbered from 1, where there is one class of them."),
    ] = False,
    split_touching: Annotated[
        bool, typer.Option("--split-touching", help="Cut things that touch before they are counted; an extra.")
    ] = False,
    as_json: options.Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, and nothing else.")] = False,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    device: options.Device = "auto",
) -> int:
    """Say which class each picture shows, with calibrated probabilities; or of each pixel, and write masks.

    Files that cannot be read are named on stderr; the others are predicted, and the exit code is 2.
    """
    from netwright.bundle.autoencoder import AutoencoderBundle
    from netwright.bundle.masks import MaskPredictor
    from netwright.bundle.predictor import load, no_classes

    predictor = load(run, device=device or "auto")
    if isinstance(predictor, AutoencoderBundle):
        raise no_classes(run, predictor)
    given = {"--masks": masks, "--overlay": overlay}
    given |= {"--probabilities": probabilities or None, "--instances": instances or None}
    idle = [flag for flag, value in given.items() if value is not None and output is None]
    if isinstance(predictor, MaskPredictor):
        if idle:
            raise NetwrightError(f"{idle[0]} says how files are written, and none are", "add -o FOLDER")
        from netwright.cli._masks import predict_masks

        kind = "ids" if masks is None else masks.value
        wanted: dict[str, Any] = {"kind": kind, "overlays": overlay is not False, "probabilities": probabilities}
        wanted |= {"instances": instances, "split": split_touching}
        return predict_masks(predictor, files, output, wanted, as_json=as_json, as_csv=as_csv)
    idle += ["--split-touching"] * split_touching
    if idle or output is not None:
        flag = "-o" if output is not None else idle[0]
        problem = f"{flag} is for masks, and {run} gives each picture one class"
        raise NetwrightError(problem, f"leave out {flag}; --json and --csv print what it says")
    return _predict_classes(predictor, files, top, as_json=as_json, as_csv=as_csv)


def _predict_classes(predictor: "Predictor", files: list[Path], top: int, *, as_json: bool, as_csv: bool) -> int:
    """Print a class for each picture; the exit code."""
    from netwright.data.files import pictures_in

    predictions: list[Any] = []
    unreadable: list[dict[str, str]] = []
    for file in pictures_in(files):
        try:
            predictions += predictor.predict([file], top=top)
        except NetwrightError as error:
            unreadable.append({"name": str(file), "problem": error.problem})
            typer.echo(f"left out: {error.problem}", err=True)
    if as_json:
        typer.echo(json.dumps({"predictions": [p.to_json() for p in predictions], "unreadable": unreadable}))
    elif as_csv:
        _print_csv(predictions, min(top, len(predictor.classes)))
    else:
        _print_lines(predictions)
    return EXIT_USER if unreadable else 0


def _print_csv(predictions: list[Any], top: int) -> None:
    out = csv.writer(sys.stdout)
    ranks = range(1, top + 1)
    out.writerow(["file", *(column for rank in ranks for column in (f"label_{rank}", f"probability_{rank}"))])
    for prediction in predictions:
        out.writerow([prediction.name, *(cell for label, p in prediction.top for cell in (label, f"{p:.6f}"))])


def _print_lines(predictions: list[Any]) -> None:
    """One line a picture, the likeliest class first."""
    for prediction in predictions:
        ranked = "  ".join(f"{label} {100 * p:.1f} %" for label, p in prediction.top)
        typer.echo(f"{prediction.name}: {ranked}")
