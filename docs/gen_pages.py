"""Pages that are written from the code each time the documentation is built: catalogues, command line, API."""

import inspect
import re
import sys
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
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Trick
from netwright.optim import OPTIMIZERS, SCHEDULES
from netwright.recipes import RECIPES
from netwright.recipes._recipe import recipe
from netwright.report.schedules import schedule_figure
from netwright.tasks import TASKS
from netwright.tricks import TRICKS

ROOT = Path(__file__).resolve().parents[1] if "__file__" in globals() else Path.cwd()
sys.path.insert(0, str(ROOT / "docs"))  # the site's scripts are not a package
from gen_pictures import Strip, Watched, strip_of  # noqa: E402

NOT_STATIONS = {"name", "spec", "passes", "start", "memory", "recall", "overruled"}
STATIONS = [name for name in vars(Trick) if not name.startswith("_") and name not in {*NOT_STATIONS, "card"}]
ON_ONE_LINE = '{ style="white-space: nowrap" }'
# A trick stands in the first group of which it uses a station.
GROUPS = {
    "Geometry": ("geometry",),
    "Colour": ("colour",),
    "Pixels": ("pixels",),
    "Policies": (),  # those that use several stations for pictures
    "Mixing and targets": ("batch",),
    "Network": ("model", "start"),
    "Loss": ("loss",),
    "Samples": ("data",),
    "Prediction": ("predictor", "after_epoch"),
    "Optimisation": ("optim", "gradient", "before_step", "after_step"),
}


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
        "catalogue/schedules.md": registry("Schedules", SCHEDULES, "--schedule", schedule),
        "catalogue/tasks.md": registry("Tasks", TASKS, "--set task=…"),
        "catalogue/tricks.md": tricks(),
    }


def pictures() -> dict[str, bytes]:
    """Every generated picture by its place in the site."""
    return {f"catalogue/{place(name)}": found.png() for name in TRICKS.names() if (found := strip_of(name))}


def tricks() -> str:
    """The bag of tricks, with everything their cards say."""
    start = (
        'Each is added with `--with NAME` or `--with "NAME(option=value)"`, and taken out with `--without NAME`. '
        "A trick that is not in the recipe does not run at all.\n"
    )
    groups = grouped()
    overview = (f"**[{title}](#{anchor(title)})**\n\n{overview_of(names)}" for title, names in groups.items())
    details = (f"## {title}\n\n{about(title)}\n\n" + "\n".join(map(trick, names)) for title, names in groups.items())
    return page("Tricks", start, "## Overview\n", *overview, symptoms(), *details)


def grouped() -> dict[str, list[str]]:
    """Every trick once, by what it acts on; groups without any are left out."""
    groups: dict[str, list[str]] = {title: [] for title in GROUPS}
    for name in TRICKS.names():
        groups[group(name)].append(name)
    return {title: names for title, names in groups.items() if names}


def group(name: str) -> str:
    """The title under which a trick stands."""
    acting = set(stations(name))
    if len(acting & {"geometry", "colour", "pixels"}) > 1:
        return "Policies"
    return next(title for title, wanted in GROUPS.items() if acting & set(wanted))


def about(title: str) -> str:
    """A group's stations, as the engine describes them."""
    described = ((each, first_line(getattr(Trick, each))) for each in GROUPS[title])
    told = " ".join(f"At `{each}`: {says[0].lower()}{says[1:]}" for each, says in described)
    return told or "At several stations for pictures."


def overview_of(names: list[str]) -> str:
    """A group's table."""
    return table(("trick", "what it does"), [(unbroken(name), TRICKS.summary(name)) for name in names])


def symptoms() -> str:
    """Which tricks are prescribed for what."""
    rows: list[tuple[str, str]] = []
    for symptom in Symptom:
        helping = [name for name in TRICKS.names() if symptom in TRICKS.load(name).card.treats]  # pyright: ignore
        rows += [(symptom, ", ".join(f"[`{name}`](#{name})" for name in helping))] if helping else []
    return f"## What helps against …\n\n{table(('symptom', 'tricks'), rows)}"


def trick(name: str) -> str:
    """One trick: what it does, its card, its options, and a picture if it changes pictures."""
    make = TRICKS.load(name)
    card = make.card  # pyright: ignore
    used = [f"[{each}](recipes.md#{each})" for each in RECIPES.names() if name in names_of(recipe(each).tricks)]
    facts = {
        "Source": card.paper,
        "Acts at": ", ".join(f"`{each}`" for each in stations(name)),
        "For": ", ".join(card.tasks),
        "Not for": "; ".join(f"{task}: {reason}" for task, reason in card.why.items()),
        "Helps against": ", ".join(card.treats),
        "Acts after": ", ".join(f"[`{each}`](#{each})" for each in card.after),
        "Cannot be with": ", ".join(f"[`{each}`](#{each})" for each in card.excludes),
        "Does nothing at": as_spec(name, card.neutral),
        "Surely acts at": as_spec(name, card.strong),
        "In recipes": ", ".join(used),
    }
    found = strip_of(name)
    return entry(name, TRICKS.summary(name), make, facts, picture(name, found) if found else "", level=3)


def picture(name: str, shown: Strip) -> str:
    """A trick's picture, and under it what is to be seen there."""
    sort = " of little contrast" if shown.faded else ""
    seen = f"A photograph{sort}, and what the network sees of it in {len(shown.seen)} epochs with {code(shown.spec)}."
    why = "" if shown.spec == name else " At its defaults it would be seen too seldom or too little here."
    shares = ", ".join(f"{share:.0%}" for share in shown.shares)
    target = f" The temple's part of the target: {shares}; the rest is the flower's." if min(shown.shares) < 1 else ""
    return f"![A photograph before and after {name}]({place(name)}){{ loading=lazy }}\n\n*{seen}{why}{target}*\n"


def place(name: str) -> str:
    """Where a trick's picture lies, seen from its page."""
    return f"tricks/{name}.png"


def schedule(name: str) -> str:
    """A schedule's figure, and under it what a run must do for it to look so."""
    shown = Watched(SCHEDULES.build(name))
    figure = f'<div style="width: 18rem; max-width: 100%">\n{schedule_figure(shown, name)}\n</div>\n'
    return f"{figure}\n*{shown.says}*\n" if shown.says else figure


def registry(title: str, things: Registry, flag: str, drawn: Callable[[str], str] = lambda _: "") -> str:
    """Every entry of a simple registry, perhaps with a picture."""
    names = things.names()
    rows = [(unbroken(name), things.summary(name)) for name in names]
    start = f"Chosen with `{flag}`; options go in brackets after the name.\n"
    entries = (entry(name, things.summary(name), things.load(name), {}, drawn(name)) for name in names)
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


def entry(
    name: str, summary: str, make: Callable[..., Any], facts: dict[str, str], figure: str = "", *, level: int = 2
) -> str:
    """One named thing: description, picture, facts, options."""
    text, described = docstring(make)
    known = [f"- **{key}:** {value}" for key, value in facts.items() if value]
    options = [
        (
            f"`{o.name}`{ON_ONE_LINE}",
            "required" if o.default is REQUIRED else code(repr(o.default)),
            plain(o.allowed),
            described.get(o.name, ""),
        )
        for o in options_of(make).values()
    ]
    heads = ("option", "default", "allowed", "meaning")
    width = 4 if any(row[3] for row in options) else 3
    listed = table(heads[:width], [row[:width] for row in options]) or "No options.\n"
    return "\n".join([f"{'#' * level} {name}\n", summary, "", text, "", figure, *known, "", listed])


def docstring(make: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """A docstring's prose, and what it says of each option."""
    text, _, listed = inspect.cleandoc(make.__doc__ or "").partition("\nAttributes:\n")
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return text.strip(), {name: " ".join(words.split()) for name, words in found}


def stations(name: str) -> list[str]:
    """The stations that a trick overrides; those that override none act when a run starts."""
    make = TRICKS.load(name)
    return [each for each in STATIONS if getattr(make, each) is not getattr(Trick, each)] or ["start"]


def first_line(thing: Any) -> str:
    """What a docstring says first."""
    return inspect.cleandoc(thing.__doc__ or "").split("\n")[0]


def unbroken(name: str) -> str:
    """A link to an entry of the same page, on one line even in a narrow column."""
    return f"[`{name}`](#{name}){ON_ONE_LINE}"


def anchor(heading: str) -> str:
    """A heading's place in its page, for plain words."""
    return heading.lower().replace(" ", "-")


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
    for address, text in pages().items():
        with mkdocs_gen_files.open(address, "w") as file:
            file.write(text)
    for address, content in pictures().items():
        with mkdocs_gen_files.open(address, "wb") as file:
            file.write(content)
