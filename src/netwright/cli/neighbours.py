"""`netwright neighbours`: what pictures lie near each other, and how well that tells their classes."""

import json
from pathlib import Path
from typing import Annotated

import typer


def neighbours(
    vectors: Annotated[Path, typer.Argument(help="A file that `netwright embed` wrote.")],
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="How many neighbours.")] = 5,
    metric: Annotated[str, typer.Option(help="cosine compares directions, l2 places.")] = "cosine",
    queries: Annotated[
        str, typer.Option(help="test: test pictures among training pictures; all: each among all others; auto.")
    ] = "auto",
    against: Annotated[
        Path | None, typer.Option(help="Other vectors of the same pictures, as those of random weights.")
    ] = None,
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Fit a linear classifier as well.")] = True,
    page: Annotated[Path | None, typer.Option(help="Write a page with the pictures side by side.")] = None,
    pictures: Annotated[str | None, typer.Option(help="Where the pictures lie now, if they were moved.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the neighbours of each picture.")] = False,
) -> None:
    """Measure how near pictures of one class lie: precision at k, k-NN and a linear probe, with 95 % intervals.

    Pictures whose neighbours all have another label are named: wrong labels and odd pictures gather there.
    """
    from netwright.cli.check import refuse_unwritable

    if page is not None:
        refuse_unwritable(page, "page")
    from netwright.lab.neighbours import evaluate
    from netwright.lab.protocol import queries_named
    from netwright.lab.search import metric_named
    from netwright.records.vectors import read_vectors

    chosen, asked = metric_named(metric), queries_named(queries)
    held = read_vectors(vectors)
    other = None if against is None else read_vectors(against)
    found = evaluate(held, k=k, metric=chosen, queries=asked, against=other, with_probe=probe)
    if page is not None:
        from netwright.lab.pages import neighbours_page
        from netwright.records.atomic import write_atomic

        write_atomic(page, neighbours_page(found, vectors.name, against and against.name, pictures))
    if as_json:
        typer.echo(json.dumps(found.to_json()))
        return
    from netwright.cli._neighbours import tell

    tell(found, against and against.name)
    if page is not None:
        typer.echo(f"page: {page}")
    else:
        typer.echo(f"to see the pictures: netwright neighbours {vectors} --page neighbours.html")
