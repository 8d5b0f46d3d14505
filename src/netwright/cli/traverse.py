"""`netwright traverse`: what each number of a code does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from netwright.bundle.autoencoder import AutoencoderBundle
    from netwright.bundle.latent import Chosen

REACH = "How far from the middle of training's codes, in their standard deviations."
DIM = "A dimension's number, as often as wanted; or active, all. [default: active, up to ten that say most]"
USUAL, PLANE = 3.0, 15


def traverse(
    run: options.Autoencoder,
    image: Annotated[
        Path | None, typer.Argument(help="A picture to start from. [default: the middle of codes]")
    ] = None,
    dim: Annotated[list[str] | None, typer.Option(help=DIM)] = None,
    reach: Annotated[float | None, typer.Option("--range", help=f"{REACH} [default: {USUAL:g}]")] = None,
    steps: Annotated[int | None, typer.Option(min=2, max=64, help="Values of each. [default: 9; of --grid 15]")] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="All codes of two numbers, in a plane. [default where there are two]")
    ] = False,
    output: options.Sheet = Path("traversal.png"),
    label: options.PicturesClass = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Draw pictures in which one number of the code takes one value after another, and the others stay.

    Each row is a dimension, named with what it says: its divergence from the prior in nats.
    """
    from netwright.cli._latent import check_sheet, one_picture, opened, require_class

    _refuse(image, dim or [], reach, grid=grid)
    chosen = _dimensions(dim or [])
    check_sheet(output, [] if image is None else [one_picture(image)])
    bundle = opened(run, device, label)
    require_class(bundle, run, label)
    if grid or (image is None and not dim and bundle.latent == 2):
        if reach is not None:
            problem = "--range is for rows of dimensions, and a plane of equal shares is drawn"
            raise NetwrightError(problem, "leave it out, or ask for rows: --dim all")
        _plane(bundle, run, steps or PLANE, output, label, as_json=as_json)
    else:
        _rows(bundle, run, (image, chosen, reach or USUAL, steps or 9), output, label, as_json=as_json)


def _refuse(image: Path | None, dim: list[str], reach: float | None, *, grid: bool) -> None:
    """Flags that do not go together, and a range that is none.

    Raises:
        NetwrightError: there are some.
    """
    from netwright.cli._latent import require_finite

    if image is not None and grid:
        raise NetwrightError("--grid shows all codes, and needs no picture", f"leave out --grid, or {image}")
    if dim and grid:
        raise NetwrightError("--grid shows all codes, and --dim chooses some", "leave out one of them")
    if reach is not None:
        require_finite("--range", reach)
        if reach <= 0:
            raise NetwrightError(f"a --range of {reach:g} leads nowhere", "give more than 0: 3 is usual")


def _plane(
    bundle: "AutoencoderBundle", run: str, steps: int, output: Path, label: str | None, *, as_json: bool
) -> None:
    """Codes of two numbers at equal shares of the prior."""
    from netwright.bundle.latent import beside_prior, plane
    from netwright.bundle.picture_files import as_bytes, write_picture
    from netwright.cli._latent import check_room, tell
    from netwright.report.sheet import sheet

    check_room(bundle, steps, steps)
    values, decoded = plane(bundle, steps, label=label)
    rows = [as_bytes(row) for row in decoded]
    named = [f"{value:+.2f}" for value in values.tolist()]
    unit = "" if bundle.random else ", in standard deviations of training's codes"
    title = f"Codes of two numbers{unit}: the first to the right, the second upwards"
    write_picture(output, sheet(rows, rows_named=named[::-1], columns_named=named, title=title))
    share = f"each stands for 1/{steps * steps} of {'the prior' if bundle.random else 'a normal distribution'}"
    notes = list(filter(None, [beside_prior(bundle)]))
    said = {"run": run, "grid": steps, "values": values.tolist(), "written": str(output), "notes": notes}
    tell(said, [f"{steps}x{steps} pictures, {share}", f"drawn in {output}"], as_json=as_json)


def _rows(
    bundle: "AutoencoderBundle",
    run: str,
    wanted: "tuple[Path | None, Chosen, float, int]",
    output: Path,
    label: str | None,
    *,
    as_json: bool,
) -> None:
    """One dimension a row, beside the picture and its reconstruction."""
    from netwright.bundle.latent import traverse as traversed
    from netwright.bundle.picture_files import as_bytes, write_picture
    from netwright.cli._latent import check_room, tell
    from netwright.report.sheet import sheet

    image, dimensions, reach, steps = wanted
    if dimensions != "active":
        count = bundle.latent if dimensions == "all" else len(set(dimensions))
        check_room(bundle, count, steps + 2 * (image is not None))
    found = traversed(bundle, image, dimensions=dimensions, reach=reach, steps=steps, label=label)
    rows: list[list[Any]] = [list(as_bytes(row)) for row in found.decoded]
    unit = "nats" if bundle.random else "deviation"
    columns = [f"{reach * (2 * place / (steps - 1) - 1):+.2f} sd" for place in range(steps)]
    if image is not None:
        lead = [as_bytes(each)[0] for each in (bundle.pictures([image]), bundle.reconstruct([image], label))]
        rows = [[*(lead if place == 0 else [None, None]), *row] for place, row in enumerate(rows)]
        columns = ["given", "decoded", *columns]
    says: list[float | None] = [*found.says] if found.says is not None else [None] * len(found.dimensions)
    pairs = list(zip(found.dimensions, says, strict=True))
    names = [f"dimension {number}" + ("" if each is None else f"\n{each:.2f} {unit}") for number, each in pairs]
    start = "the middle of codes" if image is None else image.name
    title = f"What each number of the code does, from {start}"
    write_picture(output, sheet(rows, rows_named=names, columns_named=columns, title=title))
    told = [{"dimension": number, unit: each} for number, each in pairs]
    said = {"run": run, "image": None if image is None else str(image), "dimensions": told, "range": reach}
    nobody = "nobody measured what it says"
    lines = [f"dimension {number}: {nobody if each is None else f'{each:.3f} {unit}'}" for number, each in pairs]
    rest = bundle.latent - len(pairs)
    lines += [f"{rest} of {bundle.latent} dimensions are not shown; --dim all shows them"] if rest else []
    tell({**said, "written": str(output)}, [*lines, f"drawn in {output}"], as_json=as_json)


def _dimensions(given: list[str]) -> "Chosen":
    """What --dim names.

    Raises:
        NetwrightError: something that is no number and no known word.
    """
    if not given or given == ["active"]:
        return "active"
    if given == ["all"]:
        return "all"
    parts = [part.strip() for each in given for part in each.split(",")]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise NetwrightError(f"'{wrong[0]}' is no dimension", "give a number from 0 on, or active, or all")
    return [int(part) for part in parts]
