"""`netwright compare`: finished runs over the same test pictures, and what their recipes have different."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli._columns import columns
from netwright.core.errors import NetwrightError

CUT = 44  # of a value in the terminal; the page has all of it


def compare(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or parts of names in runs/ that only one run has.")],
    against: Annotated[str | None, typer.Option(help="The run to compare the others against. [default: first]")] = None,
    by_recipe: Annotated[
        bool, typer.Option("--by-recipe", help="Runs that differ in nothing but their seeds count as seeds of one.")
    ] = False,
    margin: Annotated[float, typer.Option(help="A difference in accuracy that would not matter.")] = 0.01,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for page, table and picture.")] = Path(
        "compare"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Say which of several finished runs is better, how sure that is, and what their recipes have different.

    The runs must have been tested on the same pictures. Nothing is trained or evaluated again.
    """
    if not 0 < margin < 1:
        raise NetwrightError(f"--margin {margin:g} is no difference in accuracy", "give one between 0 and 1, as 0.01")

    from netwright.lab.compare_runs import compare_runs, write
    from netwright.lab.studies._output import refuse_unwritable

    refuse_unwritable(output)
    found = compare_runs(runs, against=against, by_recipe=by_recipe, margin=margin)
    page = write(found, output)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _print(found, page)


def _print(found: dict[str, Any], page: Path) -> None:
    """Tables, what they say, and where the rest is."""
    from netwright.report.compare import NOTHING, comparison_rows, difference_rows, run_rows, sentences

    for line in columns(run_rows(found), left=3):
        typer.echo(line)
    changed = [[_short(cell) for cell in row] for row in difference_rows(found)]
    for line in ["", *(columns(changed, left=len(changed[0])) if len(changed) > 1 else [NOTHING])]:
        typer.echo(line)
    for line in ["", *columns(comparison_rows(found), left=2), "", *sentences(found), *found["notes"]]:
        typer.echo(line)
    typer.echo(f"curves, classes and pictures: {page}")


def _short(cell: str) -> str:
    return cell if len(cell) <= CUT else f"{cell[: CUT - 1]}…"
