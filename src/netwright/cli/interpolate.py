"""`netwright interpolate`: from one picture to another, by their codes."""

from pathlib import Path
from typing import Annotated

import typer


def interpolate(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle of an autoencoder.")],
    first: Annotated[Path, typer.Argument(help="The picture to start from.")],
    second: Annotated[Path, typer.Argument(help="The picture to arrive at.")],
    steps: Annotated[int, typer.Option(min=2, max=64, help="Pictures, both ends among them.")] = 8,
    spherical: Annotated[
        bool, typer.Option("--spherical", help="Along the arc around the origin, not the straight line.")
    ] = False,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG to draw.")] = Path("interpolation.png"),
    label: Annotated[str | None, typer.Option("--class", help="Of a conditional network, the pictures' class.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Draw pictures of the codes between two pictures' codes, above a plain blend of the two pictures.

    Where the upper row looks like the lower, the codes do no more than mixing pixels would.
    """
    from netwright.bundle.latent import interpolate as interpolated
    from netwright.bundle.picture_files import as_bytes, write_picture
    from netwright.cli._latent import check_sheet, named_pictures, opened, require_class, tell
    from netwright.report.sheet import sheet

    named = named_pictures([first, second])
    check_sheet(output, named)
    bundle = opened(run, device, label)
    require_class(bundle, run, label)
    found = interpolated(bundle, first, second, steps=steps, spherical=spherical, label=label)
    way = "arc" if spherical else "straight line"
    drawn = sheet(
        [as_bytes(found.decoded), as_bytes(found.blended)],
        rows_named=[f"decoded codes,\n{way}", "pixels blended"],
        columns_named=[f"{100 * share:.0f} %" for share in found.shares.tolist()],
        title=f"From {first.name} to {second.name}",
    )
    write_picture(output, drawn)
    apart = float((found.codes[-1] - found.codes[0]).norm())
    said = {"run": run, "first": str(first), "second": str(second), "steps": steps, "written": str(output)}
    lines = [f"codes {apart:.2f} apart, in {bundle.latent} numbers", f"drawn in {output}"]
    tell({**said, "spherical": spherical, "distance": apart, "codes": found.codes.tolist()}, lines, as_json=as_json)
