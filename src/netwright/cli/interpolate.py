"""`netwright interpolate`: from one picture to another, by their codes."""

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli import _options as options


def interpolate(
    run: options.Autoencoder,
    first: Annotated[Path, typer.Argument(help="The picture to start from.")],
    second: Annotated[Path, typer.Argument(help="The picture to arrive at.")],
    steps: Annotated[int, typer.Option(min=2, max=64, help="Pictures, both ends among them.")] = 8,
    spherical: Annotated[
        bool, typer.Option("--spherical", help="Along the arc around the origin, not the straight line.")
    ] = False,
    output: options.Sheet = Path("interpolation.png"),
    label: options.PicturesClass = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> None:
    """Draw pictures of the codes between two pictures' codes, above a plain blend of the two pictures.

    Where the upper row looks like the lower, the codes do no more than mixing pixels would.
    """
    from netwright.bundle.latent import interpolate as interpolated
    from netwright.bundle.picture_files import as_bytes, write_picture
    from netwright.cli._latent import check_room, check_sheet, one_picture, opened, require_class, tell
    from netwright.report.sheet import sheet

    check_sheet(output, [one_picture(first), one_picture(second)])
    bundle = opened(run, device, label)
    require_class(bundle, run, label)
    check_room(bundle, 2, steps)
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
