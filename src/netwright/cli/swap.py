"""`netwright swap`: the encoder of one autoencoder, the decoder of another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.core.errors import EXIT_USER

if TYPE_CHECKING:
    from netwright.bundle.autoencoder import AutoencoderBundle
    from netwright.bundle.latent import Alignment

SHARED = 10_000  # pictures that codes are aligned on


def swap(
    run: Annotated[str, typer.Argument(metavar="A", help="A run or a bundle, whose encoder it is.")],
    other: Annotated[str, typer.Argument(metavar="B", help="Another, whose decoder it is.")],
    files: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    align: Annotated[
        str | None, typer.Option(metavar="DATA", help="Pictures on which to fit a map from A's codes to B's.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG to draw; or a folder, for a PNG of each.")] = Path(
        "swapped.png"
    ),
    label: Annotated[str | None, typer.Option("--class", help="Of conditional networks, the pictures' class.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> int:
    """Draw what B's decoder makes of A's codes, beside what B makes of the pictures itself.

    Two networks put the same thing in different places: without --align, this shows how different. Files that cannot be
    read are named on stderr, and the exit code is 2.
    """
    from netwright.bundle.latent import swap as swapped
    from netwright.bundle.picture_files import as_bytes
    from netwright.cli._edited import Edited, Output
    from netwright.cli._latent import batches, named_pictures, require_one, tell
    from netwright.tasks.reconstruction import psnr, squared_error

    pictures = named_pictures(files)
    where = Output(output, pictures)
    first, second = _both(run, other, device, label)
    labels = label if first.conditional else None, label if second.conditional else None
    alignment = None if align is None else _aligned(first, second, align, labels)
    unreadable: list[dict[str, str]] = []
    made: list[Edited] = []
    told: list[dict[str, Any]] = []
    for paths, _ in batches(second, pictures, unreadable):
        found = swapped(first, second, paths, alignment=alignment, labels=labels)
        shown = zip(*map(as_bytes, (found.given, found.own, found.decoded)), strict=True)
        made += [Edited(path, each) for path, each in zip(paths, shown, strict=True)]
        near = [psnr(squared_error(each, found.given)).tolist() for each in (found.decoded, found.own)]
        told += [
            {"name": str(path), "psnr": swap_, "psnr_own": own} for path, swap_, own in zip(paths, *near, strict=True)
        ]
    require_one("swapping", made, unreadable)
    title = f"The encoder of {Path(run).name}, the decoder of {Path(other).name}"
    written = where.write(made, ["given", "B alone", "A's code,\nB's decoder"], title)
    fit = None if alignment is None else {"r2": alignment.r2, "n": alignment.n, "held_out": alignment.held_out}
    said = {"run": run, "other": other, "align": fit, "pictures": told, "unreadable": unreadable, "written": written}
    mean, own = (sum(each[name] for each in told) / len(told) for name in ("psnr", "psnr_own"))
    line = f"{mean:.1f} dB from the pictures by A's codes, {own:.1f} dB by B alone (PSNR, mean of {len(told)})"
    tell({**said, "notes": [_note(alignment)]}, [line, where.told(written)], as_json=as_json)
    return EXIT_USER if unreadable else 0


def _both(run: str, other: str, device: str, label: str | None) -> "tuple[AutoencoderBundle, AutoencoderBundle]":
    """Both networks; a class is for those that take one."""
    from netwright.bundle.autoencoder import load_autoencoder
    from netwright.cli._latent import check_class, require_class

    both = load_autoencoder(run, device=device), load_autoencoder(other, device=device)
    wanting = [(bundle, name) for bundle, name in zip(both, (run, other), strict=True) if bundle.conditional]
    for bundle, name in wanting or [(both[0], run)]:
        check_class(bundle, name, label)
        require_class(bundle, name, label)
    return both


def _aligned(
    first: "AutoencoderBundle", second: "AutoencoderBundle", path: str, labels: tuple[str | None, str | None]
) -> "Alignment":
    """The map from the one's codes to the other's, fitted to pictures that both encode."""
    from netwright.bundle.gathered import gathered
    from netwright.bundle.latent import align
    from netwright.cli._verdict import Bar

    codes: list[Any] = []
    for bundle, label in zip((first, second), labels, strict=True):
        with Bar() as bar:
            data = gathered(bundle.preprocess_or_error(), path, bar)
        codes.append(bundle.encode(data.stored(data.spread(SHARED)), label)[0])
    return align(codes[0], codes[1])


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
