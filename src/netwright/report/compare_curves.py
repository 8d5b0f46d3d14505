"""Learning curves of several runs together: validation accuracy and training loss, by epoch and by seconds."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from netwright.report.figures import MUTED, RULE, STYLE, percent_label, svg_of
from netwright.report.html import Html
from netwright.report.transfer_curves import COLOURS, DASHES, ON_WHITE

MEASURES = {"val_accuracy": "validation accuracy", "train_loss": "training loss"}
ALONG = {"epoch": "epoch", "seconds": "seconds of training"}
FEW = 12  # points that are marked each
Rows = Sequence[Mapping[str, Any]]


def figure(rows: Rows) -> Html:
    """The curves as a part of a page."""
    labels = ", ".join(row["label"] for row in rows)
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": "compare"}
    with rc_context(style):
        return svg_of(_drawn(rows, {}), "compare", f"Learning curves of {labels}, by epoch and by seconds")


def picture(rows: Rows) -> bytes:
    """The same as PNG, on white."""
    stream = io.BytesIO()
    style: dict[Any, Any] = {name: ON_WHITE.get(value, value) for name, value in STYLE.items()}
    with rc_context(style):
        FigureCanvasAgg(_drawn(rows, ON_WHITE)).print_png(stream)
    return stream.getvalue()


def _drawn(rows: Rows, on: Mapping[str, str]) -> Figure:
    drawn = Figure(figsize=(8.0, 5.2), dpi=200, layout="constrained")
    panels = drawn.subplots(len(MEASURES), len(ALONG))
    for line, (measure, title) in enumerate(MEASURES.items()):
        for place, (along, below) in enumerate(ALONG.items()):
            axes: Axes = panels[line][place]
            for number, row in enumerate(rows):
                _line(axes, row, number, along, measure)
            axes.set(xlabel=below, title=title)
            _finish(axes, measure, along, on)
    handles, names = drawn.axes[0].get_legend_handles_labels()
    drawn.legend(handles, names, loc="outside lower center", ncols=min(len(names), 8), frameon=False)
    return drawn


def _line(axes: Axes, row: Mapping[str, Any], number: int, along: str, measure: str) -> None:
    """A thin line a seed, and their mean; one seed's line is thick itself."""
    look: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
    seeds = [(_numbers(each[along]), _numbers(each[measure])) for each in row["curves"]]
    if len(seeds) > 1:
        for x, y in seeds:
            axes.plot(x, y, linewidth=0.6, alpha=0.6, **look)
    x, y = ([_mean(values) for values in zip(*held, strict=False)] for held in zip(*seeds, strict=True))
    axes.plot(x, y, marker="o" if len(x) <= FEW else "", markersize=3, label=row["label"], **look)


def _finish(axes: Axes, measure: str, along: str, on: Mapping[str, str]) -> None:
    axes.title.set_fontsize(9)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if measure.endswith("accuracy"):
        axes.yaxis.set_major_formatter(FuncFormatter(percent_label))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=along == "epoch"))
    axes.grid(axis="y", color=on.get(RULE, RULE), linewidth=0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0, labelcolor=on.get(MUTED, MUTED))


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(value) if isinstance(value, int | float) else math.nan for value in values]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
