"""What the verbs of autoencoders share: opening one, its classes, pictures that can be read, and sheets."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from netwright.core.errors import NetwrightError, listed, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from netwright.bundle.autoencoder import AutoencoderBundle, Labels
    from netwright.bundle.gathered import Gathered

    Pixels = NDArray[np.uint8]
    Places = NDArray[np.int64]

SHEET = ".png"
AT_ONCE = 64
MOST_COLUMNS = 12


def opened(run: str, device: str | None, label: str | None = None) -> "AutoencoderBundle":
    """The autoencoder of a run, with the class that is named checked.

    Raises:
        NetwrightError: no autoencoder there; a class that it does not know, or takes none of.
    """
    from netwright.bundle.autoencoder import load_autoencoder

    bundle = load_autoencoder(run, device=device or "auto")
    check_class(bundle, run, label)
    return bundle


def check_class(bundle: "AutoencoderBundle", run: str, label: str | None) -> None:
    """Refuse a class that a network does not know, or takes none of.

    Raises:
        NetwrightError: it does not.
    """
    if label is not None and not bundle.conditional:
        problem = f"--class {label} is for conditional autoencoders, and {run} takes no classes"
        raise NetwrightError(problem, "leave it out, or train one: --model conditional_vae")
    if label is not None and label not in bundle.classes:
        raise unknown(f"class of {run}", label, bundle.classes)


def require_class(bundle: "AutoencoderBundle", run: str, label: str | None) -> None:
    """Refuse a conditional network without a class for its pictures.

    Raises:
        NetwrightError: none is named.
    """
    if bundle.conditional and label is None:
        problem = f"{run} is conditional: it wants to know which class pictures are of"
        raise NetwrightError(problem, f"add --class NAME, one of: {listed(bundle.classes, 12)}")


def check_sheet(place: Path, given: Iterable[Path] = ()) -> None:
    """Say before anything is computed that a sheet cannot be written.

    Raises:
        NetwrightError: no PNG, nowhere for it, or something of the user's is there.
    """
    from netwright.bundle.picture_files import refuse_taken, refuse_unmakeable

    if place.is_dir():
        raise NetwrightError(f"--output {place} is a folder", f"name a PNG in it: -o {place / 'sheet.png'}")
    if place.suffix.lower() != SHEET:
        raise NetwrightError(f"a sheet of pictures is a PNG, and '{place}' names none", f"-o {place}.png")
    refuse_unmakeable(place.parent)
    refuse_taken(place, {each.resolve() for each in given})


def for_folder(place: Path) -> bool:
    """Whether pictures are written into a folder, each for itself, and not all of them as a sheet.

    Raises:
        NetwrightError: a file of another kind is named.
    """
    folder = place.is_dir() or not place.suffix
    if not folder and place.suffix.lower() != SHEET:
        problem = f"'{place}' is neither a PNG nor a folder that is there"
        fix = f"-o {place.stem}.png for a sheet; for a PNG of each a name without a dot, as -o {place.stem}"
        raise NetwrightError(problem, f"{fix}, or a folder that you made")
    return folder


def require_finite(flag: str, *values: float) -> None:
    """Refuse what is no number to reckon with.

    Raises:
        NetwrightError: a value is infinite, or none.
    """
    if wrong := [each for each in values if not math.isfinite(each)]:
        raise NetwrightError(f"{flag} {wrong[0]} is no finite number", f"give one, as {flag} 2")


def check_room(bundle: "AutoencoderBundle", rows: int, across: int) -> None:
    """Refuse a sheet of more pictures than fit, before they are made.

    Raises:
        NetwrightError: they do not.
    """
    from netwright.report.sheet import check_room as check

    check(rows, across, bundle.network.image_size)


def classes_of(bundle: "AutoencoderBundle", data: "Gathered", places: "Places", label: str | None) -> "Labels | None":
    """For a conditional network the classes of some pictures: those that the data say, or the one of `--class`."""
    own = bundle.conditional and data.fits(places, bundle.classes)
    return data.names(places, bundle.classes) if own else label


def batches(
    bundle: "AutoencoderBundle", files: Sequence[Path], unreadable: list[dict[str, str]]
) -> "Iterator[tuple[list[Path], Tensor]]":
    """Pictures as they are stored, some at a time: uint8 N S S C. What cannot be read is told, and noted."""
    import numpy as np
    import torch

    preprocess = bundle.preprocess_or_error()
    for start in range(0, len(files), AT_ONCE):
        paths: list[Path] = []
        stored: list[Pixels] = []
        for path in files[start : start + AT_ONCE]:
            try:
                stored.append(preprocess.stored(path))
            except NetwrightError as error:
                unreadable.append({"name": str(path), "problem": error.problem})
                typer.echo(f"left out: {error.problem}", err=True)
                continue
            paths.append(path)
        if paths:
            yield paths, torch.from_numpy(np.stack(stored))


def named_pictures(files: Iterable[Path]) -> list[Path]:
    """Files and the pictures of folders, each once.

    Raises:
        NetwrightError: one does not exist, or there are none.
    """
    from netwright.data.files import pictures_in

    found = list(dict.fromkeys(pictures_in(files)))
    if not found:
        raise NetwrightError("no pictures are named", "name pictures, or folders of them")
    return found


def one_picture(file: Path) -> Path:
    """A file that is one picture's.

    Raises:
        NetwrightError: it does not exist, or is a folder.
    """
    first = named_pictures([file])[0]
    if file.is_dir():
        raise NetwrightError(f"{file} is a folder", f"name one picture of it, as {first}")
    return file


def require_one(name: str, seen: Sequence[Any], unreadable: Sequence[dict[str, str]]) -> None:
    """Refuse to go on where not one picture could be read.

    Raises:
        NetwrightError: none could.
    """
    if not seen:
        problem = f"none of the {len(unreadable)} pictures for {name} can be read ({unreadable[0]['problem']})"
        raise NetwrightError(problem, "give pictures that can be opened")


def tell(said: dict[str, Any], lines: Sequence[str], *, as_json: bool) -> None:
    """Print JSON, or what it says in words."""
    if as_json:
        from netwright.records.plain import json_text

        typer.echo(json_text({**said, "notes": list(said.get("notes", []))}))
    else:
        typer.echo("\n".join([*said.get("notes", []), *lines]))


def side_of(bundle: "AutoencoderBundle") -> str:
    """The size of pictures that a network gives, as `64x64`."""
    height, width = bundle.network.image_size
    return f"{width}x{height}"
