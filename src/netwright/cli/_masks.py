"""What `netwright predict` does with a model that gives each pixel a class."""

import csv
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from netwright.core.errors import EXIT_USER, NetwrightError

if TYPE_CHECKING:
    from torch import Tensor

    from netwright.bundle.mask_files import MaskFiles
    from netwright.bundle.masks import MaskPrediction, MaskPredictor, Things
    from netwright.data.decode import Pixels

AT_ONCE = 4_000_000  # pixels that are held decoded


def predict_masks(
    predictor: "MaskPredictor",
    paths: list[Path],
    output: Path | None,
    wanted: dict[str, Any],
    *,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Print what is seen in pictures, and write masks where they are wanted; the exit code."""
    from netwright.bundle.masks import Things
    from netwright.data.files import pictures_in

    things = Things(wanted["instances"], wanted["split"])
    predictor.check_things(things)
    files = list(dict.fromkeys(pictures_in(paths)))
    where = _folder(predictor, files, output, wanted) if output is not None else None
    unreadable: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for readable, pictures in _together(predictor, files, unreadable):
        names = [str(file) for file in readable]
        made, written = _made(predictor, pictures, names, where, things, probabilities=wanted["probabilities"])
        fresh = [one.to_json() | {"files": paths} for one, paths in zip(made, written, strict=True)]
        rows += fresh
        notes += [note for note in predictor.notes(made) if note not in notes]
        del made  # masks of large pictures are large
        if not as_json and not as_csv:
            _print_lines(fresh)
    if as_json:
        typer.echo(json.dumps({"predictions": rows, "unreadable": unreadable, "notes": notes}))
    elif as_csv:
        _print_csv(rows, predictor.classes)
    else:
        _print_end(notes, output, rows)
    return EXIT_USER if unreadable else 0


def _folder(predictor: "MaskPredictor", files: Sequence[Path], output: Path, wanted: dict[str, Any]) -> "MaskFiles":
    from netwright.bundle.mask_files import MaskFiles

    facts: dict[str, Any] = {"classes": predictor.classes, "colours": predictor.colours}
    facts |= {
        "background": predictor.background,
        "several": predictor.several,
        "kind": wanted["kind"],
        "overlays": wanted["overlays"],
        "instances": wanted["instances"],
    }
    return MaskFiles(output, files, **facts)


def _together(
    predictor: "MaskPredictor", files: Sequence[Path], unreadable: list[dict[str, str]]
) -> Iterator[tuple[list[Path], list["Pixels"]]]:
    """Decoded pictures, a few megapixels at a time; those that cannot be read are named and left out."""
    names: list[Path] = []
    pictures: list[Pixels] = []
    for file in files:
        try:
            picture = predictor.picture(file)
        except NetwrightError as error:
            unreadable.append({"name": str(file), "problem": error.problem})
            typer.echo(f"left out: {error.problem}", err=True)
            continue
        names.append(file)
        pictures.append(picture)
        del picture
        if sum(each.shape[0] * each.shape[1] for each in pictures) >= AT_ONCE:
            yield names, pictures
            names = []
            pictures.clear()  # whoever looked at them is done, and the next one may be large
    if pictures:
        yield names, pictures


def _made(
    predictor: "MaskPredictor",
    pictures: Sequence["Pixels"],
    names: Sequence[str],
    where: "MaskFiles | None",
    things: "Things",
    *,
    probabilities: bool,
) -> tuple[list["MaskPrediction"], list[list[str]]]:
    """Predictions, and the files that were written of each."""
    if where is None:
        return predictor.predict_pictures(pictures, names, things=things), [[] for _ in names]
    with ExitStack() as stack:
        shapes = [(len(predictor.classes), *picture.shape[:2]) for picture in pictures]
        held = [
            stack.enter_context(where.probabilities(name, shape))
            for name, shape in zip(names, shapes, strict=True)
            if probabilities
        ]

        def keep(place: int, top: int, rows: "Tensor") -> None:
            held[place].write(top, rows)

        made = predictor.predict_pictures(pictures, names, sink=keep if held else None, things=things)
    written = [[str(path) for path in where.write(one, picture)] for one, picture in zip(made, pictures, strict=True)]
    return made, [[*paths, *(str(each.path) for each in held[i : i + 1])] for i, paths in enumerate(written)]


def _print_lines(rows: Sequence[dict[str, Any]]) -> None:
    """One line a picture: the classes that it has, the largest first."""
    for row in rows:
        ranked = sorted(row["shares"].items(), key=lambda pair: -pair[1])
        parts = [f"{name} {100 * share:.1f} %" for name, share in ranked if share > 0]
        counted = [_things(row["things"])] if "things" in row else []
        typer.echo(f"{row['name']}: {'  '.join([*(parts or ['nothing']), *counted])}")


def _things(count: int) -> str:
    return f"{count} thing" if count == 1 else f"{count} things"


def _print_csv(rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> None:
    out = csv.writer(sys.stdout)
    out.writerow(["file", "width", "height", *classes, "things", "files"])
    for row in rows:
        shares = [f"{row['shares'][name]:.6f}" for name in classes]
        files = " ".join(shlex.quote(path) for path in row["files"])
        out.writerow([row["name"], row["width"], row["height"], *shares, row.get("things", ""), files])


def _print_end(notes: Sequence[str], output: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    for note in notes:
        typer.echo(note)
    if output is None:
        typer.echo("shares of the pixels; to write masks and overlays, add -o FOLDER")
    else:
        count = sum(len(row["files"]) for row in rows)
        typer.echo(f"{count} {'file' if count == 1 else 'files'} in {shlex.quote(str(output))}")
