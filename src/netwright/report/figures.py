"""Figures as SVG inside the page: text stays text, and colours follow the page, light or dark. No user text in them."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from netwright.report.calibration import Bin
from netwright.report.html import Html, escape

# Matplotlib must be given colours; these stand for the page's own and are replaced by them.
INK, MUTED, RULE, FIRST, SECOND = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", FIRST: "--first", SECOND: "--second"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 8,
    "text.color": MUTED,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}
SETTLE = 50  # a loss that falls by this factor is drawn on a logarithmic axis


def curve(
    name: str, epochs: Sequence[int], series: Mapping[str, Sequence[float]], *, best: int | None, says: str
) -> Html:
    """One panel of the training curves.

    Args:
        name: of the figure, unique in the page.
        epochs: the numbers of the epochs.
        series: values by "train", "val" or another name; NaN leaves a gap.
        best: the epoch whose weights were kept.
        says: the figure in words, for those who cannot see it.
    """
    with rc_context(figure_style(name)):
        figure = Figure(figsize=(3.3, 2.2), layout="constrained")
        axes = figure.add_subplot()
        for label, values in series.items():
            _line(axes, epochs, values, FIRST if label == "val" else SECOND if label == "train" else MUTED)
        if best is not None:
            axes.axvline(best, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        _finish(axes, series)
        return svg_of(figure, name, says)


def reliability(name: str, bins: Sequence[Bin], *, says: str) -> Html:
    """Accuracy against confidence with Wilson bars, over how many images had that confidence."""
    with rc_context(figure_style(name)):
        figure = Figure(figsize=(3.8, 4.0), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        upper.plot((0, 1), (0, 1), color=RULE, linewidth=1)
        _bars(upper, bins)
        upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), ylabel="right")
        widths = [0.88 * (each.high - each.low) for each in bins]
        lower.bar(
            [(each.low + each.high) / 2 for each in bins], [each.accuracy.n for each in bins], widths, color=MUTED
        )
        lower.set(xlabel="sure", ylabel="images")
        lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        lower.xaxis.set_major_formatter(FuncFormatter(percent_label))
        upper.yaxis.set_major_formatter(FuncFormatter(percent_label))
        return svg_of(figure, name, says)


def figure_style(name: str) -> dict[Any, Any]:
    """How figures look."""
    # The salt makes the ids of a figure's parts the same in every run.
    return {**STYLE, "svg.hashsalt": name}


def _line(axes: Axes, epochs: Sequence[int], values: Sequence[float], colour: str) -> None:
    known = int(np.isfinite(values).sum())
    axes.plot(epochs, values, color=colour, marker="o" if known <= 12 else "", markersize=3)


def _finish(axes: Axes, series: Mapping[str, Sequence[float]]) -> None:
    known = [value for values in series.values() for value in values if math.isfinite(value)]
    if known and min(known) > 0 and "lr" not in series and max(known) > SETTLE * min(known):
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(FuncFormatter(_nothing))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    if "lr" in series:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("epoch")


def _bars(axes: Axes, bins: Sequence[Bin]) -> None:
    x, y = [each.confidence for each in bins], [each.accuracy.value for each in bins]
    axes.vlines(x, [each.accuracy.low for each in bins], [each.accuracy.high for each in bins], color=FIRST, alpha=0.5)
    axes.plot(x, y, color=FIRST, marker="o", markersize=4, linewidth=0)


def _nothing(value: float, place: int | None) -> str:
    return ""


def _short(value: float, place: int | None) -> str:
    return f"{value:g}"


def percent_label(value: float, place: int | None) -> str:
    """A share on an axis: 0.5 -> `50 %`."""
    return f"{100 * value:.0f} %"


def svg_of(figure: Figure, name: str, says: str) -> Html:
    """A figure as a part of the page; `name` is its own there, `says` describes it to those who cannot see it."""
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    file = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(file, metadata=nothing)
    return Html(_fit_in(file.getvalue(), name, says))


def _fit_in(svg: str, name: str, says: str) -> str:
    """One SVG file as a part of a page: no prolog, no fixed size, its own ids, the page's colours."""
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    size = re.search(r'viewBox="[^"]*"', svg)
    head = f'<svg class="figure" role="img" aria-label="{escape(says)}" {size.group() if size else ""}>'
    svg = re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:)?href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
