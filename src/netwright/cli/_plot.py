"""Curves drawn in the terminal: braille dots where the terminal has them, stars where it has not."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.report.schedules import Curves, curves_of

WIDTH, HEIGHT = 64, 10  # characters
BRAILLE = 0x2800
# The bit of each dot of a braille character, by row from the top and by column.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def show_schedule(name: str, save: Path | None, *, as_json: bool = False) -> None:
    """Draw a schedule in the terminal, and in a file if one is given.

    Raises:
        NetwrightError: the name is no schedule's, or the file cannot be written.
    """
    from netwright.optim import SCHEDULES

    if Spec.parse(name).name not in SCHEDULES.names():
        raise NetwrightError(
            f"only schedules can be drawn, and '{name}' is none", f"choose one: {listed(SCHEDULES.names())}"
        )
    schedule = SCHEDULES.build(name)
    if save is not None:
        from netwright.report.schedules import save_schedule

        save_schedule(save, schedule)
    curves = curves_of(schedule, 4 * WIDTH + 1)
    if as_json:
        typer.echo(json.dumps({"name": name, "progress": curves.progress, **curves.series}))
        return
    typer.echo("\n".join([f"schedule {name}", *drawing(curves, dots=has_dots())]))


def drawing(curves: Curves, *, dots: bool = True) -> list[str]:
    """A panel of lines of text for each series, with its axes."""
    lines: list[str] = []
    for label, values in curves.series.items():
        lines += ["", label, *panel(values, dots=dots)]
    return lines


def panel(
    values: Sequence[float],
    *,
    dots: bool = True,
    width: int = WIDTH,
    height: int = HEIGHT,
    below: tuple[str, str, str] = ("0", "progress", "1"),
) -> list[str]:
    """Values at even steps as lines of text: labels at the left, the drawing, and below where it begins, what it is
    over, and where it ends.
    """
    low, high = bounds(values)
    down, across = (4, 2) if dots else (1, 1)
    rows = [round((high - value) / (high - low) * (down * height - 1)) for value in values]
    cells = [[0] * width for _ in range(height)]
    columns = across * width
    for place in range(columns):
        first, last = (round(edge * (len(rows) - 1) / columns) for edge in (place, place + 1))
        for row in range(min(rows[first : last + 1]), max(rows[first : last + 1]) + 1):
            cells[row // down][place // across] |= DOTS[row % down][place % across] if dots else 1
    labels = {0: high, height - 1: low}
    drawn = [f"{_label(labels.get(i))} {'┤' if dots else '|'}{_line(row, dots=dots)}" for i, row in enumerate(cells)]
    first, middle, last = below
    middle = middle.center(width - len(first) - len(last))
    return [*drawn, f"{'':7}{'└' if dots else '+'}{('─' if dots else '-') * width}", f"{'':8}{first}{middle}{last}"]


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """The axis: from zero to the greatest; around values that never come near zero, just these."""
    low, high = min(values), max(values)
    if low < high / 2 or low == high:
        low = 0.0
    return low, high if high > low else low + 1


def _line(row: Sequence[int], *, dots: bool) -> str:
    return "".join((chr(BRAILLE + cell) if dots else "*") if cell else " " for cell in row).rstrip()


def _label(value: float | None) -> str:
    return " " * 6 if value is None else f"{value:6.3g}"


def has_dots() -> bool:
    """Whether the terminal's encoding has what a drawing is made of."""
    try:
        (chr(BRAILLE) + "┤└─").encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
