"""The learning curves of an ablation: each row's over that of the baseline."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from netwright.report.ablation_terms import Found, Scale, finite, numbers
from netwright.report.drawn import Colours, labels, on_page, plain
from netwright.report.figures import FIRST, INK, MUTED, RULE
from netwright.report.html import Html, note, section, tag
from netwright.report.words import metric_name

CURVES = 40  # rows whose learning curves are drawn
FAR = 6  # times the middle distance from the middle: a curve that ends farther away gets an axis of its own
FEWEST = 6  # epochs from which on the beginning of a curve, steep in every row, is left out


def curves_section(found: Found) -> Html | None:
    """Each row's curve over that of the baseline; None where no row has more than one epoch."""
    name = f"val_{found.get('metric', 'accuracy')}"
    rows = [row for row in found["rows"] if _late(_curve(row, name))]
    baseline = next((row for row in rows if row["name"] == (found.get("baseline") or {}).get("name")), None)
    others = [row for row in rows if row is not baseline][:CURVES]
    of_baseline = _curve(baseline, name) if baseline else []
    every = [_curve(row, name) for row in [*others, *([baseline] if baseline else [])]]
    if not others or max(map(len, every)) < 2:
        return None
    shared = _alike(every)
    panels: list[Html] = []
    for place, (row, curve) in enumerate(zip(others, every, strict=False)):
        pair = [curve, of_baseline] if baseline else [curve]
        span = _span(shared if all(each in shared for each in pair) else pair)
        panels.append(_panel(place, row["name"], curve, of_baseline, span, Scale.of(found)))
    apart = " A row that ends far from the others has an axis of its own." if len(shared) < len(every) else ""
    keys = (tag("span", "this row", class_="key first"), " ", tag("span", "the baseline", class_="key base"), " ")
    says = f"Validation {metric_name(found.get('metric', 'accuracy'))} by epoch, the mean of its seeds."
    left = (
        " The steep beginning is left out, since it is alike in all." if len(_curve(others[0], name)) >= FEWEST else ""
    )
    style = tag("style", Html(".key.base::before { border-color: var(--ink); }"))
    return section(
        "curves", "Learning curves", style, note(*keys, says, left, apart), tag("div", *panels, class_="panels")
    )


def _curve(row: Found, name: str) -> list[Any]:
    return (row.get("curves") or {}).get(name) or []


def _late(curve: Sequence[Any]) -> list[float]:
    """A curve once its steep beginning is over."""
    return numbers(curve[len(curve) // 3 if len(curve) >= FEWEST else 0 :])


def _span(curves: Sequence[Sequence[Any]]) -> tuple[float, float]:
    """The axis that shows some curves once their beginning is over."""
    late = [value for curve in curves for value in _late(curve)]
    room = 0.06 * (max(late) - min(late)) or 0.01
    return min(late) - room, max(late) + room


def _alike(curves: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The curves that end near the middle one: one that ends far away would flatten all others."""
    ends = [_late(curve)[-1] for curve in curves]
    far = FAR * median(abs(end - median(ends)) for end in ends)
    return [curve for curve, end in zip(curves, ends, strict=True) if not far or abs(end - median(ends)) <= far]


def _panel(
    place: int, name: str, curve: Sequence[Any], baseline: Sequence[Any], span: tuple[float, float], scale: Scale
) -> Html:
    drawn = on_page(
        lambda colours: figure(curve, baseline, span, scale, colours),
        f"curve-{place}",
        f"Learning curve of {name} over that of the baseline",
    )
    return tag("figure", tag("figcaption", tag("bdi", name)), drawn)


def figure(
    curve: Sequence[Any], baseline: Sequence[Any], span: tuple[float, float], scale: Scale, colours: Colours
) -> Figure:
    """A curve over that of the baseline; one of a single epoch is a dot."""
    drawn = Figure(figsize=(3.3, 2.0), layout="constrained")
    axes = drawn.add_subplot()
    for values, colour, width in ((baseline, INK, 2.4), (curve, FIRST, 1.5)):
        known = [value if finite(value) else float("nan") for value in values]
        mark = "o" if len(numbers(values)) == 1 else "None"
        axes.plot(range(1, len(known) + 1), known, color=colours(colour), linewidth=width, marker=mark, markersize=4)
    plain(axes, colours(RULE), grid="y")
    axes.set(ylim=span, xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(labels(lambda value: f"{scale.factor * value:g}{scale.sign}"))
    axes.tick_params(labelcolor=colours(MUTED))
    return drawn
