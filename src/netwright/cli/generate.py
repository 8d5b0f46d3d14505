"""`netwright generate`: pictures that never were, from a variational autoencoder."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.bundle.autoencoder import AutoencoderBundle

    Pixels = Any

MOST = 100_000
MOST_SHEET = 1024
FITTED = "Draw codes from a Gaussian fitted to those of training, not from the prior; all that plain autoencoders have."
FEATURES = "With --frechet: a run or a model whose features count. [default: the run's own codes]"


def generate(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle of a VAE.")],
    n: Annotated[int, typer.Option("-n", min=1, max=MOST, help="How many pictures.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same one draws the same pictures.")] = 0,
    label: Annotated[
        str | None, typer.Option("--class", help="Of a conditional network, which class. [default: all in turn]")
    ] = None,
    fitted: Annotated[bool, typer.Option("--fitted", help=FITTED)] = False,
    output: options.SheetOrFolder = Path("generated.png"),
    frechet: Annotated[
        str | None, typer.Option(metavar="DATA", help="Measure how far samples lie from these real pictures.")
    ] = None,
    features: Annotated[str | None, typer.Option(help=FEATURES)] = None,
    weights: Annotated[str | None, typer.Option(help="With --features MODEL: a file, imagenet, random.")] = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Draw pictures from the prior of a variational autoencoder.

    With --frechet, also measure them against real pictures, beside what real pictures are from one another.
    """
    from netwright.bundle.latent import beside_prior
    from netwright.cli._latent import for_folder, opened, tell

    if frechet is None and (features is not None or weights is not None):
        flag = "--features" if features is not None else "--weights"
        raise NetwrightError(f"{flag} says how --frechet measures, and nothing is measured", "add --frechet DATA")
    if weights is not None and features is None:
        raise NetwrightError("--weights are those of a model whose features count", "name it: --features MODEL")
    folder = for_folder(output)
    bundle = opened(run, device, label)
    labels = _labels(bundle, n, label)
    places = _places(bundle, output, n, labels, folder=folder)
    codes = bundle.sample(n, seed, labels, fitted=fitted) if bundle.random or fitted else _refused(bundle, run)
    how: dict[str, Any] = {"seed": seed, "label": label, "fitted": fitted}
    measured, more = (None, []) if frechet is None else _measured(bundle, frechet, (features, weights, device), how)
    source = "a Gaussian fitted to the codes of training pictures" if fitted else "the prior N(0, I)"
    written = _files(bundle, codes, labels, places) if folder else _drawn(bundle, codes, labels, output, source)
    notes = [*([] if fitted else filter(None, [beside_prior(bundle)])), *more]
    said = {"run": run, "n": n, "seed": seed, "codes": source, "classes": labels, "written": written, "notes": notes}
    lines = [f"{n} {'picture' if n == 1 else 'pictures'} of codes from {source}"]
    lines += [f"{'written to' if folder else 'drawn in'} {output}"]
    if measured is not None:
        said |= {"frechet": measured}
        lines += _told(measured)
    tell(said, lines, as_json=as_json)


def _refused(bundle: "AutoencoderBundle", run: str) -> Any:
    """Codes that are not drawn have no prior."""
    problem = f"{run} has no prior to draw from: its codes are not random, and nobody knows where they lie"
    fix = "train one that has, with --model vae; or add --fitted, for a Gaussian fitted to its training codes"
    raise NetwrightError(problem, fix)


def _labels(bundle: "AutoencoderBundle", n: int, label: str | None) -> list[str] | None:
    """The class of each picture, for a conditional network: the one that is named, or all, equally often."""
    if not bundle.conditional:
        return None
    if label is not None:
        return [label] * n
    return sorted((bundle.classes[place % len(bundle.classes)] for place in range(n)), key=bundle.classes.index)


def _places(bundle: "AutoencoderBundle", output: Path, n: int, labels: list[str] | None, *, folder: bool) -> list[Path]:
    """Where each picture goes in a folder.

    Raises:
        NetwrightError: a place is taken, or there are too many for a sheet.
    """
    from netwright.bundle.mask_files import safe
    from netwright.bundle.picture_files import refuse_taken, refuse_unmakeable
    from netwright.cli._latent import check_room, check_sheet

    if not folder:
        check_sheet(output)
        if n > MOST_SHEET:
            problem = f"{n} pictures are too many for one sheet"
            raise NetwrightError(problem, f"up to {MOST_SHEET} fit; or write a PNG of each: -o {output.stem}")
        across = _across(n, labels)
        check_room(bundle, -(-n // across), across)
        return []
    refuse_unmakeable(output)
    names = dict(zip(bundle.classes, safe(bundle.classes), strict=True))
    heads = ["" if labels is None else f"{names[each]}_" for each in labels or [""] * n]
    places = [output / f"{head}{place:05d}.png" for place, head in enumerate(heads)]
    for place in places:
        refuse_taken(place)
    return places


def _files(bundle: "AutoencoderBundle", codes: Any, labels: list[str] | None, places: list[Path]) -> list[str]:
    """A PNG of each."""
    from PIL import Image

    from netwright.bundle.picture_files import as_bytes, write_picture

    left = iter(places)
    for part in bundle.decoded_parts(codes, labels):
        for pixels in as_bytes(part):
            write_picture(next(left), Image.fromarray(pixels))
    return [str(place) for place in places]


def _drawn(bundle: "AutoencoderBundle", codes: Any, labels: list[str] | None, output: Path, source: str) -> list[str]:
    """All in one sheet, classes in rows of their own."""
    from netwright.bundle.picture_files import as_bytes, write_picture
    from netwright.report.sheet import sheet

    pixels = as_bytes(bundle.decode(codes, labels))
    groups: dict[str, list[Any]] = {}
    for each, name in zip(pixels, labels or [""] * len(pixels), strict=True):
        groups.setdefault(name, []).append(each)
    across = _across(len(pixels), labels)
    rows: list[list[Any]] = []
    names: list[str] = []
    for name, group in groups.items():
        parts = [group[at : at + across] for at in range(0, len(group), across)]
        rows += parts
        names += [name] * len(parts)
    title = f"Pictures that never were: codes from {source}"
    drawn = sheet(rows, rows_named=names if labels is not None else (), title=title)
    return [str(write_picture(output, drawn))]


def _across(n: int, labels: list[str] | None) -> int:
    """Pictures of a row."""
    return max(1, round(n**0.5)) if labels is None else min(16, max(Counter(labels).values()))


def _measured(
    bundle: "AutoencoderBundle", path: str, network: tuple[str | None, str | None, str | None], how: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Distances from real pictures, and what to know of them."""
    from netwright.bundle.embedder import make_embedder
    from netwright.bundle.gathered import gathered
    from netwright.bundle.realism import caveats, realism
    from netwright.cli._verdict import Bar

    features, weights, device = network
    embedder = None if features is None else make_embedder(features, weights=weights, device=device or "auto")
    with Bar() as bar:
        data = gathered(bundle.preprocess_or_error(), path, bar, held_out=True)
    found = realism(bundle, data, embedder=embedder, **how)
    return found, [*data.notes, *caveats(found, own=embedder is None)]


def _told(found: dict[str, Any]) -> list[str]:
    """The three distances, the one that matters first."""
    words = {"samples": "samples", "reconstructions": "reconstructions of them", "real": "other real pictures"}
    head = (
        f"Fréchet distance from {found['n']:,} real pictures, in {found['dimensions']} features of {found['features']}:"
    )
    rows = [
        f"  {word:24} {row['corrected']:10.4g}  [{row['low']:.4g}, {row['high']:.4g}], uncorrected {row['value']:.4g}"
        for kind, word in words.items()
        for row in [found["distances"][kind]]
    ]
    return [head, *rows]
