"""`netwright anomaly`: which pictures an autoencoder cannot give back."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.core.errors import EXIT_USER

LEFT_OUT = "left out: "  # a file that cannot be read
KINDS = "error, relative (to contrast), patch (the worst part: small defects), elbo (random codes), latent"


def anomaly(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle of an autoencoder.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Pictures, or a folder, flat or of classes.")],
    normal: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Normal pictures, not trained on. [default: those the run validated on]"),
    ] = None,
    normal_class: Annotated[
        list[str] | None,
        typer.Option(help="A class that is normal; may be repeated. [default: those the run was trained on]"),
    ] = None,
    false_alarms: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of normal pictures that may be flagged.")
    ] = 0.05,
    score: Annotated[
        str | None, typer.Option(help=f"{KINDS}. [default: elbo where codes are random, else error]")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for scores, page and heat maps.")] = Path(
        "anomaly"
    ),
    plain: Annotated[bool, typer.Option("--plain", help="The folders inside PATH are no classes.")] = False,
    device: options.Device = "auto",
    as_json: options.Json = False,
) -> int:
    """Score pictures by what an autoencoder cannot give back of them, and flag odd ones at a false-alarm rate.

    Writes scores.csv, a page with heat maps of the oddest and of ordinary pictures, and, where classes say which are
    normal, how well these are told from the others, with intervals. Files that cannot be read are named on stderr; the
    others are scored, and the exit code is 2.
    """
    from netwright.lab.anomaly import anomaly as run_anomaly

    wanted: dict[str, Any] = {"normal": normal, "normal_classes": tuple(normal_class or ()), "kind": score}
    wanted |= {"false_alarms": false_alarms, "plain": plain, "device": device}
    found = run_anomaly(run, paths, output, **wanted)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _tell(found, output)
    unread = [words for words in found["notes"] if words.startswith(LEFT_OUT)]
    for words in unread:
        typer.echo(words, err=True)
    return EXIT_USER if unread else 0


def _tell(found: dict[str, Any], output: Path) -> None:
    """What can be said, the table of classes, and where the rest is."""
    from netwright.cli._columns import columns
    from netwright.records.intervals import Interval
    from netwright.report.anomaly import rows_of_classes, said

    for words in found["notes"]:
        if not words.startswith(LEFT_OUT):
            typer.echo(words)
    if found["auroc"] is not None:
        typer.echo(f"AUROC {Interval.from_json(found['auroc']['value']).percent()} ({found['score']['says']})")
    for words in said(found):
        typer.echo(words)
    if found["by_class"]:
        heads = ["class", "", "pictures", "flagged", "AUROC against normal"]
        for line in ["", *columns([heads, *rows_of_classes(found)])]:
            typer.echo(line)
    typer.echo(f"page and scores: {output / 'anomaly.html'}, {output / 'scores.csv'}")
