"""`netwright swap`: the encoder of one autoencoder, the decoder of another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import EXIT_USER

if TYPE_CHECKING:
    from netwright.bundle.alignment import Alignment
    from netwright.bundle.autoencoder import AutoencoderBundle

SHARED = 10_000  # pictures that codes are aligned on


def swap(
    run: Annotated[str, typer.Argument(metavar="A", help="A run or a bundle, whose encoder it is.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another, whose decoder it is.")],
    files: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    align: Annotated[
        str | None, typer.Option(metavar="DATA", help="Pictures on which to fit a map from A's codes to B's.")
    ] = None,
    output: options.SheetOrFolder = Path("swapped.png"),
    label: options.PicturesClass = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> int:
    """Draw what B's decoder makes of A's codes, beside what B makes of the pictures itself.

    Two networks put the same thing in different places: without --align, this shows how different. Files that cannot be
    read are named on stderr, and the exit code is 2.
    """
    from netwright.bundle.alignment import alike
    from netwright.bundle.alignment import swap as swapped
    from netwright.bundle.picture_files import as_bytes
    from netwright.cli._edited import Edited, Output
    from netwright.cli._latent import batches, named_pictures, require_one, tell
    from netwright.tasks.reconstruction import psnr, squared_error

    pictures = named_pictures(files)
    where = Output(output, pictures)
    first, second = _both(run, other, device, label)
    labels = label if first.conditional else None, label if second.conditional else None
    where.check_room(second, 3)
    alignment, notes = (None, []) if align is None else _aligned(first, second, align, label)
    once = alike(first, second)
    unreadable: list[dict[str, str]] = []
    told: list[dict[str, Any]] = []
    for paths, stored in batches(second, pictures, unreadable):
        given = stored if once else paths
        found = swapped(first, second, given, seen=stored, alignment=alignment, labels=labels)
        shown = zip(*map(as_bytes, (found.given, found.own, found.decoded)), strict=True)
        where.add([Edited(path, each) for path, each in zip(paths, shown, strict=True)])
        near = [psnr(squared_error(each, found.given)).tolist() for each in (found.decoded, found.own)]
        told += [
            {"name": str(path), "psnr": swap_, "psnr_own": own} for path, swap_, own in zip(paths, *near, strict=True)
        ]
    require_one("swapping", told, unreadable)
    title = f"The encoder of {Path(run).name}, the decoder of {Path(other).name}"
    place = where.finish(["given", "B alone", "A's code,\nB's decoder"], title)
    fit = None if alignment is None else {"r2": alignment.r2, "n": alignment.n, "held_out": alignment.held_out}
    said = {"run": run, "other": other, "align": fit, "pictures": told, "unreadable": unreadable}
    mean, own = (sum(each[name] for each in told) / len(told) for name in ("psnr", "psnr_own"))
    line = f"{mean:.1f} dB from the pictures by A's codes, {own:.1f} dB by B alone (PSNR, mean of {len(told)})"
    said |= {"written": where.written, "notes": [*notes, _note(alignment)]}
    tell(said, [line, place], as_json=as_json)
    return EXIT_USER if unreadable else 0


def _both(run: str, other: str, device: str | None, label: str | None) -> "tuple[AutoencoderBundle, AutoencoderBundle]":
    """Both networks; a class is for those that take one."""
    from netwright.bundle.autoencoder import load_autoencoder
    from netwright.cli._latent import check_class, require_class

    both = load_autoencoder(run, device=device or "auto"), load_autoencoder(other, device=device or "auto")
    wanting = [(bundle, name) for bundle, name in zip(both, (run, other), strict=True) if bundle.conditional]
    for bundle, name in wanting or [(both[0], run)]:
        check_class(bundle, name, label)
        require_class(bundle, name, label)
    return both


def _aligned(
    first: "AutoencoderBundle", second: "AutoencoderBundle", path: str, label: str | None
) -> "tuple[Alignment, list[str]]":
    """The map from the one's codes to the other's, fitted to pictures that both encode, and what to know of these."""
    from netwright.bundle.alignment import align
    from netwright.bundle.gathered import gathered
    from netwright.cli._latent import classes_of
    from netwright.cli._verdict import Bar

    codes: list[Any] = []
    notes: dict[str, None] = {}
    for bundle in (first, second):
        with Bar() as bar:
            data = gathered(bundle.preprocess_or_error(), path, bar)
        chosen = data.spread(SHARED)
        own = classes_of(bundle, data, chosen, label if bundle.conditional else None)
        codes.append(bundle.encode(data.stored(chosen), own)[0])
        notes |= dict.fromkeys(data.notes)
    return align(codes[0], codes[1]), list(notes)


def _note(alignment: "Alignment | None") -> str:
    if alignment is None:
        return (
            "codes of two networks mean the same only if they are aligned, and these are not: what B's decoder makes "
            "of A's numbers is chance; --align DATA fits a map on pictures that both encode"
        )
    share = f"{100 * alignment.r2:.1f} % of what B's codes vary (R² {alignment.r2:.3f}"
    return (
        f"A's codes through an affine map explain {share}, {alignment.held_out} pictures held out of {_of(alignment)})"
    )


def _of(alignment: "Alignment") -> str:
    return f"{alignment.n + alignment.held_out:,}"
