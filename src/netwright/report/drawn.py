"""A figure twice from one function: as a part of the page in its colours, and as PNG on white."""

import io
from collections.abc import Callable
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND, STYLE, svg_of
from netwright.report.html import Html, tag

ON_WHITE = {FIRST: "#2a5f8f", SECOND: "#b4561f", MUTED: "#5a646d", RULE: "#c4c8c8", INK: "#1c2126"}
Colours = Callable[[str], str]  # one of the page's colours -> what is drawn with
Draw = Callable[[Colours], Figure]
# Names are the user's: a dollar in them is no formula.
QUIET: dict[Any, Any] = {"text.parse_math": False, "axes.unicode_minus": True}


def on_page(draw: Draw, name: str, says: str, *, least: float | None = None) -> Html:
    """A figure as a part of the page; with `least` rem of width it scrolls where the page is narrower than that."""
    style: dict[Any, Any] = {**STYLE, **QUIET, "svg.hashsalt": name}
    with rc_context(style):
        drawn = svg_of(draw(str), name, says)
    if least is None:
        return drawn
    inner = tag("div", drawn, style=f"min-width: {least:g}rem")
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=says)


def as_png(draw: Draw) -> bytes:
    """The same on white, at 200 dots an inch."""
    stream = io.BytesIO()
    style: dict[Any, Any] = {name: ON_WHITE.get(str(value), value) for name, value in (STYLE | QUIET).items()}
    with rc_context(style):
        figure = draw(lambda colour: ON_WHITE.get(colour, colour))
        figure.set_dpi(200)
        FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def plain(axes: Axes, rule: str, *, grid: Literal["x", "y", "both"]) -> None:
    """Axes as all figures have them: a quiet grid, no box, no ticks."""
    axes.grid(axis=grid, color=rule, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)


def labels(words: Callable[[float], str]) -> FuncFormatter:
    """An axis whose numbers are written by a function."""

    def said(value: float, place: int | None) -> str:
        return words(value)

    return FuncFormatter(said)


def shortened(name: str, longest: int) -> str:
    """A name that fits: its middle left out, since names that begin alike often end in what tells them apart."""
    flat = " ".join(name.split())
    if len(flat) <= longest:
        return flat
    end = (longest - 1) // 2
    return f"{flat[: longest - 1 - end]}…{flat[-end:]}"


def typeset(text: str) -> str:
    """Numbers with the minus sign of print."""
    return text.replace("-", "−")
