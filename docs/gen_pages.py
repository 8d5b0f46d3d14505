"""Pages that are written from the code each time the documentation is built: catalogues, command line, API."""

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mkdocs_gen_files
import typer

import netwright
from netwright import data, models
from netwright.cli.main import EXIT_CODES, app
from netwright.core.options import REQUIRED, options_of
from netwright.core.registry import Registry
from netwright.core.spec import Spec
from netwright.engine.trick import Trick
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.recipes import RECIPES
from netwright.recipes._recipe import recipe
from netwright.tasks import TASKS
from netwright.tricks import TRICKS

ROOT = Path(__file__).resolve().parents[1] if "__file__" in globals() else Path.cwd()
NOT_STATIONS = {"name", "spec", "start", "memory", "recall"}
STATIONS = [name for name in vars(Trick) if not name.startswith("_") and name not in {*NOT_STATIONS, "card"}]


def pages() -> dict[str, str]:
    """Every generated page by its place in the site."""
    return {
        "api.md": api(),
        "cli.md": cli(),
        "contributing.md": contributing(),
        "adr/index.md": decisions(),
        "catalogue/data.md": sources(),
        "catalogue/models.md": families(),
        "catalogue/optimizers.md": registry("Optimisers", OPTIMIZERS, "--optimizer"),
        "catalogue/recipes.md": recipes(),
        "catalogue/schedules.md": registry("Schedules", SCHEDULES, "--schedule"),
        "catalogue/tasks.md": registry("Tasks", TASKS, "--set task=…"),
        "catalogue/tricks.md": tricks(),
    }


def tricks() -> str:
    """The bag of tricks, with everything their cards say."""
    names = TRICKS.names()
    start = (
        'Each is added with `--with NAME` or `--with "NAME(option=value)"`, and taken out with `--without NAME`. '
        "A trick that is not in the recipe does not run at all.\n"
    )
    rows = [(f"[`{name}`](#{name})", stations(name), TRICKS.summary(name)) for name in names]
    return page("Tricks", start, table(("trick", "acts at", "what it does"), rows), *(trick(name) for name in names))


def trick(name: str) -> str:
    """One trick: what it does, its card, its options."""
    make = TRICKS.load(name)
    card = make.card  # pyright: ignore
    used = [f"[{each}](recipes.md#{each})" for each in RECIPES.names() if name in names_of(recipe(each).tricks)]
    facts = {
        "Source": card.paper,
        "Acts at": stations(name),
        "For": ", ".join(card.tasks),
        "Helps against": ", ".join(card.treats),
        "Acts after": ", ".join(f"[`{each}`](#{each})" for each in card.after),
        "Cannot be with": ", ".join(f"[`{each}`](#{each})" for each in card.excludes),
        "Does nothing at": as_spec(name, card.neutral),
        "Surely acts at": as_spec(name, card.strong),
        "In recipes": ", ".join(used),
    }
    return entry(name, TRICKS.summary(name), make, facts)


def registry(title: str, things: Registry, flag: str) -> str:
    """Every entry of a simple registry."""
    names = things.names()
    rows = [(f"[`{name}`](#{name})", things.summary(name)) for name in names]
    start = f"Chosen with `{flag}`; options go in brackets after the name.\n"
    entries = (entry(name, things.summary(name), things.load(name), {}) for name in names)
    return page(title, start, table(("name", "what it is"), rows), *entries)


def recipes() -> str:
    """Named recipes with every value that they set."""
    start = "Chosen with `--recipe NAME`; without it, the recipe that suits the data is taken.\n"
    return page("Recipes", start, *map(one_recipe, RECIPES.names()))


def one_recipe(name: str) -> str:
    """A recipe's description and values."""
    values = recipe(name).model_dump(mode="json")
    plain = {key: value for key, value in values.items() if value not in (None, "", "auto", []) and key != "name"}
    rows = [(f"`{key}`", code(", ".join(value) if isinstance(value, list) else value)) for key, value in plain.items()]
    text = inspect.cleandoc(RECIPES.load(name).__doc__ or "")
    return f"## {name}\n\n{RECIPES.summary(name)}\n\n{text}\n\n{table(('field', 'value'), rows)}"


def sources() -> str:
    """Kinds of data."""
    start = "What `netwright train` takes as its first argument. Which kind it is follows from what lies there.\n"
    names = ", ".join(f"`{extension}`" for extension in _extensions())
    end = f"Files that count as pictures end in {names}; whether they truly are pictures is decided by their content.\n"
    return page("Data", start, table(("kind", "what it is"), [(f"`{k}`", v) for k, v in data.summaries().items()]), end)


def families() -> str:
    """Models by family."""
    summaries = models.summaries()
    start = (
        "Chosen with `--model`. Parameters are the published count, at the published number of classes. "
        "Any model of timm works too, as `timm/NAME`; `netwright list models 'timm/*'` names them.\n"
    )
    return page("Models", start, *(family(name) for name in sorted({row.family for row in summaries.values()})))


def family(name: str) -> str:
    """One family: its variants, and the options that they share."""
    variants = {variant: row for variant, row in models.summaries().items() if row.family == name}
    rows = [(f"`{variant}`", f"{row.params:,}", reference(variant)) for variant, row in variants.items()]
    first = next(iter(variants))
    fixed = {"classes", "in_channels", *models.variant(first).options}  # the data or the variant decides these
    every = options_of(type(models.create_model(first))).values()
    options = [(f"`{o.name}`", code(repr(o.default)), plain(o.allowed)) for o in every if o.name not in fixed]
    return "\n".join(
        [
            f"## {name}\n\n{variants[first].description}\n",
            table(("model", "parameters", "loads weights of"), rows),
            table(("option", "default", "allowed"), options),
        ]
    )


def reference(variant: str) -> str:
    """Whose weights a model loads."""
    found = models.variant(variant).reference
    return f"`{found}`" if found else ""


def cli() -> str:
    """Every verb's own help."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="netwright", terminal_width=96)
    verbs = []
    for verb, command in group.commands.items():  # pyright: ignore
        inner = typer.Context(command, info_name=verb, parent=context, terminal_width=96)
        verbs.append(f"## netwright {verb}\n\n{fence(command.get_help(inner))}")
    start = f"{fence(group.get_help(context))}\n{EXIT_CODES} [More on exit codes](exit-codes.md).\n"
    return page("Command line", start, *verbs)


def api() -> str:
    """The public names, from their docstrings."""
    start = "Everything here is imported from `netwright` itself, and loaded when it is first used.\n"
    public = [name for name in netwright.__all__ if not name.startswith("_")]
    return page("Python API", start, *(f"::: {home(name)}.{name}\n" for name in public))


def home(name: str) -> str:
    """The module in which a public name is defined."""
    return getattr(netwright, name).__module__


def contributing() -> str:
    """The contributors' page of the repository, with links as they are here."""
    return (ROOT / "CONTRIBUTING.md").read_text("utf-8").replace("](docs/", "](")


def decisions() -> str:
    """Every decision record, by its title."""
    files = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    titles = [(file.name, file.read_text("utf-8").split("\n")[0].removeprefix("# ")) for file in files]
    start = "One page for each decision that could reasonably have gone another way: why it was made, and its price.\n"
    return page("Decisions", start, "\n".join(f"- [{title}]({name})" for name, title in titles) + "\n")


def entry(name: str, summary: str, make: Callable[..., Any], facts: dict[str, str]) -> str:
    """One named thing: description, facts, options."""
    text, described = docstring(make)
    known = [f"- **{key}:** {value}" for key, value in facts.items() if value]
    options = [
        (
            f"`{o.name}`",
            "required" if o.default is REQUIRED else code(repr(o.default)),
            plain(o.allowed),
            described.get(o.name, ""),
        )
        for o in options_of(make).values()
    ]
    heads = ("option", "default", "allowed", "meaning")
    shown = table(heads, options) if any(row[3] for row in options) else table(heads[:3], [row[:3] for row in options])
    parts = [f"## {name}\n", summary, "", text, "", *known, "", shown if options else "No options.\n"]
    return "\n".join(parts)


def docstring(make: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A docstring's prose, and what it says of each option."""
    text, _, listed = inspect.cleandoc(make.__doc__ or "").partition("\nAttributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return text.strip(), {name: " ".join(words.split()) for name, words in found}


def stations(name: str) -> str:
    """The stations that a trick overrides."""
    make = TRICKS.load(name)
    acting = [each for each in STATIONS if getattr(make, each) is not getattr(Trick, each)]
    return ", ".join(f"`{each}`" for each in acting or ["start"])


def names_of(specs: Iterable[str]) -> set[str]:
    """Names without their options."""
    return {Spec.parse(text).name for text in specs}


def as_spec(name: str, options: dict[str, Any] | None) -> str:
    """Options as a user writes them."""
    return code(Spec(name, options)) if options else ""


def page(title: str, *parts: str) -> str:
    """A page from its parts."""
    return "\n".join([f"# {title}\n", *parts])


def table(heads: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A Markdown table; nothing where there are no rows."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    ruler = f"|{' --- |' * len(heads)}"
    return "\n".join([f"| {' | '.join(heads)} |", ruler, *lines, ""]) if lines else ""


def fence(text: str) -> str:
    """Text as it stands."""
    return f"```text\n{text.strip()}\n```\n"


def code(value: Any) -> str:
    """A value in code type; a table's bars would end its cell."""
    return f"`{value}`".replace("|", "or")


def plain(text: Any) -> str:
    """Allowed values in words."""
    return str(text).replace(" | ", " or ")


def _extensions() -> tuple[str, ...]:
    from netwright.data.folder import EXTENSIONS

    return EXTENSIONS


if __name__ != "gen_pages":  # tests import this file by that name, and ask for the pages themselves
    for place, text in pages().items():
        with mkdocs_gen_files.open(place, "w") as file:
            file.write(text)
