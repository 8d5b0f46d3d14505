"""`netwright verify`: are the fast paths equal to the slow one, and a resumed run to one that was not stopped?"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli._columns import columns
from netwright.core.errors import NetwrightError, listed

if TYPE_CHECKING:
    from netwright.lab.replay import Replay
    from netwright.lab.verify import Accumulation, Verification


def verify(
    target: Annotated[str, typer.Argument(metavar="MODEL_OR_RUN", help="The name of a model, or a run folder.")],
    samples: Annotated[int, typer.Option(min=2, help="Pictures at most.")] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Make steps of the run again from a checkpoint, and compare every bit.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="With --resume: make so many steps twice, not those between the run's checkpoints."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Compare bf16, channels_last and batches with fp32 NCHW, and accumulated gradients with the whole batch's.

    With --resume: make the steps between a run's two checkpoints again, without writing to its folder, and compare
    everything that the run knows: weights, optimiser, averages, history.

    Ends with exit code 1 if something differs by more than rounding explains; with --resume, by one bit.
    """
    if resume:
        from netwright.lab.replay import replay

        found = replay(target, steps=steps)
        lines = replayed(found)
    elif steps is not None:
        raise NetwrightError("--steps goes with --resume", f"netwright verify {target} --resume --steps {steps}")
    else:
        from netwright.lab.verify import verify as compare

        found = compare(target, samples=samples, device=device)
        lines = told(found)
    typer.echo(json.dumps(found.to_json()) if as_json else "\n".join(lines))
    if not found.holds:
        raise typer.Exit(1)


def replayed(found: "Replay") -> list[str]:
    """The result of --resume in words."""
    made = f"{found.run}: steps {found.first + 1} to {found.last} were made {'twice' if found.twice else 'again'}"
    whose = "each other" if found.twice else "the run's own checkpoint"
    if found.holds:
        lines = [f"{made} and equal {whose}, bit for bit: weights, optimiser, tricks and history"]
    else:
        lines = [f"{made} and DIFFER from {whose}: {listed(found.differs, 3)}"]
    if found.twice:
        lines.append(
            "  this proves less than a second checkpoint would: that the run itself went this way is not shown"
        )
    changed = [f"{name} was {then} and is {now}" for name, (then, now) in found.otherwise.items()]
    return lines + ([f"  not computed as the run was: {listed(changed)}"] if changed else [])


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
