"""Figures that a named study may ask for besides its curves: shades, rows of points, and a sheet."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from netwright.records.intervals import Interval
from netwright.report.drawn import Colours, as_png, labels, on_page, plain
from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND
from netwright.report.html import Html, join, tag
from netwright.report.pictures import data_uri

Found = Mapping[str, Any]
LOOKS = ((SECOND, "o", False), (FIRST, "s", True), (INK, "^", True), (MUTED, "D", True))  # of series
WIDTH, ROW = 7.6, 0.29  # inches
DARKEST = 0.72  # of a shade, so that the numbers in it can be read


def figures(found: Found) -> Html:
    """All of them as a part of the page, each with its caption."""
    parts = [
        tag("figure", on_page(_draw(each), each["name"], each["title"], least=34), tag("figcaption", each["title"]))
        for each in found.get("figures", ())
    ]
    return join(*parts)


def pictures(found: Found) -> dict[str, bytes]:
    """The same as PNG files, by name."""
    return {f"{each['name']}.png": as_png(_draw(each)) for each in found.get("figures", ())}


def sheet(found: Found, folder: Path) -> Html | None:
    """The study's own picture, from its folder; None where there is none."""
    told: Found = found.get("sheet") or {}
    source = data_uri(folder, str(told["file"])) if told else None
    if source is None:
        return None
    image = tag("img", src=source, alt=told["caption"], class_="wide")
    return tag("figure", image, tag("figcaption", told["caption"]))


def _draw(each: Found) -> Callable[[Colours], Figure]:
    draw = _heat if each["kind"] == "heat" else _dots
    return lambda colours: draw(each, colours)


def _heat(each: Found, colours: Colours) -> Figure:
    """A matrix: a shade for how much is gone of each column's first number, and the number itself."""
    rows, columns = each["rows"], each["columns"]
    drawn = Figure(figsize=(WIDTH, 0.45 + ROW * len(rows)), layout="constrained")
    axes = drawn.subplots()
    for y, row in enumerate(rows):
        for x, cell in enumerate(row["cells"]):
            _shade(axes, x, y, cell, colours)
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks(range(len(columns)), columns)
    axes.xaxis.tick_top()
    _named(axes, rows, colours)
    plain(axes, "none", grid="both")
    return drawn


def _shade(axes: Axes, x: int, y: int, cell: Found, colours: Colours) -> None:
    gone = min(1.0, max(0.0, 1 - float(cell["share"])))
    corner = (x - 0.5, y - 0.5)
    axes.add_patch(Rectangle(corner, 1, 1, facecolor=colours(FIRST), alpha=DARKEST * gone, linewidth=0))
    if cell.get("own"):
        axes.add_patch(Rectangle((x - 0.48, y - 0.44), 0.96, 0.88, fill=False, edgecolor=colours(INK), linewidth=1.1))
    axes.text(x, y, cell["text"], ha="center", va="center", color=colours(INK), fontsize=8)


def _dots(each: Found, colours: Colours) -> Figure:
    """Points with intervals, a row each, a colour and a mark for each series."""
    rows, series = each["rows"], each["series"]
    drawn = Figure(figsize=(WIDTH, 0.9 + ROW * len(rows)), layout="constrained")
    axes = drawn.subplots()
    plain(axes, colours(RULE), grid="x")
    for place, name in enumerate(series):
        colour, mark, filled = LOOKS[place % len(LOOKS)]
        _series(axes, [Interval.from_json(row["points"][place]) for row in rows], colours(colour), mark, filled, name)
    for y in _borders(rows):
        axes.axhline(y, color=colours(RULE), linewidth=0.8)
    axes.set(ylim=(len(rows) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(labels(lambda value: f"{100 * value:g} %"))
    _named(axes, rows, colours)
    drawn.legend(loc="outside lower center", ncols=len(series), frameon=False)
    return drawn


def _series(axes: Axes, seen: Sequence[Interval], colour: str, mark: str, filled: bool, name: str) -> None:
    values = [one.value for one in seen]
    reach = [[one.value - one.low for one in seen], [one.high - one.value for one in seen]]
    axes.errorbar(
        values,
        range(len(seen)),
        xerr=reach,
        color=colour,
        linestyle="",
        elinewidth=1.4,
        marker=mark,
        markersize=4.5,
        markerfacecolor=colour if filled else "none",
        label=name,
    )


def _borders(rows: Sequence[Found]) -> list[float]:
    """Between rows of different groups."""
    return [y - 0.5 for y in range(1, len(rows)) if rows[y]["group"] != rows[y - 1]["group"]]


def _named(axes: Axes, rows: Sequence[Found], colours: Colours) -> None:
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.tick_params(axis="both", labelcolor=colours(INK), labelsize=8)
