"""`netwright report`: write a run's report anew."""

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Write `report.html` of a run from its record, and say where it is."""
    from netwright.records.folder import RunFolder
    from netwright.report import write_report

    written = write_report(RunFolder.open(run).path)
    typer.echo(json.dumps({"report": str(written)}) if as_json else str(written))
