"""Accuracy against pictures a class: a line a way with its band, and its name beside its end."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from netwright.records.intervals import Interval
from netwright.report.figures import MUTED, RULE, STYLE, percent_label, svg_of
from netwright.report.html import Html

# Okabe & Ito, Color universal design, 2008; dashes and marks tell lines apart where colours do not.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKS = ("o", "s", "^", "D", "v", "P")
ON_WHITE = {MUTED: "#444444", RULE: "#bbbbbb"}  # a picture has no page to take its colours from
APART = 0.062  # of the height: two names nearer than that would lie on each other
Rows = Sequence[Mapping[str, Any]]


def figure(rows: Rows, *, says: str) -> Html:
    """The curves as a part of a page."""
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": "curves"}
    with rc_context(style):
        return svg_of(_drawn(rows), "curves", says)


def picture(rows: Rows) -> bytes:
    """The same as PNG, on white."""
    stream = io.BytesIO()
    style: dict[Any, Any] = {name: ON_WHITE.get(value, value) for name, value in STYLE.items()}
    with rc_context(style):
        FigureCanvasAgg(_drawn(rows, ON_WHITE)).print_png(stream)
    return stream.getvalue()


def _drawn(rows: Rows, colours: Mapping[str, str] | None = None) -> Figure:
    words, rule = ((colours or {}).get(colour, colour) for colour in (MUTED, RULE))
    drawn = Figure(figsize=(6.4, 3.8), dpi=200, layout="constrained")
    axes = drawn.add_subplot()
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    ends: dict[str, float] = {}
    for place, arm in enumerate(arms):
        of_arm = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["per_class"])
        _line(axes, of_arm, place)
        ends[arm] = of_arm[-1]["accuracy"]["value"]
    sizes = {row["per_class"]: row["size"] for row in rows}
    _finish(axes, sizes, rule)
    _name_ends(axes, ends, max(sizes), words)
    return drawn


def _line(axes: Axes, rows: Rows, place: int) -> None:
    colour = COLOURS[place % len(COLOURS)]
    seen = [Interval.from_json(row["accuracy"]) for row in rows]
    where = [row["per_class"] for row in rows]
    axes.fill_between(where, [each.low for each in seen], [each.high for each in seen], color=colour, alpha=0.15, lw=0)
    if len(where) == 1:
        reach = [[seen[0].value - seen[0].low], [seen[0].high - seen[0].value]]
        axes.errorbar(where, [seen[0].value], yerr=reach, color=colour, linewidth=1)
    values = [each.value for each in seen]
    look: dict[str, Any] = {"linestyle": DASHES[place % len(DASHES)], "marker": MARKS[place % len(MARKS)]}
    axes.plot(where, values, color=colour, markersize=4, **look)


def _finish(axes: Axes, sizes: Mapping[float, str], rule: str) -> None:
    def named(value: float, place: int | None) -> str:
        asked = sizes.get(value, "")
        return asked if asked == f"{value:g}" or not asked else f"{asked}\n({value:.3g})"

    axes.set(xscale="log", xlabel="training pictures a class", ylabel="accuracy")
    axes.xaxis.set_major_locator(FixedLocator(sorted(sizes)))
    axes.xaxis.set_major_formatter(FuncFormatter(named))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(percent_label))
    axes.grid(axis="y", color=rule, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)


def _name_ends(axes: Axes, ends: Mapping[str, float], where: float, colour: str) -> None:
    """Each line's name right of its end, moved up where it would lie on another."""
    low, high = axes.get_ylim()
    taken = low - high
    for arm in sorted(ends, key=lambda arm: ends[arm]):
        taken = max(ends[arm], taken + APART * (high - low))
        place = list(ends).index(arm) % len(COLOURS)
        lines = {"color": COLOURS[place], "linewidth": 0.8, "arrowstyle": "-", "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            arm,
            (where, ends[arm]),
            xytext=(1.06, (taken - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            color=colour,
            arrowprops=lines,
            annotation_clip=False,
        )
