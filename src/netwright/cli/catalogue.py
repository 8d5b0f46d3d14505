"""`netwright list`: everything that can be chosen by name."""

import json
from collections.abc import Callable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from netwright.models import Summary

TASK = "classification"  # what a network is for where its line does not say


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    tricks = "tricks"
    optimizers = "optimizers"
    schedules = "schedules"
    tasks = "tasks"
    recipes = "recipes"
    methods = "methods"
    studies = "studies"
    data = "data"


def listing(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    pattern: Annotated[str, typer.Argument(help="Only names like this: '*resnet*'.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """List what can be chosen by name, with one line on each."""
    found = {name: line for name, line in catalogue(kind, pattern).items() if fnmatchcase(name, pattern)}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    width = max(map(len, found), default=0)
    for name, line in found.items():
        typer.echo(f"{name:<{width}}  {line}".rstrip())
    typer.echo(f"\nMore on one of them: netwright show {next(iter(found))}" if found else f"nothing like '{pattern}'")


def catalogue(kind: Kind, pattern: str = "*") -> dict[str, str]:
    """Names and one line on each; torch is not imported."""
    from netwright.data import summaries
    from netwright.explain import METHODS
    from netwright.lab.studies import STUDIES
    from netwright.models import list_models
    from netwright.models import summaries as families
    from netwright.optim import OPTIMIZERS, SCHEDULES
    from netwright.recipes import RECIPES
    from netwright.tasks import TASKS
    from netwright.tricks import TRICKS

    def models() -> dict[str, str]:
        if pattern.startswith("timm/"):
            return dict.fromkeys(list_models(pattern), "")
        classifiers_first = sorted(families().items(), key=lambda pair: (pair[1].task != TASK, pair[1].task))
        return {name: _model_line(row) for name, row in classifiers_first}

    listed: dict[Kind, Callable[[], dict[str, str]]] = {
        Kind.models: models,
        Kind.data: summaries,
        **{
            choice: lambda registry=registry: {name: registry.summary(name) for name in registry.names()}
            for choice, registry in (
                (Kind.tricks, TRICKS),
                (Kind.optimizers, OPTIMIZERS),
                (Kind.schedules, SCHEDULES),
                (Kind.tasks, TASKS),
                (Kind.recipes, RECIPES),
                (Kind.methods, METHODS),
                (Kind.studies, STUDIES),
            )
        },
    }
    return listed[kind]()


def _model_line(row: "Summary") -> str:
    """Parameters, the task where it is not the usual one, and what the network is."""
    task = "" if row.task == TASK else f"{row.task}: "
    return f"{row.params / 1e6:7.2f} M  {task}{row.description}"
