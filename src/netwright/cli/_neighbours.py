"""What was found about neighbours, as a terminal shows it."""

from typing import TYPE_CHECKING

import typer

from netwright.cli._columns import columns

if TYPE_CHECKING:
    from netwright.lab.neighbours import Evaluation

MOST_ODD = 10
EDGE = ", at the end of what was tried"


def tell(found: "Evaluation", against: str | None) -> None:
    """Print the numbers, and the pictures that may be labelled wrongly."""
    from netwright.report.neighbours import rows_of

    typer.echo(f"{found.protocol.says}, by {found.metric}")
    if found.measures:
        heads = ["", "these vectors", "guessing", *([against, "difference, points"] if against else [])]
        rows = rows_of([measure.to_json() for measure in found.measures], against)
        for line in columns([heads, *rows]):
            typer.echo(line)
        typer.echo("95 % intervals" + ("; differences are paired, picture by picture" if against else ""))
    if found.probed is not None:
        typer.echo(f"linear probe: C = {found.probed.c:g}, {found.probed.chosen_on}{EDGE if found.probed.edge else ''}")
    for note in found.notes:
        typer.echo(note)
    if found.odd:
        _tell_odd(found)


def _tell_odd(found: "Evaluation") -> None:
    names, labels = found.vectors.names, found.vectors.labels
    k = found.everyone.places.shape[1]
    typer.echo(f"\nperhaps labelled wrongly: {len(found.odd)}; none of the {k} nearest of each has its label")
    for place, label, times in found.odd[:MOST_ODD]:
        typer.echo(f"  {names[place]} ({labels[place]}): {times} of {k} are {label}")
    if len(found.odd) > MOST_ODD:
        typer.echo(f"  and {len(found.odd) - MOST_ODD} more; --json has all")
