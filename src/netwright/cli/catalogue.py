"""`netwright list`: everything that can be chosen by name."""

import json
from collections.abc import Callable
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import typer


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
        return {name: f"{params / 1e6:7.2f} M  {line}" for name, (_, line, params) in families().items()}

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
