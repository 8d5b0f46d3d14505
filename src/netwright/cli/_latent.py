"""What the verbs of autoencoders share: opening one, its classes, pictures that can be read, and sheets."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from netwright.core.errors import NetwrightError, listed, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from netwright.bundle.autoencoder import AutoencoderBundle

    Pixels = NDArray[np.uint8]

SHEET = ".png"
AT_ONCE = 64
MOST_COLUMNS = 12


def opened(run: str, device: str, label: str | None = None) -> "AutoencoderBundle":
    """The autoencoder of a run, with the class that is named checked.

    Raises:
        NetwrightError: no autoencoder there; a class that it does not know, or takes none of.
    """
    from netwright.bundle.autoencoder import load_autoencoder

    bundle = load_autoencoder(run, device=device)
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
        NetwrightError: no PNG, no folder for it, or something of the user's is there.
    """
    from netwright.bundle.picture_files import refuse_taken
    from netwright.cli.check import refuse_unwritable

    if place.suffix.lower() != SHEET:
        raise NetwrightError(
            f"a sheet of pictures is a PNG, and '{place}' names none", f"-o {place.stem or 'sheet'}.png"
        )
    refuse_unwritable(place, "output")
    refuse_taken(place, {each.resolve() for each in given})


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
        typer.echo(json.dumps({**said, "notes": list(said.get("notes", []))}, ensure_ascii=False))
    else:
        typer.echo("\n".join([*said.get("notes", []), *lines]))


def side_of(bundle: "AutoencoderBundle") -> str:
    """The size of pictures that a network gives, as `64x64`."""
    height, width = bundle.network.image_size
    return f"{width}x{height}"
