"""`netwright show`: a recipe, a run, or anything with a name — every value and where it came from."""

import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli._checkerboard import show_checkerboard
from netwright.cli._model import as_values, model_title, stage_table
from netwright.cli._plot import show_schedule
from netwright.cli._signal import show_signal
from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.options import REQUIRED, Option, options_of

if TYPE_CHECKING:
    from netwright.models._anatomy import Part


def show(
    name: Annotated[str, typer.Argument(help="A name from `netwright list`, a run folder, or a bundle.")],
    image_size: Annotated[
        int | None, typer.Option(min=1, help="For a model: side of the image in pixels. [default: as published]")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=0, help="For a model. [default: as published]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="For a schedule: draw it.")] = False,
    save: Annotated[Path | None, typer.Option(help="For a schedule: draw it in this file, .svg or .png.")] = None,
    signal: Annotated[
        bool, typer.Option("--signal", help="For a model: scales of values and gradients, layer by layer.")
    ] = False,
    data: Annotated[str | None, typer.Option(help="For --signal: pictures to show it. [default: noise]")] = None,
    checkerboard: Annotated[
        bool,
        typer.Option(
            "--checkerboard",
            help="For a segmentation model, run or bundle: how uneven it is on a picture of one colour.",
        ),
    ] = False,
) -> None:
    """Show every value of a recipe or run with its source, or what a model, trick, optimiser or schedule offers."""
    given = {"--image-size": image_size, "--classes": classes, "--data": data, "--signal": signal or None}
    drawn = plot or save is not None
    if checkerboard:
        _refuse_beside_checkerboard(given | {"--plot": plot or None, "--save": save})
        show_checkerboard(name, as_json=as_json)
        return
    idle = [flag for flag, value in given.items() if value is not None and (drawn or (flag == "--data" and not signal))]
    if idle:
        whose = "a drawing of a schedule" if drawn else "a table without --signal"
        raise NetwrightError(f"{listed(idle)} means nothing to {whose}", "leave it out")
    if drawn:
        show_schedule(name, save, as_json=as_json)
        return
    if signal:
        show_signal(name, classes, image_size, data, as_json=as_json)
        return
    parts: list[Part] = []
    if is_model(name):
        from netwright.models._anatomy import anatomy

        parts = anatomy(name, classes=classes, image_size=image_size)
    title, rows = described(name)
    if as_json:
        values = [dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]
        typer.echo(json.dumps({"name": title, "values": values} | ({"stages": as_values(parts)} if parts else {})))
        return
    typer.echo(title)
    for line in ["", *stage_table(parts), "", "options"] if parts else []:
        typer.echo(line)
    if rows:
        first, second = (max(len(str(row[i])) for row in rows) for i in (0, 1))
        for key, value, source in rows:
            typer.echo(f"  {key:<{first}}  {value!s:<{second}}  {source}".rstrip())


def _refuse_beside_checkerboard(given: dict[str, Any]) -> None:
    if idle := [flag for flag, value in given.items() if value is not None]:
        raise NetwrightError(f"{listed(idle)} means nothing to --checkerboard", "leave it out")


def is_model(name: str) -> bool:
    """Whether this is one of our own networks, with or without options, rather than a path or anything else."""
    from netwright.models import summaries

    return name.partition("(")[0] in summaries() and not Path(name).exists()


def described(name: str) -> tuple[str, list[tuple[str, Any, str]]]:
    """A title, and rows of name, value and source (or what is allowed)."""
    path = Path(name)
    if (path / "record.json").is_file():
        return _run(path)
    if (path / "bundle.json").is_file() or (path / "bundle" / "bundle.json").is_file():
        return _bundle(path)
    return _named(name)


def recipe_rows(values: dict[str, Any], sources: dict[str, str]) -> list[tuple[str, Any, str]]:
    """A recipe's fields with their sources; values set inside a spec follow it."""
    rows: list[tuple[str, Any, str]] = []
    for key, value in values.items():
        unset = "auto" if sources.get(key) == "auto" else "none"
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else unset if value is None else value
        inner = [f"{k.split('.')[1]}: {v}" for k, v in sources.items() if k.startswith(f"{key}.") and v != "recipe"]
        rows.append((key, shown, "; ".join([sources.get(key, "recipe"), *inner])))
    return rows


def _run(path: Path) -> tuple[str, list[tuple[str, Any, str]]]:
    from netwright.records.folder import RunFolder

    folder = RunFolder.open(path)
    record = folder.record()
    try:
        rows = recipe_rows(record["recipe"], record["sources"])
        for split, metrics in (record.get("result") or {}).get("splits", {}).items():
            rows += [(f"{split} {key}", _measured(metric), "measured") for key, metric in metrics.items()]
        rows += _of_codes((record.get("result") or {}).get("latent") or {})
        rows += [(f"device {key}", value, "measured") for key, value in record["device"].items() if key != "why"]
        return f"run {record['name']} ({record['status']})", rows
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"{folder.record_file} is not the record of a run ({type(error).__name__}: {error})"
        raise NetwrightError(problem, "the file was changed; copy the run again") from error


def _of_codes(latent: dict[str, Any]) -> list[tuple[str, Any, str]]:
    """How many dimensions of an autoencoder's codes say something, on each split that was measured."""
    rows: list[tuple[str, Any, str]] = []
    for split, found in latent.items():
        if "dimensions" in found:
            rows.append((f"{split} codes", f"{found['active']} of {found['dimensions']} numbers used", "measured"))
        rows += [(f"{split} alarm", found["alarm"], "measured")] if found.get("alarm") else []
    return rows


def _measured(metric: dict[str, Any]) -> str:
    """A value and its interval; a dash where too few samples tell none."""
    value, low, high = ("–" if metric[part] is None else f"{metric[part]:.4f}" for part in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _bundle(path: Path) -> tuple[str, list[tuple[str, Any, str]]]:
    from netwright.bundle.bundle import find_bundle
    from netwright.bundle.card import read_card

    card = read_card(find_bundle(path))
    rows = [
        (key, json.dumps(card[key], ensure_ascii=False), "bundle")
        for key in ("model", "classes", "preprocess", "temperature")
    ]
    if card.get("task") == "reconstruction":
        kept = card.get("latent")
        numbers = "nothing kept" if kept is None else f"{len(kept['mean'])} numbers, with their mean over training"
        rows.append(("codes", numbers + (" and covariance" if kept and kept.get("covariance") else ""), "bundle"))
    return f"bundle of {card['model']['spec']}", rows + recipe_rows(card["recipe"], {})


def _named(name: str) -> tuple[str, list[tuple[str, Any, str]]]:
    from netwright.core.spec import Spec
    from netwright.data import summaries as data_kinds
    from netwright.explain import METHODS
    from netwright.lab.studies import STUDIES
    from netwright.models import TIMM, list_models, model_options
    from netwright.optim import OPTIMIZERS, SCHEDULES
    from netwright.recipes import RECIPES
    from netwright.recipes._recipe import recipe
    from netwright.tasks import TASKS
    from netwright.tricks import TRICKS

    plain = Spec.parse(name).name
    if plain in RECIPES.names():
        found = recipe(plain)
        return f"recipe {plain}: {RECIPES.summary(plain)}", recipe_rows(
            found.model_dump(mode="json"), dict(found.sources)
        )
    registries = (TRICKS, OPTIMIZERS, SCHEDULES, TASKS, METHODS, STUDIES)
    for registry in registries:
        if plain in registry.names():
            make = registry.load(plain)
            return _described(registry.kind, plain, make), _option_rows(options_of(make).values())
    if plain in list_models(task=None):
        return model_title(name), _option_rows(model_options(name))
    if plain.startswith(TIMM):
        return _timm(plain), []
    if plain in data_kinds():
        return f"data {plain}: {data_kinds()[plain]}", []
    every = [known for registry in (RECIPES, *registries) for known in registry.names()]
    kinds = "models|tricks|optimizers|schedules|tasks|recipes|methods|studies|data"
    raise unknown("name", name, [*every, *list_models(task=None), *data_kinds()], see=f"netwright list {kinds}")


def _timm(name: str) -> str:
    from netwright.models import TIMM, list_models

    # After the dot stands which weights timm would load; the network is the same.
    if not list_models(name.partition(".")[0]):
        raise unknown("model", name, list_models(f"{TIMM}*"), see="netwright list models 'timm/*'")
    return f"model {name}: a model of timm's\nits options are passed on to timm.create_model as they are"


def _option_rows(options: Iterable[Option]) -> list[tuple[str, Any, str]]:
    return [(o.name, "(required)" if o.default is REQUIRED else repr(o.default), o.allowed) for o in options]


def _described(kind: str, name: str, make: Any) -> str:
    card = getattr(make, "card", None)
    paper = f"\nSource: {card.paper}" if card and card.paper else ""
    paper += "".join(f"\nNot for {task}: {reason}" for task, reason in (card.why if card else {}).items())
    return f"{kind} {name}: {inspect.cleandoc(make.__doc__ or '')}{paper}"
