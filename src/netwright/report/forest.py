"""The forest plot of an ablation: a row an effect, with what each kind of interval covers (Lewis & Clarke 2001)."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory

from netwright.records.intervals import Interval
from netwright.report.ablation_terms import Scale, both, finite, interval_of, numbers
from netwright.report.ablation_words import (
    HARMS,
    HELPS,
    NO_DIFFERENCE,
    NOT_RESOLVED,
    effects,
    kind_of,
    p_words,
)
from netwright.report.drawn import Colours, as_png, labels, on_page, plain, shortened, typeset
from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND
from netwright.report.html import Html
from netwright.report.words import metric_name, plural

Found = Mapping[str, Any]
# Colour, mark and filling say the same, so that any one of them may be lost.
LOOKS = {HELPS: (FIRST, ">", True), HARMS: (SECOND, "<", True), NO_DIFFERENCE: (INK, "s", True)}
LOOK_OPEN = (MUTED, "o", False)
LONGEST = 34  # letters of a name
FAR = 12  # times the middle reach: an effect farther away leaves the axis, lest all others shrink to a point
WIDTH, TOP, BOTTOM = 8.8, 0.32, 0.62  # inches
LETTER = 0.068  # inches that a letter of 8 points takes
COLUMNS = 3.4  # inches for the words at the right


def figure(found: Found) -> Html:
    """The plot as a part of the page."""
    says = f"Forest plot: {plural(len(found['arms']), 'effect')} with intervals; the table has the numbers"
    return on_page(lambda colours: _drawn(found, colours), "forest", says, least=44)


def picture(found: Found) -> bytes:
    """The same as PNG, on white."""
    return as_png(lambda colours: _drawn(found, colours))


def reach(found: Found) -> tuple[float, float]:
    """Where the axis begins and ends: zero and the margin are in it, effects far from all others are not."""
    margin = found["margin"] if finite(found.get("margin")) else 0.0
    ends = [_ends(effect) for effect in found["arms"]]
    sizes = [max(map(abs, each)) for each in ends if each]
    far = max(FAR * median(sizes), 1.5 * margin) if sizes else 0.0
    kept = [end for each in ends for end in each if max(map(abs, each)) <= far]
    low, high = min([-margin, 0.0, *kept]), max([margin, 0.0, *kept])
    room = 0.05 * (high - low) or 0.01
    return low - room, high + room


def _ends(effect: Found) -> list[float]:
    given = effect.get("intervals") or {}
    seen = [both(effect), *(interval_of(given.get(name)) for name in ("seeds", "pictures"))]
    return numbers([number for each in seen for number in (each.value, each.low, each.high)])


def _drawn(found: Found, colours: Colours) -> Figure:
    listed, scale = effects(found), Scale.of(found)
    height = 0.44 if len(listed) <= 12 else 0.36
    tall = TOP + BOTTOM + height * max(1, len(listed))
    names = [shortened(effect["name"], LONGEST) for effect in listed]
    left = 0.15 + LETTER * max(map(len, [*names, "trick"]))
    drawn = Figure(figsize=(WIDTH, tall))
    wide = (WIDTH - left - COLUMNS) / WIDTH
    axes = drawn.add_axes((left / WIDTH, BOTTOM / tall, wide, (tall - TOP - BOTTOM) / tall))
    axes.set(xlim=reach(found), ylim=(max(1, len(listed)) - 0.5, -0.5))
    _background(axes, found, listed, colours)
    for place, effect in enumerate(listed):
        _row(axes, place, effect, colours)
        _beside(axes, place, effect, scale, colours)
    _heads(axes, found, colours)
    axes.set_yticks(range(len(listed)), names)
    axes.tick_params(axis="y", labelcolor=colours(INK), labelsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(labels(lambda value: typeset(_tick(value, scale))))
    unit = {"points": "percentage points of ", "dB": "dB of "}.get(scale.unit, "")
    axes.set_xlabel(f"{unit}{metric_name(found.get('metric', 'accuracy'))}")
    _legend(drawn, axes, found, tall, colours)
    return drawn


def _background(axes: Axes, found: Found, listed: Sequence[Found], colours: Colours) -> None:
    plain(axes, colours(RULE), grid="x")
    if finite(found.get("margin")):
        axes.axvspan(-found["margin"], found["margin"], color=colours(RULE), alpha=0.45, linewidth=0)
    axes.axvline(0, color=colours(INK), linewidth=0.9)
    singles = sum((effect.get("order") or 1) == 1 for effect in listed)
    if 0 < singles < len(listed):
        across = blended_transform_factory(axes.figure.transFigure, axes.transData)
        where = [singles - 0.5] * 2
        axes.plot([0.01, 0.99], where, transform=across, color=colours(MUTED), linewidth=0.7, clip_on=False)


def _row(axes: Axes, place: int, effect: Found, colours: Colours) -> None:
    colour, mark, filled = LOOKS.get(kind_of(effect), LOOK_OPEN)
    colour = colours(colour)
    seen, given = both(effect), effect.get("intervals") or {}
    low, high = axes.get_xlim()
    if finite(seen.value) and not low <= seen.value <= high:
        beyond = "<" if seen.value < low else ">"
        edge = low + 0.012 * (high - low) if beyond == "<" else high - 0.012 * (high - low)
        axes.plot([edge], [place], beyond, color=colour, markersize=7)
        return
    _line(axes, place - 0.24, interval_of(given.get("pictures")), colours(MUTED), 0.9, (0, (2, 1.6)))
    _line(axes, place + 0.24, interval_of(given.get("seeds")), colours(MUTED), 0.9, "-")
    seeds = numbers(effect.get("by_seed"))
    axes.plot(seeds, [place + 0.24] * len(seeds), "o", color=colours(INK), markersize=2.2, linewidth=0, alpha=0.65)
    _line(axes, place, seen, colour, 3.2, "-")
    if finite(seen.value):
        face = colour if filled else colours(RULE)
        axes.plot([seen.value], [place], mark, color=colour, markerfacecolor=face, markersize=7.5, zorder=5)


def _line(axes: Axes, height: float, seen: Interval, colour: str, width: float, style: Any) -> None:
    if finite(seen.low) and finite(seen.high):
        axes.plot([seen.low, seen.high], [height] * 2, color=colour, linewidth=width, linestyle=style,
                  solid_capstyle="butt")  # fmt: skip


def _beside(axes: Axes, place: int, effect: Found, scale: Scale, colours: Colours) -> None:
    """Effect with interval, p and verdict, right of the row."""
    kind = kind_of(effect)
    colour = colours(LOOKS.get(kind, LOOK_OPEN)[0])
    verdict = str(effect.get("verdict") or NOT_RESOLVED).replace("larger than", "\nlarger than")
    if kind == NOT_RESOLVED and finite(effect.get("more_seeds")):
        verdict += f"\nabout {plural(max(1, round(effect['more_seeds'])), 'more seed')}"
    elif kind == NOT_RESOLVED and effect.get("limited_by") == "pictures":
        verdict += "\npictures limit it"
    said = (
        typeset(scale.difference(both(effect))),
        p_words(effect.get("p"), named=False),
        verdict.replace(" \n", "\n"),
    )
    weight = "bold" if kind in (HELPS, HARMS) else "normal"
    for where, text, ink, heavy in zip(_places(), said, (INK, INK, colour), ("normal", "normal", weight), strict=True):
        axes.annotate(text, (1, place), xycoords=("axes fraction", "data"), xytext=(72 * where, 0),
                      textcoords="offset points", va="center", color=colours(ink), fontsize=7.5, fontweight=heavy,
                      linespacing=1.05, annotation_clip=False)  # fmt: skip


def _places() -> tuple[float, float, float]:
    """Inches right of the axes at which the columns begin."""
    return 0.14, 1.46, 2.06


def _heads(axes: Axes, found: Found, colours: Colours) -> None:
    p = "p (adj.)" if found.get("looks") else "p (Holm)" if len(found["arms"]) > 1 else "p"
    for where, text in zip(_places(), (f"{Scale.of(found).unit or 'effect'}, 95 %", p, "verdict"), strict=True):
        axes.annotate(text, (1, 1), xycoords="axes fraction", xytext=(72 * where, 9), textcoords="offset points",
                      va="center", color=colours(MUTED), fontsize=7.5, annotation_clip=False)  # fmt: skip
    for where, text in ((0.0, "harms"), (1.0, "helps")):
        axes.annotate(f"← {text}" if where == 0 else f"{text} →", (where, 1), xycoords="axes fraction", xytext=(0, 9),
                      textcoords="offset points", va="center", ha="left" if where == 0 else "right",
                      color=colours(MUTED), fontsize=7.5, annotation_clip=False)  # fmt: skip


def _legend(drawn: Figure, axes: Axes, found: Found, tall: float, colours: Colours) -> None:
    """What the lines are, in the order of a row: pictures, both, seeds."""
    far = any(
        finite(both(each).value) and not reach(found)[0] <= both(each).value <= reach(found)[1]
        for each in found["arms"]
    )
    parts: list[tuple[str, dict[str, Any]]] = [
        ("dashed: over pictures", {"linestyle": (0, (2, 1.6)), "linewidth": 0.9}),
        ("thick: over both", {"linewidth": 3.2}),
        ("thin, dots: over seeds, each seed", {"linewidth": 0.9, "marker": "o", "markersize": 2.2}),
        ("band: the margin", {"linewidth": 8, "alpha": 0.45, "color": colours(RULE), "solid_capstyle": "butt"}),
    ]
    if far:
        parts.append(("arrowhead at the edge: beyond the axis", {"marker": "<", "linestyle": "", "markersize": 4}))
    for _, look in parts:
        look.setdefault("color", colours(MUTED))
    handles = [Line2D([], [], label=label, **look) for label, look in parts]
    drawn.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.005, 0.0), ncols=len(parts), frameon=False,
                 fontsize=7, handlelength=1.8, columnspacing=1.2, borderaxespad=0.2)  # fmt: skip


def _tick(value: float, scale: Scale) -> str:
    shown = scale.factor * value
    return f"{shown:+g}" if abs(shown) > 1e-9 else "0"
