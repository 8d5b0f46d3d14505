"""`netwright embed`: pictures as vectors."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from netwright.cli import _options as options
from netwright.core.errors import NetwrightError


def embed(
    model: Annotated[str, typer.Argument(help="A run folder or a bundle; or a model's name, with --weights.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Data as for `train`, or pictures.")],
    out: Annotated[Path, typer.Option("--out", "--output", "-o", help="Where to: .parquet, or .npz.")] = Path(
        "vectors.parquet"
    ),
    weights: Annotated[
        str | None,
        typer.Option(help="For a model by name: a file, imagenet, hf-hub:owner/name; or, as a control, random."),
    ] = None,
    stage: Annotated[
        int | None, typer.Option(help="Whose map is pooled, from 0 or from -1 backwards. [default: the embedding]")
    ] = None,
    pool: Annotated[str, typer.Option(help="How a stage's map becomes a vector: avg, max, avg_max.")] = "avg",
    image_size: Annotated[int | None, typer.Option(min=1, help="Side that the network sees.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="The folders inside PATH are no classes.")] = False,
    device: options.Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 64,
    as_json: options.Json = False,
) -> None:
    """Turn every picture into a vector, in one file that says which network made them.

    The file is what `netwright search`, `neighbours` and `map` read.
    """
    from netwright.records.vectors import check_ending

    check_ending(out)
    if out.is_dir():
        raise NetwrightError(f"--out {out} is a folder", f"name a file in it: --out {out / 'vectors.parquet'}")
    from netwright.bundle.embed import embed as embedded
    from netwright.bundle.embedder import make_embedder
    from netwright.bundle.picture_files import refuse_unmakeable
    from netwright.cli._verdict import Bar
    from netwright.records.atomic import disk_errors
    from netwright.records.vectors import write_vectors

    refuse_unmakeable(out.parent)
    made = make_embedder(model, weights=weights, stage=stage, pool=pool, image_size=image_size, device=device or "auto")
    start = time.monotonic()
    with Bar() as bar:
        vectors, notes = embedded(made, paths, plain=plain, batch_size=batch_size, progress=bar)
    with disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_vectors(out, vectors)
    seconds = time.monotonic() - start
    if as_json:
        said = {"path": str(out), "pictures": len(vectors), "dimension": vectors.dimension, "seconds": seconds}
        typer.echo(json.dumps({**said, "meta": dict(vectors.meta), "notes": notes}))
        return
    for note in notes:
        typer.echo(note)
    for sentence in made.profile.why:
        typer.echo(f"  {sentence}")
    typer.echo(f"{len(vectors)} pictures as vectors of {vectors.dimension} numbers in {seconds:.1f} s: {out}")
    typer.echo(f"next: netwright neighbours {out}, netwright map {out}, netwright search {out} PICTURE")
