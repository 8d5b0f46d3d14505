"""`netwright study`: a named question that many trainings answer together."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli._columns import columns
from netwright.core.spec import Spec, literal

if TYPE_CHECKING:
    from netwright.recipes._recipe import Recipe

OWN = {
    "anomaly": "autoencode",
    "autoencoders": "autoencoders",
    "depth": "depth",
}  # studies with a recipe of their own for a protocol


def study(
    name: Annotated[str, typer.Argument(help="anomaly, autoencoders, continual, depth or transferability.")],
    path: Annotated[str, typer.Argument(help="A folder of photos, an .npz, or digits.")],
    model: options.Model = None,
    weights: options.Weights = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Runs of everything: splits or orders of the classes. [default: by study]")
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="N", help="continual: classes to begin with, or a share. [default: 0.5]")
    ] = None,
    step: Annotated[
        str | None, typer.Option(metavar="N", help="continual: classes that come at a time, or a share. [default: 1]")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=0, help="continual: pictures of each older class that stay. [default: 0]")
    ] = None,
    strategies: Annotated[
        str | None, typer.Option(help="continual: of finetune,frozen,distilled,joint. [default: all]")
    ] = None,
    blocks: Annotated[str | None, typer.Option(help="depth: how often maps are halved. [default: 1,2,3]")] = None,
    layers: Annotated[str | None, typer.Option(help="depth: convolutions in each block. [default: 1,2,3]")] = None,
    norm: Annotated[
        str | None, typer.Option(help="depth: of none,batch,layer,group,instance; a grid for each. [default: none]")
    ] = None,
    skip: Annotated[bool, typer.Option("--skip", help="depth: a second grid, of networks with shortcuts.")] = False,
    latent: Annotated[
        str | None, typer.Option(help="autoencoders: numbers of a code; the largest for all. [default: 2,8,32]")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="autoencoders: how many the probe learns from. [default: 50,500]")
    ] = None,
    amount: Annotated[float | None, typer.Option(help="autoencoders: of each corruption. [default: 0.25]")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=2, help="autoencoders: training pictures, at most [20000]; anomaly: of a class [1000]."),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="anomaly: classes that are left out in turn. [default: all]")
    ] = None,
    tested: Annotated[
        int | None, typer.Option(min=20, help="autoencoders: test pictures at most. [default: 2000]")
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(min=0, help="autoencoders: runs to leave to others, which have the same -o. [default: 0]"),
    ] = None,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Training pictures of each class. [default: all]")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="The protocol. [default: the study's own, digits for digits, else history]")
    ] = None,
    optimizer: options.Optimizer = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Rate = None,
    image_size: options.ImageSize = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    device: options.Device = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the result. [default: the study's name]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Answer a named question on your own pictures: what depth does, which features transfer, what is forgotten, and
    which kind of autoencoder learns most without labels.

    The same command goes on where it was stopped, and trainings that are finished are not repeated.
    """
    spec = _spec(
        name,
        seeds=seeds,
        base=_number(base),
        step=_number(step),
        memory=memory,
        strategies=_parts(strategies),
        blocks=_numbers(blocks),
        layers=_numbers(layers),
        norm=_parts(norm),
        skip=(False, True) if skip else None,
        latent=_numbers(latent),
        labels=_numbers(labels),
        amount=amount,
        limit=limit,
        tested=tested,
        first=first,
        classes=_parts(classes),
    )
    fields = ("optimizer", "model", "weights", "epochs", "batch_size", "lr", "image_size", "seed", "device")
    given = (optimizer, model, weights, epochs, batch_size, lr, image_size, seed, device)
    changes = options.changes(dict(zip(fields, given, strict=True)), set_)
    if recipe is None and spec.name not in OWN:
        changes = {"model": "auto", "batch_size": "auto"} | changes
    chosen = recipe or OWN.get(spec.name, "digits" if path == "digits" else "history")
    protocol = options.chosen_recipe(path, chosen, changes, with_, without)
    _run(spec, protocol, per_class, output or Path(spec.name), as_json)


def _run(spec: Spec, protocol: "Recipe", per_class: int | None, folder: Path, as_json: bool) -> None:
    """Train, and print what was found."""
    from netwright.lab.studies._study import study as run_study

    told = options.silent if as_json else typer.echo
    found = run_study(spec, protocol, per_class=per_class, output=folder, told=told)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _conclude(found, folder)


def _spec(name: str, **given: Any) -> Spec:
    """The study with the options that were given."""
    return Spec.parse(name).with_options(**{key: value for key, value in given.items() if value is not None})


def _parts(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))


def _numbers(text: str | None) -> tuple[Any, ...] | None:
    """The same, numbers where they are some."""
    return None if text is None else tuple(map(literal, _parts(text) or ()))


def _number(text: str | None) -> Any:
    """A number as it was written; other words are refused by the study, which knows what is allowed."""
    return None if text is None else literal(text)


def _conclude(found: dict[str, Any], folder: Path) -> None:
    """What can be said, the short tables, and where the rest is."""
    from netwright.report.study import rows_of

    for each in found["tables"]:
        if not each.get("long"):
            for line in ["", each["caption"], *columns(rows_of(each))]:
                typer.echo(line)
    for line in ["", *found["said"]]:
        typer.echo(line)
    typer.echo(f"tables, picture and page: {folder / 'study.html'}")
