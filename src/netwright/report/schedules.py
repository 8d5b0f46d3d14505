"""A schedule as a picture: what becomes of the learning rate, and of the momentum if it has a say in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from netwright.core.errors import NetwrightError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 501
SUFFIXES = (".svg", ".png")
# These can be read on white and on black: the picture stands in pages that do not have the report's colours.
INK, LINES, FIRST, SECOND = "#7a858e", "#9aa3a8", "#3f7fb8", "#c8692f"


class Drawable(Protocol):
    """What a picture needs of a schedule."""

    def __call__(self, progress: float, /) -> float:
        """The factor of the peak learning rate."""
        ...

    def momentum_at(self, progress: float) -> float | None:
        """The momentum, if the schedule has one."""
        ...


@dataclass(frozen=True)
class Curves:
    """Values over progress, by what they are: "factor", and "momentum" if the schedule has one."""

    progress: Sequence[float]
    series: Mapping[str, Sequence[float]]


def curves_of(schedule: Drawable, points: int = POINTS) -> Curves:
    """A schedule at evenly spaced times, from the start of a run to its end."""
    progress = [i / (points - 1) for i in range(points)]
    momenta = [momentum for time in progress if (momentum := schedule.momentum_at(time)) is not None]
    factors = [schedule(time) for time in progress]
    return Curves(progress, {"factor": factors} | ({"momentum": momenta} if momenta else {}))


def schedule_figure(schedule: Drawable, name: str = "schedule") -> str:
    """A schedule as SVG to stand in a page, light or dark; `name` is the figure's own there."""
    from netwright.report.figures import svg_of

    says = " and ".join(curves_of(schedule, 2).series) + " over progress"
    with _style(name):
        return svg_of(_figure(schedule), name, says)


def save_schedule(path: Path, schedule: Drawable) -> None:
    """Draw a schedule in a file, .svg or .png.

    Raises:
        NetwrightError: the file's name ends otherwise, or it cannot be written.
    """
    save_drawing(path, lambda: _figure(schedule))


def check_suffix(path: Path) -> None:
    """Refuse a file that cannot be drawn in.

    Raises:
        NetwrightError: its name ends in neither .svg nor .png.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise NetwrightError(f"cannot draw in {path.name}", f"let its name end in {' or '.join(SUFFIXES)}")


def save_drawing(path: Path, draw: "Callable[[], Figure]") -> None:
    """Draw what `draw` makes in a file, .svg or .png, on white.

    Raises:
        NetwrightError: the file's name ends otherwise, or it cannot be written.
    """
    check_suffix(path)
    with _style(path.stem):
        figure = draw()
        figure.patch.set_facecolor("white")
        try:
            figure.savefig(path, dpi=200, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise NetwrightError(f"cannot write {path}: {error.strerror}", "choose another place") from error


def _figure(schedule: Drawable) -> "Figure":
    from matplotlib.figure import Figure

    curves = curves_of(schedule)
    figure = Figure(figsize=(3.6, 1.6 * len(curves.series) + 0.4), layout="constrained")
    panels: Any = figure.subplots(len(curves.series), 1, sharex=True, squeeze=False)[:, 0]
    for axes, colour, (label, values) in zip(panels, (FIRST, SECOND), curves.series.items(), strict=False):
        axes.plot(curves.progress, values, color=colour)
        axes.set(ylabel=label, xlim=(0, 1))
        axes.grid(axis="y", color=LINES, linewidth=0.4, alpha=0.5)
        axes.tick_params(length=0)
    panels[0].set_ylim(-0.03, 1.03)
    panels[-1].set_xlabel("progress")
    return figure


def _style(name: str) -> Any:
    from matplotlib import rc_context

    from netwright.report import figures

    colours = {figures.INK: INK, figures.MUTED: INK, figures.RULE: LINES}
    style = {key: colours.get(value, value) for key, value in figures.STYLE.items()}
    return rc_context({**style, "svg.hashsalt": name})
