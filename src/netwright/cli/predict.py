"""`netwright predict`: what a trained model says of pictures."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.core.errors import EXIT_USER, NetwrightError


def predict(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    files: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, and nothing else.")] = False,
    top: Annotated[int, typer.Option(min=1, help="How many classes to name.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
) -> int:
    """Say which class each picture shows, with calibrated probabilities.

    Files that cannot be read are named on stderr; the others are predicted, and the exit code is 2.
    """
    from netwright.bundle.predictor import load
    from netwright.data.files import pictures_in

    predictor = load(run, device=device)
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
