"""`netwright attribute`: pictures moved towards another class by arithmetic with their codes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import EXIT_USER, NetwrightError

if TYPE_CHECKING:
    from torch import Tensor

    from netwright.bundle.autoencoder import AutoencoderBundle

MOST = 5000  # pictures of a class whose codes are averaged


def attribute(
    run: options.Autoencoder,
    files: Annotated[list[Path], typer.Argument(help="Pictures to change, or folders of them.")],
    data: Annotated[str, typer.Option(help="Pictures with classes, whose codes are averaged.")],
    to: Annotated[str, typer.Option(metavar="CLASS", help="The class of DATA to move towards.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="CLASS", help="The class to move away from. [default: all others]")
    ] = None,
    strength: Annotated[
        list[float] | None,
        typer.Option(help="How many times the difference is added; as often as wanted. [default: 1]"),
    ] = None,
    output: options.SheetOrFolder = Path("attribute.png"),
    label: options.PicturesClass = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> int:
    """Add to each picture's code the mean code of one class less that of another, and decode it.

    In a folder, the last --strength is written. Files that cannot be read are named on stderr, and the exit code is 2.
    """
    from netwright.bundle.picture_files import as_bytes
    from netwright.cli._edited import Edited, Output
    from netwright.cli._latent import (
        batches,
        named_pictures,
        opened,
        require_class,
        require_finite,
        require_one,
        tell,
    )

    wanted = strength or [1.0]
    require_finite("--strength", *wanted)
    if source == to:
        raise NetwrightError(f"--from {to} and --to {to} are one class: nothing lies between", "name two classes")
    pictures = named_pictures(files)
    where = Output(output, pictures)
    bundle = opened(run, device, label)
    require_class(bundle, run, label)
    where.check_room(bundle, 2 + len(wanted))
    step, counts, notes = _direction(bundle, data, source, to, label)
    times = wanted[-1:] if where.folder else [0.0, *wanted]
    unreadable: list[dict[str, str]] = []
    done: list[Path] = []
    for paths, stored in batches(bundle, pictures, unreadable):
        done += paths
        if where.full:  # a sheet has its rows; the rest is only counted
            where.count(len(paths))
            continue
        given = bundle.pictures(stored)
        codes = bundle.encode(given, label)[0]
        moved = [bundle.decode(codes + each * step, label) for each in times]
        shown = zip(*map(as_bytes, (given, *moved)), strict=True)
        where.add([Edited(path, each) for path, each in zip(paths, shown, strict=True)])
    require_one("changing", done, unreadable)
    what = f"{source or f'not {to}'} → {to}"
    columns = ["given", "decoded", *(f"{each:+g}" for each in wanted)]
    place = where.finish(columns, f"{what}: times the difference of mean codes")
    said: dict[str, Any] = {"run": run, "from": source, "to": to, "strength": wanted, "pictures": counts}
    said |= {"direction": step.tolist(), "unreadable": unreadable, "written": where.written, "notes": notes}
    line = f"{what}: mean codes of {counts['from']:,} and {counts['to']:,} pictures, {float(step.norm()):.2f} apart"
    tell(said, [line, place], as_json=as_json)
    return EXIT_USER if unreadable else 0


def _direction(
    bundle: "AutoencoderBundle", path: str, source: str | None, to: str, label: str | None
) -> "tuple[Tensor, dict[str, int], list[str]]":
    """The difference of mean codes, the pictures of each kind, and what a user should know."""
    import numpy as np
    import torch

    from netwright.bundle.gathered import gathered
    from netwright.bundle.latent import direction
    from netwright.cli._latent import classes_of
    from netwright.cli._verdict import Bar

    with Bar() as bar:
        data = gathered(bundle.preprocess_or_error(), path, bar)
    there = data.of(to)
    kinds = {"from": ~there if source is None else data.of(source), "to": there}
    chosen = {kind: np.flatnonzero(flags) for kind, flags in kinds.items()}
    chosen = {kind: each[:: max(1, -(-len(each) // MOST))] for kind, each in chosen.items()}
    places = np.concatenate([chosen["from"], chosen["to"]])
    kind = torch.arange(len(places)) >= len(chosen["from"])
    codes = bundle.encode(data.stored(places), classes_of(bundle, data, places, label))[0]
    return direction(codes, ~kind, kind), {name: len(each) for name, each in chosen.items()}, list(data.notes)
