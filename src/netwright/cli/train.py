"""`netwright train`: from pictures to a trained, reported, reusable model."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli._transfer import auto_recipe, is_auto, kept, moved
from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from netwright.recipes._recipe import Recipe


def train(
    path: options.Path_ = None,
    recipe: options.Recipe = None,
    task: options.Task = None,
    model: options.Model = None,
    weights: options.Weights = None,
    transfer: options.Transfer = None,
    optimizer: options.Optimizer = None,
    schedule: options.Schedule = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Rate = None,
    image_size: options.ImageSize = None,
    group: options.Group = None,
    quarantine: options.Quarantine = None,
    seed: options.Seed = None,
    device: options.Device = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-j", help="Processes that read your own datasets.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that run folders are made in.")] = Path("runs"),
    resume: options.Resume = None,
    extend: options.Extend = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")] = False,
) -> None:
    """Train a network, evaluate it, write a report and a model to hand on.

    Pictures with masks beside them are segmented: a class for each pixel. Without a path: LeNet-5 on handwritten
    digits, in seconds; with --task segmentation a U-Net on generated lines, disks and texture. With --task
    reconstruction an autoencoder, which needs no classes.
    """
    values = {
        "task": task,
        "model": model,
        "weights": weights,
        "optimizer": optimizer,
        "schedule": schedule,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "image_size": image_size,
        "group": group,
        "quarantine": quarantine,
        "seed": seed,
        "device": device,
        "workers": workers,
    }
    changes = options.changes(values, set_)
    if resume is not None:
        refuse_another_run(changes, recipe, transfer, with_, without)
        asked = {"resume": run_to_resume(resume, output), "extend": extend, "data": path, **changes}
        run_to_the_end(None, asked, output, as_json)
        return
    if extend is not None:
        raise NetwrightError("only a run that exists can be extended", "name it: --resume RUN --extend EPOCHS")
    if is_auto(transfer):
        train_measured(path, recipe, changes, with_, without, transfer, output, as_json)
    else:
        train_new(options.chosen_recipe(path, recipe, changes, with_, without, transfer), output, as_json)


def train_new(chosen: "Recipe", output: Path, as_json: bool) -> Path:
    """Say what is trained, and train it; the run's folder."""
    if not as_json:
        typer.echo(announced(chosen))
    return run_to_the_end(chosen, {}, output, as_json)


def train_measured(
    path: str | None,
    recipe: str | None,
    changes: dict[str, Any],
    added: list[str] | None,
    removed: list[str] | None,
    transfer: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Measure which way of transfer suits, train that way, and put the measurement into the run's folder."""
    options.refuse_two_recipes(recipe, transfer)
    chosen, measured = auto_recipe(path, changes, added, removed, transfer or "", as_json=as_json)
    place = kept(measured, output)
    if not as_json:
        typer.echo(f"what was measured is in {place} until the run has ended, then in its folder")
    moved(place, train_new(chosen, output, as_json))


def refuse_another_run(changes: dict[str, Any], *others: Any) -> None:
    """Refuse what would make another run of one that is resumed."""
    if any(others):
        fix = "leave out --recipe, --transfer, --with and --without"
        raise NetwrightError("--resume goes on with a run as it is", fix)
    refuse_unknown_fields(changes)


def refuse_unknown_fields(changes: dict[str, Any]) -> None:
    """Refuse what `--set` names and no recipe has, before it can pass for something else that a run is given."""
    from netwright.recipes._recipe import Recipe

    allowed = [*Recipe.model_fields, "lr"]
    for name in changes:
        if name not in allowed:
            raise unknown("recipe field", name, allowed)


def announced(chosen: "Recipe") -> str:
    """What will be trained, and what has to be found out before."""
    model = "a network that suits the pictures" if chosen.model == "auto" else chosen.model
    lines = [f"netwright trains {model} on {chosen.data}"]
    lines += ["its pictures have masks, so it learns a class for each pixel (segmentation)"] if segments(chosen) else []
    lines += ["first it tries how large a batch may be"] if chosen.batch_size == "largest" else []
    lines += ["first it looks for a learning rate"] if chosen.finds_rate else []
    return "\n".join(lines)


def segments(chosen: "Recipe") -> bool:
    """Whether nobody asked for it, and masks were found."""
    return chosen.task == "segmentation" and chosen.sources["task"] == "recipe" and chosen.data != "generated"


def run_to_the_end(chosen: Any, asked: dict[str, Any], output: Path, as_json: bool) -> Path:
    """Train and show; torch is imported here, after everything that can be refused without it. Returns the folder."""
    from netwright.cli._display import Display
    from netwright.engine.loop import Watcher
    from netwright.recipes._fit import fit

    display = None if as_json else Display()
    try:
        result = fit(
            chosen,
            **asked,
            output=output,
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
    return result.path


def run_to_resume(resume: str | None, output: Path) -> Path | None:
    """The run folder that `--resume` means."""
    from netwright.records.folder import RunFolder

    if resume is None:
        return None
    return RunFolder.newest(output).path if resume == "newest" else Path(resume)
