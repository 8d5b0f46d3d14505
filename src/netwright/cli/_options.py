"""Flags of the verbs that train, each written once: what is chosen, and how `field=value` becomes a change."""

from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import literal

Path_ = Annotated[str | None, typer.Argument(help="A folder of photos, an .npz, or digits.")]
Recipe = Annotated[str | None, typer.Option(help="A named recipe, or a record.json.")]
Model = Annotated[str | None, typer.Option(help="resnet18, or with options: \"resnet18(norm='group')\".")]
Weights = Annotated[str | None, typer.Option(help="Weights to start from: a file, a bundle, hf-hub:NAME, or imagenet.")]
Transfer = Annotated[
    str | None,
    typer.Option(
        metavar="WAY",
        help='How much of the weights is used again: features, finetune, "partial(last=2)", gradual_unfreeze, or auto, '
        "which measures what suits; random_features and scratch to compare with.",
    ),
]
Task = Annotated[
    str | None,
    typer.Option(help="classification, multi_label, segmentation or reconstruction; by default what the data is for."),
]
Optimizer = Annotated[str | None, typer.Option(help='sgd, adam, "adamw(lr=1e-3)", …')]
With = Annotated[list[str] | None, typer.Option("--with", help="Add a trick; may be repeated.")]
Without = Annotated[list[str] | None, typer.Option(help="Leave a trick out; may be repeated.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any other field: --set val_fraction=0.2.")]
Epochs = Annotated[int | None, typer.Option(help="How often each picture is seen.")]
BatchSize = Annotated[
    str | None,
    typer.Option("--batch-size", "-b", metavar="<int>", help="Pictures for one update; or auto, or largest."),
]
Rate = Annotated[str | None, typer.Option("--lr", metavar="<float>", help="Peak learning rate; or find.")]
ImageSize = Annotated[int | None, typer.Option(help="Side in pixels that the network sees.")]
Seed = Annotated[int | None, typer.Option(help="Decides everything random.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Autoencoder = Annotated[str, typer.Argument(help="A run folder or a bundle of an autoencoder.")]
PicturesClass = Annotated[
    str | None, typer.Option("--class", help="Of a conditional network, the class of the pictures.")
]
Sheet = Annotated[Path, typer.Option("-o", "--output", help="PNG to draw.")]
SheetOrFolder = Annotated[Path, typer.Option("-o", "--output", help="PNG to draw; or a folder, for a PNG of each.")]

Schedule = Annotated[
    str | None, typer.Option(help='cosine, "one_cycle(warmup=0.3)", …; see `netwright list schedules`.')
]
Group = Annotated[
    str | None, typer.Option(help="Hold out together what the bracket finds in names, as '(patient\\d+)'.")
]
Quarantine = Annotated[str | None, typer.Option(help="List of pictures to leave out, as check --fix writes.")]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="[RUN]", help="Go on with a run; without a value, the newest. PATH is where its data lie now."
    ),
]
Extend = Annotated[
    int | None,
    typer.Option(
        metavar="EPOCHS",
        min=1,
        help="With --resume: train to so many epochs in all. Schedule and tricks go on as at this step of a run of "
        "that length, so the learning rate may jump.",
    ),
]


def changes(given: dict[str, Any], assigned: list[str] | None) -> dict[str, Any]:
    """What flags and `--set` change in a recipe; those that were not given are None.

    Raises:
        NetwrightError: a `--set` without a value, or of what a flag gives too.
    """
    found = {name: value for name, value in given.items() if value is not None}
    for name in {"batch_size", "lr"} & set(found):
        read = literal(found[name])
        found[name] = found[name] if read is None else read  # a word is refused by the recipe, which knows the others
    others = assignments(assigned or [])
    twice = sorted(set(found) & set(others))
    if twice:
        raise NetwrightError(f"given twice: {listed(twice)}", "give each by its flag or by --set, not by both")
    return found | others


def assignments(texts: list[str]) -> dict[str, Any]:
    """`field=value` texts as values."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise NetwrightError(f"cannot read --set {text}", "write --set field=value")
        found[name.strip()] = literal(value.strip())
    return found


def chosen_recipe(
    path: str | None,
    name: str | None,
    changes: dict[str, Any],
    added: list[str] | None,
    removed: list[str] | None,
    transfer: str | None = None,
) -> Any:
    """The recipe the flags describe; nothing heavy is imported, so that mistakes are told at once."""
    from netwright.recipes._recipe import recipe, recipe_for
    from netwright.recipes._transfer import transfer_recipe

    refuse_two_recipes(name, transfer)
    wanted = name or recipe_for(path, changes.get("task"))
    base = transfer_recipe(transfer, changes.get("weights")) if transfer else recipe(wanted)
    data = {"data": path} if path else {}
    if not (path or base.data):
        raise NetwrightError(f"recipe {base.name} needs data", f"name it: netwright train PATH --recipe {base.name}")
    return base.changed(**data, **changes).with_(*(added or [])).without(*(removed or []))


def refuse_two_recipes(name: str | None, transfer: str | None) -> None:
    """Both `--recipe` and `--transfer` name one.

    Raises:
        NetwrightError: both were given.
    """
    if name and transfer:
        raise NetwrightError("--transfer names a recipe, and so does --recipe", "leave one of them out")


def silent(words: str) -> None:
    """What is told with --json: nothing but the result is printed."""
