"""A named study as a page, a table and a picture. What there is to show, the study says: tables, panels, sentences."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval
from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND, STYLE, percent_label, svg_of
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.study_figures import figures, pictures, sheet
from netwright.report.tables import facts, table
from netwright.report.words import count, plural, setting

COLOURS = {"first": FIRST, "second": SECOND, "muted": MUTED, "ink": INK}
ON_WHITE = {FIRST: "#2a5f8f", SECOND: "#b4561f", MUTED: "#5a646d", RULE: "#bbbbbb", INK: "#1c2126"}
SIZES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))
COLUMNS = 2  # panels side by side
PROTOCOL = ("model", "weights", "optimizer", "schedule", "tricks", "epochs", "batch_size", "precision")


def write(folder: Path) -> Path:
    """Write `study.html`, `.md` and `.png` beside `study.json`, and a `.png` for each further figure.

    Returns:
        The path of `study.html`.

    Raises:
        NetwrightError: the disk is full or not writable.
    """
    found = json.loads((folder / "study.json").read_text("utf-8"))
    write_atomic(folder / "study.md", markdown(found))
    write_atomic(folder / "study.png", picture(found))
    for name, drawn in pictures(found).items():
        write_atomic(folder / name, drawn)
    write_atomic(folder / "study.html", page(found, folder))
    return folder / "study.html"


def page(found: Mapping[str, Any], folder: Path | None = None) -> str:
    """The whole page; a study's own picture is read from its folder."""
    said = tag("ul", *(tag("li", sentence) for sentence in found["said"]))
    tables = [_table(each) for each in found["tables"]]
    main = tag(
        "main",
        section("said", "What this allows to say", said),
        section("figure", "In a picture", *_figures(found, folder)),
        section("tables", "In numbers", note(found["legend"]), *tables),
        section("protocol", "Protocol", note("The same for every training."), facts(_protocol(found))),
    )
    return document(found["title"], tag("header", tag("h1", found["title"]), note(_below(found))), main)


def _figures(found: Mapping[str, Any], folder: Path | None) -> list[Html | None]:
    """Curves, further figures, and the study's own picture."""
    return [figure(found), figures(found), sheet(found, folder) if folder else None]


def markdown(found: Mapping[str, Any]) -> str:
    """Sentences and tables in Markdown."""
    parts = [f"# {found['title']}", _below(found), *found["said"]]
    for each in found["tables"]:
        heads, *rows = (f"| {' | '.join(map(_in_cell, cells))} |" for cells in rows_of(each))
        rule = f"| --- |{' ---: |' * (len(each['heads']) - 1)}"
        parts += [f"**{each['caption']}**", "\n".join([heads, rule, *rows])]
    return "\n\n".join([*parts, found["legend"]]) + "\n"


def _in_cell(text: str) -> str:
    """What would end a cell or a row, as what it looks like."""
    return " ".join(text.replace("|", "\\|").split("\n"))


def rows_of(each: Mapping[str, Any]) -> list[list[str]]:
    """A table in words, its heads first."""
    return [list(each["heads"]), *([cell_text(cell) for cell in row] for row in each["rows"])]


def cell_text(cell: Any) -> str:
    """A cell in words: an interval as a percentage, a share or in percentage points, anything else as it is."""
    if not isinstance(cell, Mapping):
        return str(cell)
    seen = Interval.from_json(cell["interval"])
    if cell["unit"] == "percent":
        return seen.percent()
    if cell["unit"] == "share":
        return f"{seen.value:.2f} [{seen.low:.2f}, {seen.high:.2f}]"
    return f"{100 * seen.value:+.1f} [{100 * seen.low:.1f}, {100 * seen.high:.1f}]"


def figure(found: Mapping[str, Any]) -> Html:
    """The panels as a part of the page."""
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": "study"}
    with rc_context(style):
        titles = " and ".join(panel["title"] for panel in found["panels"])
        return svg_of(_drawn(found["panels"]), "study", f"{titles}: {found['title']}")


def picture(found: Mapping[str, Any]) -> bytes:
    """The same as PNG, on white."""
    stream = io.BytesIO()
    style: dict[Any, Any] = {name: ON_WHITE.get(value, value) for name, value in STYLE.items()}
    with rc_context(style):
        FigureCanvasAgg(_drawn(found["panels"], ON_WHITE)).print_png(stream)
    return stream.getvalue()


def _drawn(panels: Sequence[Mapping[str, Any]], on: Mapping[str, str] | None = None) -> Figure:
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    drawn = Figure(figsize=(8.0, 0.6 + 3.2 * rows), dpi=200, layout="constrained")
    places = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _panel(axes, panel, on or {})
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    handles, names = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return drawn


def _panel(axes: Axes, panel: Mapping[str, Any], on: Mapping[str, str]) -> None:
    for line in panel["lines"]:
        seen = [Interval.from_json(point["interval"]) for point in line["points"]]
        colour = COLOURS[line["colour"]]
        colour = on.get(colour, colour)
        reach = [[each.value - each.low for each in seen], [each.high - each.value for each in seen]]
        axes.errorbar(
            [point["x"] for point in line["points"]],
            [each.value for each in seen],
            yerr=reach,
            color=colour,
            elinewidth=0.8,
            linestyle=(0, (3, 2)) if line["dashed"] else "-",
            marker="o",
            markersize=4,
            markerfacecolor="none" if line["dashed"] else colour,
            label=line["name"],
        )
    if panel["unit"] == "points":
        axes.axhline(0, color=on.get(MUTED, MUTED), linewidth=0.8)
    if panel.get("scale") == "log":
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(_count_label))
    if "limits" in panel:
        axes.set_ylim(*panel["limits"])
    axes.set(xlabel=panel["x"], xticks=panel["ticks"], title=panel["title"])
    axes.title.set_fontsize(9)
    axes.yaxis.set_major_formatter(FuncFormatter(percent_label if panel["unit"] == "percent" else _points_label))
    axes.grid(axis="y", color=on.get(RULE, RULE), linewidth=0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def _points_label(value: float, place: int | None) -> str:
    return f"{100 * value:+.0f}" if round(100 * value) else "0"


def _count_label(value: float, place: int | None) -> str:
    """2000000 -> `2 M`."""
    size, unit = next(((size, unit) for size, unit in SIZES if value >= size), (1, ""))
    return f"{value / size:g}{unit}"


def _table(each: Mapping[str, Any]) -> Html:
    first, *rest = each["heads"]
    _, *rows = rows_of(each)
    return table([first, *(f"{head}#" for head in rest)], rows, caption=each["caption"], class_="dense")


def _below(found: Mapping[str, Any]) -> str:
    pictures = ", ".join(f"{count(n)} {side}" for side, n in found["pictures"].items())
    return f"{found['data']}: {pictures} pictures · {plural(found['seeds'], 'seed')} · {found['device']}"


def _protocol(found: Mapping[str, Any]) -> dict[str, object]:
    said: dict[str, object] = {"study": found["study"]}
    said |= {name.replace("_", " "): setting(found["protocol"].get(name)) for name in PROTOCOL}
    return said | {"image size": found["image_size"], "first seed": found["protocol"]["seed"]}
