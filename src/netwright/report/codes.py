"""The sections on codes of pictures: which dimensions are used, where pictures lie, and what codes turn into."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from netwright.report.figures import FIRST, MUTED, RULE, SECOND, figure_style, svg_of
from netwright.report.html import Html, join, note, section, tag
from netwright.report.pictures import data_uri
from netwright.report.reading import Reading
from netwright.report.tables import facts
from netwright.report.words import count, number, percent, plural, split_name

ACTIVE = 0.01  # nats from which on a dimension counts as used
LEAST = 1e-4  # nats: bars of less are not drawn
MOST = 128  # dimensions in a figure
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800", "#8f8f8f")  # Okabe & Ito
SIDE, EDGE, TILE = 1000.0, 45.0, 44.0  # of the map: its longer side, free at its sides, and a thumbnail
FLATTEST = 0.45  # of its width, that a map is high at least
# Of these sections; the page has it once, with that of the first (see `reconstruction`).
STYLE = """
.codes { display: block; width: 100%; height: auto; border: 1px solid var(--rule); margin: .4rem 0 .8rem; }
.codes image { image-rendering: pixelated; }
.codes circle.ring { fill: none; stroke: var(--muted); stroke-width: 1.2; stroke-dasharray: 3 6; }
.codes rect.frame { fill: var(--paper); stroke: var(--muted); stroke-width: 3; }
.codes-keys { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; max-width: none; font: .875rem/1.5 var(--sans); }
.codes-keys i {
  display: inline-block; width: .8em; height: .8em; margin-right: .4em; border: 2.5px solid; border-radius: 50%;
}
.walk {
  display: grid; grid-template-columns: 9rem minmax(0, 1fr); gap: .35rem 1rem; align-items: center; max-width: 52rem;
}
.walk p { margin: 0; font: .8125rem/1.35 var(--sans); }
.walk p span { color: var(--muted); }
.walk img, .drawn-pictures { display: block; width: 100%; height: auto; image-rendering: pixelated; }
.walk img.start { width: 9%; }
@media (max-width: 40rem) { .walk { grid-template-columns: 1fr; } }
"""

Floats = NDArray[np.float64]


def codes(reading: Reading) -> Html | None:
    """Which dimensions of the code are used, and how far codes are from the prior."""
    rows: Mapping[str, Any] = reading.reconstruction.get("codes") or {}
    if not rows:
        return None
    random = "divergence" in rows
    told: Mapping[str, Any] = reading.at("result", "latent", reading.split) or {}
    warned = tag("p", _sentence(str(told["alarm"])), class_="state") if told.get("alarm") else None
    says, counts = note(_used(rows) if random else _plain(rows, told)), _counts(rows, told)
    if random:
        panels = (tag("figure", panel) for panel in (_divergences(rows), _standing(rows)))
        shown = join(says, counts, tag("div", *panels, class_="panels"))
    else:
        shown = tag("div", tag("figure", _deviations(rows)), tag("div", says, counts), class_="beside")
    return section("codes", "Codes", warned, shown)


def code_map(reading: Reading) -> Html | None:
    """Where the codes of pictures lie, with thumbnails."""
    found: Mapping[str, Any] = reading.reconstruction.get("map") or {}
    points = np.asarray(found.get("points") or np.zeros((0, 2)), np.float64)
    if len(points) < 2 or points.ndim != 2:
        return None
    shares = found.get("explained")
    two = int(reading.reconstruction.get("latent") or 0) == 2
    where = "The two numbers of the code." if not shares else _components(shares)
    rings = two and bool(reading.reconstruction.get("random"))
    if rings:
        where += " The rings are 1, 2 and 3 standard deviations of the prior, from which new codes are drawn."
    split = split_name(reading.split)
    words = f"Mean codes of {plural(len(points), 'image')} of the {split} split; pictures stand where there is room. "
    drawn = _map(reading, points, found, rings=rings)
    keys = _keys(found) if found.get("labels") else None
    return section("map", "Map of codes", note(words, where), drawn, keys)


def new_pictures(reading: Reading) -> Html | None:
    """Pictures that never were."""
    found: Mapping[str, Any] = reading.reconstruction.get("samples") or {}
    source = data_uri(reading.folder.samples, str(found.get("file", ""))) if found else None
    if source is None:
        return None
    if found.get("prior"):
        words = "Codes drawn from the prior, N(0, I), and decoded: what the network takes pictures of this data to be."
    else:
        words = (
            "Codes of this network are not random, and it has no prior. These were drawn from the normal distribution "
            "that has mean and covariance of the codes of training pictures; where true codes are not spread so, what "
            "is made of them is no picture. A vae learns codes to draw from."
        )
    names = [str(name) for name in found.get("classes") or []]
    given = note("Columns, from the left, are asked for as: ", tag("bdi", ", ".join(names)), ".") if names else None
    picture = tag("img", src=source, alt="Pictures made of codes that were drawn", class_="drawn-pictures")
    return section("samples", "New pictures", note(words), given, picture)


def traversals(reading: Reading) -> Html | None:
    """What the most used dimensions do, one at a time."""
    found: Mapping[str, Any] = reading.reconstruction.get("traversals") or {}
    rows = [row for row in found.get("rows") or [] if isinstance(row, dict)]
    shown = [part for row in rows for part in _walk(reading, row)]
    if not shown:
        return None
    start = data_uri(reading.folder.samples, str(found.get("start", "")))
    if start is not None:
        shown = [tag("p", "from the code of"), tag("img", src=start, alt="the picture", class_="start"), *shown]
    reach = number(found.get("reach"))
    words = (
        f"One number of the code changed from −{reach} to {reach} of the standard deviations that it has over training "
        "pictures, around its mean there; the others left as they are in the code of ",
        tag("bdi", str(found.get("name", "?"))),
        "; the most used first. Nothing makes single numbers mean single things; where they do, it is luck or a trick.",
    )
    return section("traversals", "Traversals", note(*words), tag("div", *shown, class_="walk"))


def _divergences(rows: Mapping[str, Any]) -> Html:
    """Bars of the divergence of each dimension, the most used first, and the line from which on it counts as used."""
    values = np.sort(_floats(rows.get("divergence")))[::-1][:MOST]
    active = int((values > ACTIVE).sum())
    says = f"Divergence of {len(values)} dimensions, from {values[0]:.3g} to {values[-1]:.3g} nats; {active} are used"
    with rc_context(figure_style("divergence")):
        figure = Figure(figsize=(3.6, 2.4), layout="constrained")
        axes = figure.add_subplot()
        colours = [FIRST if value > ACTIVE else MUTED for value in values]
        axes.bar(range(1, len(values) + 1), np.maximum(values, LEAST), 0.8, bottom=None, color=colours)
        axes.axhline(ACTIVE, color=SECOND, linewidth=1, linestyle=(0, (3, 3)))
        axes.set_yscale("log")
        axes.set_ylim(LEAST, max(1.0, 2 * float(values[0])))
        axes.set(xlabel="dimensions, the most used first", ylabel="nats")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        return svg_of(figure, "divergence", says)


def _standing(rows: Mapping[str, Any]) -> Html:
    """Mean and spread of drawn codes in each dimension, beside the prior's."""
    order = np.argsort(-_floats(rows.get("divergence")), kind="stable")[:MOST]
    mean, spread = (_floats(rows.get(name))[order] for name in ("mean", "spread"))
    says = f"Means of drawn codes from {mean.min():.2f} to {mean.max():.2f}, spreads {spread.min():.2f} to "
    with rc_context(figure_style("standing")):
        figure = Figure(figsize=(3.6, 2.4), layout="constrained")
        axes = figure.add_subplot()
        for level in (0, 1):
            axes.axhline(level, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        places, size = range(1, len(order) + 1), 4 if len(order) <= 40 else 2.5
        axes.plot(places, spread, color=FIRST, marker="o", markersize=size, linewidth=0)
        axes.plot(places, mean, color=SECOND, marker="s", markersize=size, linewidth=0)
        axes.set(xlabel="dimensions, the most used first", ylabel="of drawn codes")
        axes.set_ylim(min(-0.5, 1.1 * float(mean.min())), max(1.5, 1.1 * float(spread.max())))
        axes.text(1, 1.02, "spread", color=FIRST, ha="right", va="bottom", transform=axes.transAxes)
        axes.text(0.8, 1.02, "mean", color=SECOND, ha="right", va="bottom", transform=axes.transAxes)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        return svg_of(figure, "standing", f"{says}{spread.max():.2f}; the prior has 0 and 1")


def _deviations(rows: Mapping[str, Any]) -> Html:
    """How much each number of a code changes from picture to picture."""
    values = np.sort(_floats(rows.get("deviation")))[::-1][:MOST]
    says = f"Standard deviations of {len(values)} numbers, from {values[0]:.3g} to {values[-1]:.3g}"
    with rc_context(figure_style("deviation")):
        figure = Figure(figsize=(3.6, 2.4), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(1, len(values) + 1), values, 0.8, color=FIRST)
        axes.set(xlabel="numbers of the code, the largest first", ylabel="standard deviation")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        return svg_of(figure, "deviation", says)


def _counts(rows: Mapping[str, Any], told: Mapping[str, Any]) -> Html:
    random = "divergence" in rows
    total = float(rows.get("rate", _floats(rows.get("divergence")).sum())) if random else math.nan
    dimensions = int(rows.get("dimensions", len(_floats(rows.get("mean")))))
    pairs: dict[str, object] = {
        "dimensions": count(dimensions),
        "used, above 0.01 nats": count(_active(rows)) if random else None,
        "dead": count(int(told["dead"])) if isinstance(told.get("dead"), int) else None,
        "all together": f"{total:.2f} nats" if random else None,
        "all codes together from the prior": f"{rows['aggregated']:.2f} nats" if "aggregated" in rows else None,
    }
    return facts(pairs)


def _used(rows: Mapping[str, Any]) -> str:
    """What the figures mean, for random codes."""
    used = _active(rows)
    return (
        f"{plural(used, 'dimension')} of the code {'says' if used == 1 else 'say'} something of a picture: more than "
        "0.01 nats of KL(q(z | x) ‖ N(0, 1)), the dashed line, and not the same of every one. On the right drawn codes "
        "of all pictures beside the prior, whose mean is 0 and spread 1. The farther all codes together are from it "
        "(as a normal distribution), the less do codes drawn from the prior look like those of pictures."
    )


def _active(rows: Mapping[str, Any]) -> int:
    """Dimensions that say something; where nobody counted them, as in early runs, by their divergence alone."""
    return int(rows.get("active", (_floats(rows.get("divergence")) > ACTIVE).sum()))


def _plain(rows: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    used = told.get("used")
    sparse = isinstance(used, list) and bool(used) and float(np.mean(used)) < 0.99
    share = f" In the mean {percent(float(np.mean(used)))} of them are not zero." if sparse and used else ""
    return (
        "How much each number of the code changes from picture to picture. Codes are not random: they have no prior, "
        f"and there is no price of using them.{share}"
    )


def _components(shares: Sequence[float]) -> str:
    together = sum(float(share) for share in shares)
    return f"The first two principal components of the codes, {percent(together)} of their variance."


def _map(reading: Reading, points: Floats, found: Mapping[str, Any], *, rings: bool) -> Html:
    low, high = points.min(0), points.max(0)
    scale = (SIDE - 2 * EDGE) / max(float((high - low).max()), 1e-12)
    width, height = (max(float(extent) * scale + 2 * EDGE, FLATTEST * SIDE) for extent in high - low)
    places = (width / 2, height / 2) + (points - (low + high) / 2) * (scale, -scale)
    origin = (width / 2, height / 2) - (low + high) / 2 * (scale, -scale)
    labels = [int(label) for label in found.get("labels") or []]
    circles = [_dot(place, labels[row] if labels else None) for row, place in enumerate(places.tolist())]
    around = [_circle(origin.tolist(), scale * radius) for radius in (1, 2, 3)] if rings else []
    tiles = [
        _tile(source, places[place].tolist(), labels[place] if labels else None)
        for each in found.get("thumbnails") or []
        if 0 <= (place := int(each["place"])) < len(points)
        and (source := data_uri(reading.folder.samples, str(each["file"])))
    ]
    says = f"A map of {len(points)} codes with {len(tiles)} pictures"
    box = f"0 0 {width:.0f} {height:.0f}"
    return tag("svg", *around, *circles, *tiles, viewBox=box, class_="codes", role="img", aria_label=says)


def _dot(place: Sequence[float], label: int | None) -> Html:
    x, y = (f"{value:.1f}" for value in place)
    colour = COLOURS[0] if label is None else _colour(label)
    hollow = label is not None and label >= len(COLOURS)
    fill = "none" if hollow else colour
    return tag("circle", cx=x, cy=y, r="4", fill=fill, stroke=colour, stroke_width="2", opacity="0.6")


def _circle(place: Sequence[float], radius: float) -> Html:
    x, y = (f"{value:.1f}" for value in place)
    return tag("circle", cx=x, cy=y, r=f"{radius:.1f}", class_="ring")


def _tile(source: str, place: Sequence[float], label: int | None) -> Html:
    x, y = (f"{value - TILE / 2:.1f}" for value in place)
    style = (
        f"stroke:{_colour(label)}" + (";stroke-dasharray:5 3" if label >= len(COLOURS) else "")
        if label is not None
        else None
    )
    frame = tag("rect", x=x, y=y, width=TILE, height=TILE, class_="frame", style=style)
    return join(frame, tag("image", href=source, x=x, y=y, width=TILE, height=TILE))


def _keys(found: Mapping[str, Any]) -> Html:
    names = [str(name) for name in found.get("classes") or []]
    keys = (
        tag("span", tag("i", style=f"border-color:{_colour(k)}" + _fill(k)), tag("bdi", name))
        for k, name in enumerate(names)
    )
    return tag("p", *keys, class_="codes-keys")


def _fill(label: int) -> str:
    return "" if label >= len(COLOURS) else f";background:{_colour(label)}"


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]


def _walk(reading: Reading, row: Mapping[str, Any]) -> list[Html]:
    source = data_uri(reading.folder.samples, str(row.get("file", "")))
    if source is None:
        return []
    unit = "nats" if reading.reconstruction.get("random") else "deviation"
    used = row.get("used")
    words = f"{used:.2f} nats" if unit == "nats" and isinstance(used, float) else f"{unit} {number(used, 3)}"
    name = f"dimension {row.get('dimension')}"
    return [tag("p", name, " ", tag("span", words)), tag("img", src=source, alt=f"{name} changed: {words}")]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _floats(values: object) -> Floats:
    return np.asarray(values if isinstance(values, list) else [], np.float64)
