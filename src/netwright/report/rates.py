"""A search for a learning rate as a picture: smoothed loss over the rates tried."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.report.schedules import FIRST, LINES, SECOND, save_drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOM = 0.25  # of the fall: how much of the rise is drawn above the highest loss before the least


def visible(losses: Sequence[float]) -> list[float]:
    """Losses cut where they leave the picture: one that diverges would make a line of all the others."""
    least = min(range(len(losses)), key=lambda place: losses[place])
    highest = max(losses[: least + 1])
    top = highest + ROOM * (highest - losses[least])
    return [min(loss, top) for loss in losses]


def save_search(path: Path, rates: Sequence[float], losses: Sequence[float], best: float) -> None:
    """Draw a search in a file, .svg or .png.

    Args:
        path: the file.
        rates: the learning rates tried.
        losses: the smoothed loss at each.
        best: the rate to take.

    Raises:
        NetwrightError: the file's name ends otherwise, or it cannot be written.
    """
    save_drawing(path, lambda: _figure(rates, losses, best))


def _figure(rates: Sequence[float], losses: Sequence[float], best: float) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 2.0), layout="constrained")
    axes: Any = figure.subplots()
    axes.plot(rates, visible(losses), color=FIRST)
    axes.axvline(best, color=SECOND, linewidth=1)
    where: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "right"}
    axes.annotate(f"{best:g}", (best, 0), (-3, 4), color=SECOND, **where)
    axes.set(xscale="log", xlim=(rates[0], rates[-1]), xlabel="learning rate", ylabel="smoothed loss")
    axes.grid(axis="y", color=LINES, linewidth=0.4, alpha=0.5)
    axes.tick_params(length=0, which="both")
    return figure
