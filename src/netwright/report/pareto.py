"""Accuracy against the time of a run: which rows nobody beats in both (Pareto's front), every one named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from netwright.report.ablation_terms import Scale, finite, interval_of, on_shared_seeds, run_time
from netwright.report.drawn import Colours, as_png, labels, on_page, plain, shortened
from netwright.report.figures import FIRST, INK, MUTED, RULE
from netwright.report.html import Html
from netwright.report.words import metric_name, plural

Found = Mapping[str, Any]
LONGEST = 30  # letters of a name
MOST = 14  # rows whose names have room beside their points; more get numbers there and their names in a column
FAR = 25  # times the middle distance from the middle: a point farther away is drawn at the edge
SIZE = (8.4, 4.4)  # inches
NARROWEST = 0.15  # of the middle time: what is drawn at least, so that noise does not look like a difference
AROUND = ((1, 0), (0, 1), (0, -1), (-1, 0), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8))
STEPS = tuple((far * x, far * y) for far in (8, 13, 19, 26, 34, 44, 56, 70) for x, y in AROUND)


@dataclass(frozen=True)
class Point:
    """A row as it is drawn: seconds a run, the metric with its ends, and whether it is on the front."""

    name: str
    seconds: float
    value: float
    low: float
    high: float
    front: bool
    baseline: bool


def figure(found: Found) -> Html:
    """The plot as a part of the page."""
    shown = points(found)
    metric = metric_name(found.get("metric", "accuracy"))
    says = (
        f"{metric.capitalize()} against seconds a run of {plural(len(shown), 'row')}; the table of rows has the numbers"
    )
    return on_page(lambda colours: _drawn(found, colours), "pareto", says, least=40)


def picture(found: Found) -> bytes:
    """The same as PNG, on white."""
    return as_png(lambda colours: _drawn(found, colours))


def front(rows: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of (seconds, metric) are on Pareto's front: no other is as fast and better, or as good and faster."""
    return [
        not any((time <= seconds and value >= metric) and (time < seconds or value > metric) for time, value in rows)
        for seconds, metric in rows
    ]


def points(found: Found) -> list[Point]:
    """The rows whose time and metric are known, over the seeds that all of them have."""
    rows = [(row, own) for row, own in on_shared_seeds(found) if finite(own.get("seconds"))]
    seen = [interval_of(own["accuracy"]) for _, own in rows]
    best = front([(own["seconds"], each.value) for (_, own), each in zip(rows, seen, strict=True)])
    baseline = (found.get("baseline") or {}).get("name")
    return [
        Point(
            row["name"], float(own["seconds"]), each.value,
            each.low if finite(each.low) else each.value, each.high if finite(each.high) else each.value,
            leads, row["name"] == baseline,
        )
        for (row, own), each, leads in zip(rows, seen, best, strict=True)
    ]  # fmt: skip


def front_words(found: Found) -> str:
    """Who is on the front, the fastest first."""
    leads = sorted((point for point in points(found) if point.front), key=lambda point: point.seconds)
    scale = Scale.of(found)
    unit = scale.sign
    named = [f"{each.name} ({scale.number(each.value)}{unit} in {run_time(each.seconds)})" for each in leads]
    if not named:
        return "Times are not known, so there is nothing to weigh accuracy against."
    return f"On the front, where nothing measured is both faster and better: {'; '.join(named)}.{_seeds(found)}"


def _seeds(found: Found) -> str:
    """Over which seeds rows are weighed, where not all have the same."""
    rows = on_shared_seeds(found)
    if len({row.get("n") for row, _ in rows}) < 2:
        return ""
    if any(own is row for row, own in rows):
        return " Rows have different seeds, which may be all that they differ in."
    shared = rows[0][1].get("n")
    return " Over the one seed that all share." if shared == 1 else f" Over the {shared} seeds that all share."


def span(values: Sequence[Point]) -> tuple[float, float]:
    """The least and the most of the metric that is drawn where it is; what is far from all others is not."""
    middle = median(point.value for point in values)
    far = FAR * median(abs(point.value - middle) for point in values)
    kept = [point for point in values if abs(point.value - middle) <= far] if far else list(values)
    low, high = min(point.low for point in kept), max(point.high for point in kept)
    room = 0.08 * (high - low) or 0.01
    return low - room, high + room


def _drawn(found: Found, colours: Colours) -> Figure:
    shown = sorted(points(found), key=lambda point: -point.value)
    many = len(shown) > MOST
    high = max(SIZE[1], 0.8 + 0.185 * len(shown)) if many else SIZE[1]
    drawn = Figure(figsize=(SIZE[0], high), dpi=72)
    axes = drawn.add_axes((0.08, 0.5 / high, 0.585 if many else 0.905, (high - 0.6) / high))
    plain(axes, colours(RULE), grid="both")
    if not shown:
        return drawn
    _frame(axes, shown, found, Scale.of(found))
    for point in shown:
        _point(axes, point, colours)
    leads = sorted((point for point in shown if point.front), key=lambda point: point.seconds)
    where, heights = [point.seconds for point in leads], [_height(axes, point) for point in leads]
    axes.step(where, heights, where="post", color=colours(FIRST), linewidth=1.2, zorder=3)
    numbered = {point.name: str(place) for place, point in enumerate(shown, 1)} if many else {}
    _beside(drawn, axes, shown, numbered, Scale.of(found), colours)
    if many:
        _column(axes, shown, Scale.of(found), colours)
    return drawn


def _height(axes: Axes, point: Point) -> float:
    """Where a point is drawn: at the edge, if it lies beyond."""
    low, high = axes.get_ylim()
    room = 0.015 * (high - low)
    return min(max(point.value, low + room), high - room)


def _beyond(axes: Axes, point: Point) -> bool:
    return _height(axes, point) != point.value


def _colour(point: Point) -> str:
    return FIRST if point.front else INK if point.baseline else MUTED


def _point(axes: Axes, point: Point, colours: Colours) -> None:
    colour, height = colours(_colour(point)), _height(axes, point)
    if not _beyond(axes, point):
        axes.plot([point.seconds] * 2, [point.low, point.high], color=colour, linewidth=0.9, alpha=0.45)
    mark = ("^" if point.value > height else "v") if _beyond(axes, point) else "D" if point.baseline else "o"
    size = 6 if point.baseline else 5
    face = colour if point.front else colours(RULE)
    axes.plot([point.seconds], [height], mark, color=colour, markerfacecolor=face, markersize=size, zorder=4)


def _frame(axes: Axes, shown: Sequence[Point], found: Found, scale: Scale) -> None:
    times = [point.seconds for point in shown]
    middle = median(times)
    low, high = min(*times, middle * (1 - NARROWEST)), max(*times, middle * (1 + NARROWEST))
    if high > 3 * low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.15, high * 1.25)
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(low - 0.04 * (high - low), high + 0.12 * (high - low))
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 3, 6, 10)))
    axes.set_ylim(*span(shown))
    axes.xaxis.set_major_formatter(labels(_seconds))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
    unit = scale.sign
    axes.yaxis.set_major_formatter(labels(lambda value: f"{scale.factor * value:g}{unit}"))
    axes.set(xlabel="time of a run", ylabel=metric_name(found.get("metric", "accuracy")))


def _seconds(value: float) -> str:
    return f"{value:g} s" if value < 600 else f"{value / 60:g} min" if value < 7200 else f"{value / 3600:.3g} h"


def _named(axes: Axes, point: Point, scale: Scale) -> str:
    """The name, and for a point beyond the edge its value."""
    value = f" ({scale.number(point.value)}{scale.sign})" if _beyond(axes, point) else ""
    return (
        shortened(point.name, LONGEST)
        + (" (baseline)" if point.baseline and "baseline" not in point.name else "")
        + value
    )


def _column(axes: Axes, shown: Sequence[Point], scale: Scale, colours: Colours) -> None:
    """What the numbers stand for, right of the plot, in the order of the metric."""
    for place, point in enumerate(shown):
        height = 1 - (place + 0.5) / len(shown)
        for where, text, side in ((1.085, f"{place + 1}", "right"), (1.105, _named(axes, point, scale), "left")):
            axes.text(where, height, text, transform=axes.transAxes, va="center", ha=side, fontsize=7.5,
                      color=colours(_colour(point)))  # fmt: skip


def _beside(
    drawn: Figure, axes: Axes, shown: Sequence[Point], numbered: Mapping[str, str], scale: Scale, colours: Colours
) -> None:
    """A name or a number beside each point: of the places around it that are free, the one that crosses least."""
    inside = axes.get_window_extent(FigureCanvasAgg(drawn).get_renderer())
    marks, lines = _obstacles(axes, shown)
    weight = 4 if numbered else 16  # pixels that a crossing is worth
    for point in sorted(shown, key=lambda point: (not point.front, not point.baseline, -point.value)):
        where = (point.seconds, _height(axes, point))
        x, y = axes.transData.transform(where)
        text = numbered.get(point.name) or _named(axes, point, scale)
        boxes = [(step, _box(x, y, step, 5.2 * len(text), 11.0)) for step in STEPS]
        free = [each for each in boxes if _within(each[1], inside) and not _meets(each[1], marks)] or boxes[:1]
        (dx, dy), box = min(free, key=lambda each: weight * _meets(each[1], lines) + max(map(abs, each[0])))
        marks.append(box)
        line = {"arrowstyle": "-", "color": colours(MUTED), "linewidth": 0.5, "shrinkA": 1, "shrinkB": 3,
                "relpos": (0 if dx > 0 else 1 if dx < 0 else 0.5, 0.5)}  # fmt: skip
        axes.annotate(text, where, xytext=(dx, dy), textcoords="offset points", va="center", fontsize=8,
                      ha="left" if dx > 0 else "right" if dx < 0 else "center", color=colours(_colour(point)),
                      arrowprops=line if max(abs(dx), abs(dy)) > 13 else None)  # fmt: skip


def _box(x: float, y: float, step: tuple[float, float], width: float, height: float) -> Bbox:
    dx, dy = step
    left = x + dx - (0 if dx > 0 else width if dx < 0 else width / 2)
    return Bbox.from_bounds(left, y + dy - height / 2, width, height)


def _obstacles(axes: Axes, shown: Sequence[Point]) -> tuple[list[Bbox], list[Bbox]]:
    """Marks, on which no name may lie, and lines, on which it should not: intervals and the front."""

    def at(seconds: float, value: float) -> tuple[float, float]:
        x, y = axes.transData.transform((seconds, value))
        return float(x), float(y)

    places = [at(point.seconds, _height(axes, point)) for point in shown]
    marks = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in places]
    ends = [
        (at(point.seconds, point.low), at(point.seconds, point.high)) for point in shown if not _beyond(axes, point)
    ]
    leads = sorted(place for place, point in zip(places, shown, strict=True) if point.front)
    for (x, y), (then, above) in pairwise(leads):
        ends += [((x, y), (then, y)), ((then, y), (then, above))]
    return marks, [Bbox([[x - 0.5, y - 0.5], [then + 0.5, above + 0.5]]) for (x, y), (then, above) in ends]


def _within(box: Bbox, inside: Bbox) -> bool:
    return inside.x0 <= box.x0 and box.x1 <= inside.x1 + 6 and inside.y0 <= box.y0 and box.y1 <= inside.y1


def _meets(box: Bbox, others: Sequence[Bbox]) -> int:
    return sum(box.overlaps(other) for other in others)
