"""`netwright train`: from pictures to a trained, reported, reusable model."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.core.errors import NetwrightError
from netwright.core.spec import literal

CHOICES = "What to train"
RUN = "How to run"


def train(
    path: Annotated[str | None, typer.Argument(help="A folder of photos, an .npz, or digits.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A named recipe, or a record.json.", rich_help_panel=CHOICES)
    ] = None,
    model: Annotated[str | None, typer.Option(help="resnet18, or with options: \"resnet18(norm='group')\".")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights to start from: a file, a bundle, hf-hub:NAME, or imagenet.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help='sgd, adam, "adamw(lr=1e-3)", …')] = None,
    schedule: Annotated[
        str | None, typer.Option(help='cosine, "one_cycle(warmup=0.3)", …; see `netwright list schedules`.')
    ] = None,
    with_: Annotated[list[str] | None, typer.Option("--with", help="Add a trick; may be repeated.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave a trick out; may be repeated.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any other field: --set val_fraction=0.2.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often each picture is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", help="Pictures for one update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side in pixels that the network sees.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", help="Processes that read your own datasets.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that run folders are made in.")] = Path("runs"),
    resume: Annotated[str | None, typer.Option(help="Go on with a run; without a value, the newest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Train a network, evaluate it, write a report and a model to hand on.

    Without a path: LeNet-5 on handwritten digits, in seconds.
    """
    values = {
        "model": model,
        "weights": weights,
        "optimizer": optimizer,
        "schedule": schedule,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "image_size": image_size,
        "seed": seed,
        "device": device,
        "workers": workers,
    }
    given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
    changes = given | assignments(set_ or [])
    if resume is not None and (path or recipe or with_ or without):
        raise NetwrightError("--resume goes on with a run as it is", "leave out PATH, --recipe, --with and --without")
    chosen = chosen_recipe(path, recipe, changes, with_ or [], without or []) if resume is None else None
    if chosen and not as_json:
        typer.echo(f"netwright trains {chosen.model} on {chosen.data}")
    run_to_the_end(chosen, {} if chosen else changes, output, run_to_resume(resume, output), as_json)


def run_to_the_end(chosen: Any, changes: dict[str, Any], output: Path, resume: Path | None, as_json: bool) -> None:
    """Train and show; torch is imported here, after everything that can be refused without it."""
    from netwright.cli._display import Display
    from netwright.engine.loop import Watcher
    from netwright.recipes._fit import fit

    display = None if as_json else Display()
    try:
        result = fit(
            chosen,
            **changes,
            output=output,
            resume=resume,
            watcher=display or Watcher(),
            progress=display and display.decoding,
            command=shlex.join(["netwright", *sys.argv[1:]]),
        )
    finally:
        if display:
            display.close()
    if display:
        display.conclude(result)
    else:
        typer.echo(json.dumps({"path": str(result.path), **result.record}))


def chosen_recipe(
    path: str | None, name: str | None, changes: dict[str, Any], added: list[str], removed: list[str]
) -> Any:
    """The recipe the flags describe; nothing heavy is imported, so that mistakes are told at once."""
    from netwright.recipes._recipe import recipe, recipe_for

    base = recipe(name or recipe_for(path))
    data = {"data": path} if path else {}
    if not (path or base.data):
        raise NetwrightError(f"recipe {base.name} needs data", f"name it: netwright train PATH --recipe {base.name}")
    return base.changed(**data, **changes).with_(*added).without(*removed)


def assignments(texts: list[str]) -> dict[str, Any]:
    """`field=value` texts as values."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NetwrightError(f"cannot read --set {text}", "write --set field=value")
        found[name.strip()] = literal(value.strip())
    return found


def run_to_resume(resume: str | None, output: Path) -> Path | None:
    """The run folder that `--resume` means."""
    from netwright.records.folder import RunFolder

    if resume is None:
        return None
    return RunFolder.newest(output).path if resume == "newest" else Path(resume)
