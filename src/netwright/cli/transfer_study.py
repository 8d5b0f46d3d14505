"""`netwright transfer-study`: how much of learnt weights to use again, for how much data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli import _options as options
from netwright.cli._columns import columns
from netwright.core.errors import NetwrightError, unknown

if TYPE_CHECKING:
    from netwright.recipes._recipe import Recipe

Flags = tuple[dict[str, Any], list[str] | None, list[str] | None]


def transfer_study(
    path: Annotated[str, typer.Argument(help="A folder of photos, an .npz, or digits.")],
    model: options.Model = None,
    weights: options.Weights = None,
    arms: Annotated[
        list[str] | None,
        typer.Option(help='Ways, as "partial(last=2)". [default: scratch,random_features,features,finetune]'),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Training pictures of each class.")] = "5,10,20,50,all",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each way at each size.")] = 5,
    updates: Annotated[
        int, typer.Option(min=1, help="At least so many, however few the pictures: epochs grow up to tenfold.")
    ] = 200,
    cases: Annotated[
        bool, typer.Option("--cases", help="Own, near and far task as one table; without --weights, that alone.")
    ] = False,
    near: Annotated[str | None, typer.Option(help="Data of a like kind. [default: half of the classes]")] = None,
    far: Annotated[str | None, typer.Option(help="Data of another kind.")] = None,
    per_class: Annotated[
        int | None, typer.Option(min=1, help="Training pictures of each class of the near and far task. [default: all]")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="For all ways.")] = None,
    with_: options.With = None,
    without: options.Without = None,
    set_: options.Set = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    lr: options.Rate = None,
    image_size: options.ImageSize = None,
    seed: Annotated[int | None, typer.Option(help="The first seed.")] = None,
    device: options.Device = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for results.")] = Path("transfer-study"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
) -> None:
    """Compare training from scratch, features and fine-tuning at several amounts of data, with intervals.

    The same command goes on where it was stopped, and runs that are finished are not repeated.
    """
    from netwright.lab.transfer_plan import ARMS, read_arms, read_sizes

    fields = ("model", "optimizer", "epochs", "batch_size", "lr", "image_size", "seed", "device")
    given = (model, optimizer, epochs, batch_size, lr, image_size, seed, device)
    flags = options.changes(dict(zip(fields, given, strict=True)), set_), with_, without
    cases = cases or near is not None or far is not None
    refuse(per_class, cases, flags[0])
    wanted = read_sizes(sizes)
    curves = recipes(path, read_arms(arms or [",".join(ARMS)]), weights, flags) if weights or arms or not cases else {}
    table = recipes(path, list(ARMS), weights or str(output / "base"), flags) if cases else {}
    if table and not weights:
        table = {name: recipe.changed("auto", weights=None) for name, recipe in table.items()}

    how = {"seeds": seeds, "updates": updates, "told": options.silent if as_json else typer.echo}
    found, page = _run(curves, wanted, table, {"near": near, "far": far, "per_class": per_class}, output, how)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _conclude(found, page)


def _run(
    curves: "dict[str, Recipe]",
    sizes: list[int | None],
    table: "dict[str, Recipe]",
    tasks: dict[str, Any],
    output: Path,
    how: dict[str, Any],
) -> tuple[dict[str, Any], Path]:
    """The result and its page; torch is imported here, after everything that can be refused without it."""
    from netwright.lab.studies._output import refuse_unwritable
    from netwright.lab.transfer_cases import transfer_cases
    from netwright.lab.transfer_study import transfer_study as run_study
    from netwright.lab.transfer_study import whole, write
    from netwright.lab.trial import Trials

    refuse_unwritable(output)
    if curves:
        refuse_unfit(curves)
    how |= {"trials": Trials(output / "trials")}
    study = run_study(curves, sizes=sizes, **how) if curves else None
    cases = transfer_cases(table, **tasks, output=output, **how) if table else None
    found = whole(study, cases)
    return found, write(found, output)


def refuse_unfit(curves: "dict[str, Recipe]") -> None:
    """Build every way's network with its tricks, so that what does not fit is told before any of them trains.

    Raises:
        NetwrightError: whatever a trick says to the network, as of stages that it does not have, or unusable data.
    """
    from netwright.engine.trick import Tricks
    from netwright.lab.transfer_study import named, opened
    from netwright.models import create_model
    from netwright.tricks import TRICKS

    data = opened(next(iter(curves.values())))
    for recipe in named(curves, data).values():
        network = create_model(recipe.model, classes=len(data.classes), in_channels=data.preprocess.channels)
        Tricks(TRICKS.build(spec) for spec in recipe.tricks).through("model", network)


def refuse(per_class: int | None, cases: bool, changes: dict[str, Any]) -> None:
    """Flags that mean nothing here.

    Raises:
        NetwrightError: says which to use instead.
    """
    if per_class is not None and not cases:
        raise NetwrightError("--per-class is for the cases", "add --cases, or give --sizes")
    for name in ("weights", "data"):
        if name in changes:
            raise NetwrightError(f"--set {name} changes what is compared", f"give {_PLACES[name]} instead")


_PLACES = {"weights": "--weights", "data": "the path as the first argument"}


def recipes(path: str, arms: list[str], weights: str | None, flags: Flags) -> "dict[str, Recipe]":
    """The recipe of each way with the user's changes; a trick to leave out is left out where it is.

    Raises:
        NetwrightError: an unknown name or value, weights that are missing, or a trick that no way has.
    """
    from netwright.core.spec import Spec
    from netwright.recipes._transfer import WAYS, WITHOUT_WEIGHTS, transfer_recipe

    changes, added, removed = flags
    for arm in arms:
        if (way := Spec.parse(arm).name) not in WAYS:
            raise unknown("way to transfer", way, [*WAYS])  # auto, which chooses one, is none to compare
    reusing = [arm for arm in arms if Spec.parse(arm).name not in WITHOUT_WEIGHTS]
    if reusing and weights is None:
        fix = "give --weights FILE, a bundle, hf-hub:NAME or imagenet; or --arms scratch,random_features; or --cases, "
        raise NetwrightError(f"{reusing[0]} has nothing to transfer", f"{fix}which trains a network to hand on")
    weighted = {arm: changes | ({"weights": weights} if arm in reusing else {}) for arm in arms}
    plain = {arm: transfer_recipe(arm, own.get("weights")) for arm, own in weighted.items()}
    tricks = {arm: {Spec.parse(trick).name for trick in recipe.tricks} for arm, recipe in plain.items()}
    for name in removed or []:
        if not any(name in held for held in tricks.values()):
            next(iter(plain.values())).without(name)  # refuses, and says what there is
    leaving = {arm: [name for name in removed or [] if name in held] for arm, held in tricks.items()}
    return {arm: options.chosen_recipe(path, None, weighted[arm], added, leaving[arm], arm) for arm in arms}


def _conclude(found: dict[str, Any], page: Path) -> None:
    """Tables, what they say, and where the rest is."""
    from netwright.report.transfer_study import best_words, case_rows, case_words, crossing_words, rows_of

    study, cases = found["study"], found["cases"]
    if study:
        words = [*best_words(study), *crossing_words(study), *study["left_out"]]
        for line in ["", *columns(rows_of(study), left=2), "", *words]:
            typer.echo(line)
    if cases:
        for line in ["", *columns(case_rows(cases), left=3), "", *case_words(cases), *cases["notes"]]:
            typer.echo(line)
    typer.echo(f"table, picture and page: {page}")
