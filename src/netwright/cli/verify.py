"""`netwright verify`: are the fast paths equal to the slow one, for this model on this machine?"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli._columns import columns

if TYPE_CHECKING:
    from netwright.lab.verify import Accumulation, Verification


def verify(
    target: Annotated[str, typer.Argument(metavar="MODEL_OR_RUN", help="The name of a model, or a run folder.")],
    samples: Annotated[int, typer.Option(min=2, help="Pictures at most.")] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Compare bf16, channels_last and batches with fp32 NCHW, and accumulated gradients with the whole batch's.

    Ends with exit code 1 if something differs by more than rounding explains.
    """
    from netwright.lab.verify import verify as compare

    found = compare(target, samples=samples, device=device)
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(told(found)))
    if not found.holds:
        raise typer.Exit(1)


def told(found: "Verification") -> list[str]:
    """The result in words."""
    labelled = found.accuracy is not None
    whose = f"accuracy {found.accuracy:.1%}" if labelled else "random weights and noise"
    head = ["path", "max |Δ logit|", "of the largest", "same class", *(["Δ accuracy"] if labelled else []), ""]
    rows = [
        [
            path.name,
            f"{path.max_delta:.2g}",
            f"{path.relative:.1g}",
            f"{path.same:.1%}",
            *([f"{100 * path.accuracy_delta:+.2f} points"] if path.accuracy_delta is not None else []),
            "holds" if path.holds else "DIFFERS",
        ]
        for path in found.paths
    ]
    table = [f"  {line}" for line in columns([head, *rows])]
    return [
        f"{found.name}: {found.samples} pictures, {whose}; beside fp32, NCHW, one batch:",
        *table,
        *_gradients(found.accumulation),
    ]


def _gradients(found: "Accumulation") -> list[str]:
    says = "equals the whole batch's" if found.holds else "DIFFERS from the whole batch's"
    lines = [f"gradient in {found.parts} parts: {says} (|Δ| / |g| = {found.relative:.1g})"]
    if found.everywhere:
        return [*lines, f"  in training mode too: |Δ| / |g| = {found.in_training:.1g}"]
    why = f"{found.statistics} layers compute batch statistics" if found.statistics else "layers draw at random"
    return [*lines, f"  that is in evaluation mode; in training, {why}: |Δ| / |g| = {found.in_training:.1g}"]
