"""`netwright map`: vectors as a map in the plane."""

from pathlib import Path
from typing import Annotated

import typer

from netwright.core.errors import NetwrightError, listed

ENDINGS = (".html", ".png", ".svg")


def map_(
    vectors: Annotated[Path, typer.Argument(help="A file that `netwright embed` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to: .html, .png or .svg.")] = Path("map.html"),
    method: Annotated[str, typer.Option(help="pca, or umap, which is an extra.")] = "pca",
    metric: Annotated[str, typer.Option(help="cosine compares directions, l2 places.")] = "cosine",
    pictures: Annotated[str | None, typer.Option(help="Where the pictures lie now, if they were moved.")] = None,
) -> None:
    """Draw pictures as points, those with like vectors close together; and say how far the map can be believed."""
    from netwright.cli.check import refuse_unwritable

    if out.suffix.lower() not in ENDINGS:
        raise NetwrightError(f"cannot tell what '{out}' is to be", f"give a name that ends in {listed(ENDINGS)}")
    refuse_unwritable(out, "out")
    from netwright.lab.pages import map_as
    from netwright.lab.projection import project
    from netwright.lab.search import metric_named
    from netwright.records.atomic import write_atomic
    from netwright.records.vectors import read_vectors

    chosen = metric_named(metric)
    held = read_vectors(vectors)
    made = project(held.matrix, method=method, metric=chosen)
    drawn, notes = map_as(out.suffix.lower(), held, made, vectors.name, pictures)
    write_atomic(out, drawn)
    for note in [*made.says(), *notes]:
        typer.echo(note)
    typer.echo(f"map: {out}")
