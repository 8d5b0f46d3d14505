"""`netwright search`: the pictures most like one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from netwright.lab.search import Found


def search(
    vectors: Annotated[Path, typer.Argument(help="A file that `netwright embed` wrote.")],
    query: Annotated[Path, typer.Argument(help="A picture.")],
    k: Annotated[int, typer.Option("-k", min=1, help="How many to list.")] = 10,
    metric: Annotated[str, typer.Option(help="cosine compares directions, l2 places.")] = "cosine",
    approximate: Annotated[
        bool | None,
        typer.Option(
            "--approximate/--exact",
            help="By a graph (an extra), or by all products. [default: exact up to 100,000 vectors]",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Where the run, bundle or weights file lies now, if it was moved.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """List the pictures most like one, by the network that made the vectors."""
    from netwright.bundle.embedder import remade
    from netwright.lab.search import metric_named, search_for
    from netwright.records.vectors import read_vectors

    chosen: Literal["cosine", "l2"] = metric_named(metric)
    held = read_vectors(vectors)
    vector = remade(held, model=model, device=device).of_file(query)
    found = search_for(held, vector, k, metric=chosen, approximate=approximate)
    if as_json:
        typer.echo(json.dumps({"query": str(query), "vectors": str(vectors), **found.to_json()}))
    else:
        _print(found, k)


def _print(found: "Found", k: int) -> None:
    from netwright.cli._columns import columns

    numbers = columns([("", found.score_name), *((str(n), f"{hit.score:.4f}") for n, hit in enumerate(found.hits, 1))])
    labels = columns([("label",), *((hit.label or "–",) for hit in found.hits)])
    width = max(map(len, labels))
    for number, label, name in zip(numbers, labels, ["name", *(hit.name for hit in found.hits)], strict=True):
        typer.echo(f"{number}  {label.ljust(width)}  {name}")
    more: list[Any] = [f"{k} were asked for; the file has {len(found.hits)}"] if len(found.hits) < k else []
    for note in [*more, *found.notes]:
        typer.echo(note)
