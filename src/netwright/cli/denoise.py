"""`netwright denoise`: noisy pictures through an autoencoder, as files."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import EXIT_USER

if TYPE_CHECKING:
    from netwright.bundle.autoencoder import AutoencoderBundle

SHEET = "before-and-after.png"
MOST_SHOWN = 36


class Size(StrEnum):
    """How large pictures are written."""

    network = "network"
    original = "original"


def denoise(
    run: options.Autoencoder,
    files: Annotated[list[Path], typer.Argument(help="Noisy pictures, or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for PNG files of the same names.")] = Path(
        "denoised"
    ),
    size: Annotated[Size, typer.Option(help="As the network gives them, or resized to what each was.")] = Size.network,
    sheet: Annotated[bool, typer.Option("--sheet", help=f"Also write {SHEET} there, to look at.")] = False,
    label: options.PicturesClass = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> int:
    """Write what an autoencoder makes of noisy pictures: what it has seen in training stays, other things go.

    Files that cannot be read are named on stderr; the others are written, and the exit code is 2.
    """
    from netwright.bundle.picture_files import PictureFiles, as_bytes, restored, size_of, write_picture
    from netwright.cli._latent import (
        MOST_COLUMNS,
        batches,
        check_room,
        named_pictures,
        opened,
        require_class,
        require_one,
        side_of,
        tell,
    )

    bundle = opened(run, device, label)
    require_class(bundle, run, label)
    pictures = named_pictures(files)
    where = PictureFiles(output, pictures, besides=[SHEET] * sheet)
    preprocess = bundle.preprocess_or_error()
    notes = [_training(bundle.card["recipe"].get("tricks", []), run)]
    if sheet:
        shown_most = min(len(pictures), MOST_SHOWN)
        check_room(bundle, 2 * -(-shown_most // MOST_COLUMNS), min(shown_most, MOST_COLUMNS))
    written: list[dict[str, Any]] = []
    unreadable: list[dict[str, str]] = []
    shown: list[tuple[Any, Any]] = []
    for paths, stored in batches(bundle, pictures, unreadable):
        given, made = as_bytes(bundle.pictures(stored)), as_bytes(bundle.reconstruct(stored, label))
        shown += list(zip(given, made, strict=True))[: MOST_SHOWN - len(shown)]
        for path, pixels in zip(paths, made, strict=True):
            image = restored(pixels, preprocess, size_of(path) if size == Size.original else _own(bundle))
            written.append({"name": str(path), "file": str(where.write(path, image)), "size": list(image.size)})
    require_one("denoising", written, unreadable)
    extra = [str(write_picture(output / SHEET, _sheet(shown, len(written))))] if sheet else []
    said = {"run": run, "pictures": written, "unreadable": unreadable, "sheet": next(iter(extra), None)}
    sized = f"{side_of(bundle)} px, the network's size; --size original resizes them"
    if size == Size.original:
        cropped = "the square that the network saw, at its own size"
        sized = cropped if preprocess.fit == "crop" else "resized to what they were"
    lines = [f"{_count(written)} in {output}: {sized}"]
    tell({**said, "notes": notes}, [*lines, *(f"before and after: {each}" for each in extra)], as_json=as_json)
    return EXIT_USER if unreadable else 0


def _own(bundle: "AutoencoderBundle") -> tuple[int, int]:
    """A size at which what is restored is as the network gave it."""
    stored = bundle.preprocess_or_error().stored_size
    return stored, stored


def _training(tricks: list[Any], run: str) -> str:
    """Whether the network learned to take noise away, and which."""
    from netwright.core.spec import Spec

    learned = next((str(each) for each in tricks if Spec.parse(str(each)).name == "denoise"), None)
    if learned is None:
        return f"{run} was not trained to take noise away: it only squeezes pictures; train with --with denoise"
    return f"{run} learned to take away {learned}; of other noise it knows nothing"


def _sheet(shown: list[tuple[Any, Any]], total: int) -> Any:
    """Pictures above what was made of them, twelve side by side."""
    from netwright.cli._latent import MOST_COLUMNS
    from netwright.report.sheet import sheet

    blocks = [shown[at : at + MOST_COLUMNS] for at in range(0, len(shown), MOST_COLUMNS)]
    rows = [[pair[kind] for pair in block] for block in blocks for kind in (0, 1)]
    which = "" if len(shown) == total else f" (the first {len(shown)} of {total})"
    return sheet(rows, rows_named=["given", "denoised"] * len(blocks), title=f"Before and after{which}")


def _count(written: list[Any]) -> str:
    return "1 picture" if len(written) == 1 else f"{len(written)} pictures"
