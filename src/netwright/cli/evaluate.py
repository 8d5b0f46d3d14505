"""`netwright evaluate`: how good a trained model is on labelled pictures."""

import json
from typing import Annotated, Any

import typer


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder or a bundle.")],
    path: Annotated[
        str,
        typer.Argument(
            help="Labelled pictures: one folder a class, or with test/ inside; or with masks. For an autoencoder, any."
        ),
    ],
    legend: Annotated[
        str | None, typer.Option(help="Of masks: a file that names their classes. [default: one beside them]")
    ] = None,
    ignore: Annotated[
        int | None, typer.Option(help="Of masks: the number whose pixels count nowhere. [default: as in training]")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Measure a model on labelled pictures; every number with its 95 % interval."""
    from netwright.bundle.evaluate import evaluate_bundle
    from netwright.bundle.predictor import load

    found = evaluate_bundle(load(run, device=device), path, legend=legend, ignore=ignore)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from netwright.cli._display import print_metrics

    for note in found["notes"]:
        typer.echo(note)
    print_metrics({found["split"]: found["metrics"]})
    if "latent" in found:
        typer.echo(_of_codes(found["latent"]))
    if "classes" in found:
        typer.echo("\nover all pixels together:")
        print_metrics(found["classes"])


def _of_codes(latent: dict[str, Any]) -> str:
    """One line on the dimensions of an autoencoder's codes."""
    used = f"codes of {latent['dimensions']} numbers: {latent['active']} say something of the picture"
    if "divergence" not in latent:
        return used
    collapsed = "; the posterior has collapsed" if latent["collapsed"] else ""
    return f"{used}, {latent['rate']:.2f} nats together{collapsed}"
