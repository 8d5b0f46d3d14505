"""What a factorial ablation shows beside its effects: half-normal plot (Daniel 1959), interactions, two-way tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from netwright.report.ablation_terms import Scale, finite, interval_of
from netwright.report.drawn import Colours, as_png, labels, on_page, plain, shortened, typeset
from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND
from netwright.report.html import Html, note, tag
from netwright.report.tables import table
from netwright.report.words import UNKNOWN, metric_name, plural

Found = Mapping[str, Any]
TWO_WAY = "Two tricks at a time: means over all runs with that setting"
LETTERS = "ABCDEFGHJKL"  # of factors in generators; I is the identity
SHOWN = 6  # pairs that are drawn, those whose effects add up least first
NAMED = 4  # effects that are named in the half-normal plot even where all are within the margin of error
APART = 0.05  # of the height: two names nearer than that would lie on each other


def half_normal_figure(found: Found) -> Html:
    """The half-normal plot as a part of the page."""
    says = "Half-normal plot: sizes of effects against the quantiles that noise alone would give"
    return on_page(lambda colours: _half_normal(found, colours), "half-normal", says, least=40)


def half_normal_picture(found: Found) -> bytes:
    """The same as PNG, on white."""
    return as_png(lambda colours: _half_normal(found, colours))


def interactions_figure(found: Found) -> Html:
    """Interaction plots as a part of the page."""
    says = "Interaction plots: the metric with one trick off and on, a line without and with the other"
    return on_page(lambda colours: _interactions(found, colours), "interactions", says, least=40)


def interactions_picture(found: Found) -> bytes:
    """The same as PNG, on white."""
    return as_png(lambda colours: _interactions(found, colours))


def interaction(pair: Found) -> float:
    """By how much two tricks together differ from the sum of their own effects, halved as in a factorial design."""
    (neither, second), (first, together) = means(pair)
    return (together - first - second + neither) / 2


def means(pair: Found) -> list[list[float]]:
    """The 2 x 2 means: rows without and with the first trick, columns the second; NaN where not known."""
    return [[_mean(cell) for cell in row] for row in pair["means"]]


def pairs(found: Found) -> list[Found]:
    """The two-way tables, the strongest interaction first."""

    def strength(pair: Found) -> float:
        size = abs(interaction(pair))
        return size if finite(size) else -1.0

    return sorted(found["factorial"].get("two_way") or [], key=strength, reverse=True)


def two_way_rows(found: Found) -> list[list[str]]:
    """Each pair's two-way table in a row: means without and with either trick, heads first."""
    scale = Scale.of(found)
    unit = scale.sign

    def cell(value: float) -> str:
        return f"{scale.number(value)}{unit}" if finite(value) else UNKNOWN

    rows: list[list[str]] = []
    for pair in pairs(found):
        (neither, second), (first, together) = means(pair)
        named = " and ".join(map(str, pair["factors"]))
        rows.append([named, *map(cell, (neither, first, second, together)), scale.number(interaction(pair), sign=True)])
    return [["two tricks", "neither", "first alone", "second alone", "both", "interaction"], *rows]


def design_words(found: Found) -> str:
    """The design in a sentence, with its price."""
    design = found["factorial"].get("design") or {}
    factors, generators = design.get("factors") or [], design.get("generators") or []
    said = f"{plural(design.get('runs') or 0, 'combination')} of {plural(len(factors), 'trick')}: {', '.join(factors)}."
    if generators:
        letters = ", ".join(f"{letter} {name}" for letter, name in zip(LETTERS, factors, strict=False))
        roman = {3: "III", 4: "IV", 5: "V"}.get(design.get("resolution") or 0, design.get("resolution"))
        said += (
            f" Not all combinations were run ({', '.join(map(str, generators))}, with {letters}; resolution {roman})"
        )
        said += ", so that some effects cannot be told from others: each is listed with those that it goes by."
    return said


def alias_rows(found: Found) -> list[list[str]]:
    """Effects that cannot be told from others, heads first."""
    rows = [[each["name"], ", ".join(map(str, each["aliases"]))] for each in found["arms"] if each.get("aliases")]
    return [["effect", "cannot be told from"], *rows]


def section_parts(found: Found) -> list[Html]:
    """All of it for the page."""
    aliases = alias_rows(found)
    listed = [table(aliases[0], aliases[1:], caption="Aliases", class_="dense")] if aliases[1:] else []
    parts = [tag("p", design_words(found)), *listed]
    if found["factorial"].get("half_normal"):
        says = (
            "If there were noise alone, the points would lie on a line through zero. What lies above the dashed line "
            "(Lenth's margin of error; filled) stands out."
        )
        parts += [half_normal_figure(found), note(says)]
    if pairs(found):
        says = (
            "Parallel lines: the effects add up. The strongest interactions first; means over all runs with that "
            "setting. Whether one is more than noise, the forest plot says."
        )
        heads, *rows = two_way_rows(found)
        drawn = table([heads[0], *(f"{head}#" for head in heads[1:])], rows, caption=TWO_WAY, class_="dense")
        parts += [interactions_figure(found), note(says), drawn]
    return parts


def _mean(cell: Any) -> float:
    value = interval_of(cell).value if isinstance(cell, Mapping) else cell
    return float(value) if finite(value) else float("nan")


def _half_normal(found: Found, colours: Colours) -> Figure:
    scale = Scale.of(found)
    listed = [each for each in found["factorial"]["half_normal"] if finite(each["effect"]) and finite(each["quantile"])]
    limit = found["factorial"].get("margin_of_error")
    drawn = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = drawn.add_subplot()
    plain(axes, colours(RULE), grid="y")
    for each in listed:
        mark, colour = (">", FIRST) if each["effect"] > 0 else ("<", SECOND)
        out = finite(limit) and abs(each["effect"]) > limit
        face = colours(colour if out else RULE)
        axes.plot(
            [each["quantile"]], [abs(each["effect"])], mark, color=colours(colour), markerfacecolor=face, markersize=6
        )
    if finite(limit):
        axes.axhline(limit, color=colours(MUTED), linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate("margin of error", (1, limit), xycoords=("axes fraction", "data"), xytext=(0, 3), ha="right",
                      textcoords="offset points", fontsize=7, color=colours(MUTED))  # fmt: skip
    top = max([abs(each["effect"]) for each in listed] + ([limit] if finite(limit) else []), default=0.01)
    far = max((each["quantile"] for each in listed), default=1.0)
    axes.set(xlim=(0, 1.45 * far), ylim=(0, 1.1 * (top or 0.01)), xlabel="half-normal quantile")
    axes.set_ylabel(f"size of the effect{f', {scale.unit}' if scale.unit else ''}")
    axes.yaxis.set_major_formatter(labels(lambda value: f"{scale.factor * value:g}"))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    _names(axes, listed, limit, colours)
    signs = ((">", FIRST, "above zero"), ("<", SECOND, "below zero"))
    keys = [axes.plot([], [], mark, color=colours(colour), markersize=5, label=said)[0] for mark, colour, said in signs]
    axes.legend(handles=keys, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=7)
    return drawn


def _names(axes: Axes, listed: Sequence[Found], limit: Any, colours: Colours) -> None:
    """Names right of the largest, moved up where one would lie on another."""
    high = axes.get_ylim()[1]
    ordered = sorted(listed, key=lambda each: abs(each["effect"]))
    named = {each["name"] for each in ordered[-NAMED:]}
    named |= {each["name"] for each in ordered if finite(limit) and abs(each["effect"]) > limit}
    where = axes.get_xlim()[1] / 1.45 * 1.06
    taken = -high
    for each in ordered:
        if each["name"] in named:
            taken = max(abs(each["effect"]), taken + APART * high)
            line = {
                "arrowstyle": "-",
                "color": colours(MUTED),
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            }
            axes.annotate(shortened(each["name"], 30), (each["quantile"], abs(each["effect"])), xytext=(where, taken),
                          va="center", fontsize=7.5, color=colours(INK), arrowprops=line)  # fmt: skip


def _interactions(found: Found, colours: Colours) -> Figure:
    shown = pairs(found)[:SHOWN]
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    drawn = Figure(figsize=(2.8 * across if across > 1 else 3.6, 2.5 * down), layout="constrained")
    panels = drawn.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, pair in zip(panels, shown, strict=False):
        _panel(axes, pair, found, colours)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    panels[0].margins(y=0.15)
    for axes in panels[::across]:
        axes.set_ylabel(metric_name(found.get("metric", "accuracy")))
    return drawn


def _panel(axes: Axes, pair: Found, found: Found, colours: Colours) -> None:
    first, second = (shortened(str(name), 18) for name in pair["factors"])
    scale, cells = Scale.of(found), means(pair)
    plain(axes, colours(RULE), grid="y")
    for place, (said, colour, dash, mark) in enumerate(
        (("without", MUTED, (0, (3, 2)), "o"), ("with", FIRST, "-", "s"))
    ):
        values = [cells[0][place], cells[1][place]]
        axes.plot([0, 1], values, color=colours(colour), linestyle=dash, marker=mark, markersize=4,
                  label=f"{said} {second}")  # fmt: skip
    axes.set(xlim=(-0.25, 1.25), xticks=[0, 1], xticklabels=[f"without\n{first}", f"with\n{first}"])
    axes.tick_params(axis="x", labelsize=7)
    together = typeset(scale.number(interaction(pair), sign=True))
    axes.set_title(f"interaction {together}{f' {scale.unit}' if scale.unit else ''}", fontsize=8, color=colours(INK))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
    axes.yaxis.set_major_formatter(labels(lambda value: f"{scale.factor * value:g}{scale.sign}"))
    axes.legend(loc="best", fontsize=6.5, frameon=False, handlelength=1.8)
