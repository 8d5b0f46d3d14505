"""Anomalies as a page: how well they are told, the scores, and pictures with what could not be given back of them."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from netwright.records.intervals import Interval
from netwright.report.drawn import Colours, as_png, on_page, plain, shortened
from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.tables import facts, long_table, table
from netwright.report.words import count, number, percent, plural

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
MAP = "inferno"
TITLES = {
    "worst": ("Oddest", "The highest scores, the highest first."),
    "missed": ("Missed", "Pictures of other classes that are not flagged, the lowest score first."),
    "alarms": ("False alarms", "Normal pictures that are flagged, the highest score first."),
    "ordinary": ("Ordinary", "From high to low, evenly spread: what a normal picture looks like on the same scale."),
}
LARGEST = 224  # pixels of a picture on the page
WIDE = 40  # bins
LOGARITHMIC = 20  # times that the largest score is the smallest
ACROSS = 4  # triples in a row of the sheet
STYLE = """
.odd { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: 1.3rem 1.4rem; }
.odd .three { display: grid; grid-template-columns: repeat(3, 1fr); gap: 3px; }
.odd img { display: block; width: 100%; height: auto; background: var(--raised); image-rendering: pixelated; }
.odd b, .odd small { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.odd b { margin-top: .3rem; color: var(--ink); font-weight: 400; }
.odd .flagged b { color: var(--second); }
.heat-scale { display: flex; align-items: center; gap: .6rem; margin: 0 0 1.4rem; color: var(--muted); }
.heat-scale { font: .8125rem/1.4 var(--sans); }
.heat-scale img { width: 12rem; height: .7rem; }
h3 { margin: 2rem 0 .3rem; font-size: 1.0625rem; font-weight: 600; }
"""


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture, what the network gave back of it, and the heat map of where these differ: H W 3 each."""

    name: str
    label: str
    score: float
    p: float
    flagged: bool
    picture: Pixels
    made: Pixels
    heat: Pixels


@dataclass(frozen=True, eq=False)
class Histogram:
    """Scores by kind of picture, with the threshold."""

    series: tuple[tuple[str, Floats], ...]
    threshold: float
    score: str


def page(found: Mapping[str, Any], parts: Mapping[str, Sequence[Shown]], top: float, drawn: Histogram) -> str:
    """The whole page.

    Args:
        found: what `anomaly.json` holds.
        parts: pictures by part of the page.
        top: the squared error at which the scale of colours ends.
        drawn: the scores.
    """
    says = f"{found['run']} · {found['pictures']['says']}: {plural(found['pictures']['n'], 'picture')}"
    links = [tag("a", TITLES[part][0], href=f"#{part}") for part in parts]
    header = tag("header", tag("h1", "Anomalies"), note(says), tag("nav", *links))
    main = tag(
        "main",
        _headline(found),
        section("said", "What this allows to say", tag("ul", *(tag("li", each) for each in said(found)))),
        section("scores", "Scores", _figure(drawn), note(f"Score: {found['score']['says']}.")),
        _numbers(found),
        _scale(top),
        *(_part(part, each) for part, each in parts.items()),
        section("threshold", "Threshold", facts(_threshold(found)), _notes(found)),
    )
    return document(
        "Anomalies", tag("style", Html(STYLE)), header, main, tag("footer", "Written by netwright anomaly.")
    )


def said(found: Mapping[str, Any]) -> list[str]:
    """What the numbers allow to say, in sentences."""
    rate, n = Interval.from_json(found["threshold"]["false_alarms"]), found["pictures"]["n"]
    flagged = f"{count(found['flagged'])} of {plural(n, 'picture')} flagged"
    words = [
        f"{flagged}; were all of them normal, {number(float(found['expected_if_normal']), 3)} would be, on average.",
        f"The threshold was set on {plural(rate.n, 'normal picture')}. Such thresholds flag {percent(rate.value)} of "
        f"new normal ones on average; this very one may flag {percent(rate.low)} to {percent(rate.high)} (95 %).",
    ]
    if found["false_alarms"] is not None:
        seen = Interval.from_json(found["false_alarms"])
        words.append(f"Of the {count(seen.n)} scored pictures of normal classes it flagged {seen.percent()}.")
    if found["detected"] is not None:
        seen = Interval.from_json(found["detected"])
        words.append(f"Of the {count(seen.n)} pictures of other classes it found {seen.percent()}.")
    if found["auroc"] is not None:
        precision = Interval.from_json(found["auroc"]["average_precision"])
        chance = found["auroc"]["average_precision"]["by_chance"]
        words.append(f"Average precision {_percent(precision)}; by chance it would be {percent(chance)}.")
    return words


def rows_of_classes(found: Mapping[str, Any]) -> list[list[str]]:
    """The table of classes in words: name, kind, pictures, flagged, AUROC."""
    rows: list[list[str]] = []
    for each in found["by_class"]:
        flagged = Interval.from_json(each["flagged"])
        kind = "–" if each["normal"] is None else "normal" if each["normal"] else "other"
        auroc = "–" if each["auroc"] is None else Interval.from_json(each["auroc"]).percent()
        rows.append([each["class"], kind, count(flagged.n), flagged.percent(), auroc])
    return rows


def histogram_picture(drawn: Histogram) -> bytes:
    """The scores as PNG, on white."""
    return as_png(lambda colours: _histogram(drawn, colours))


def heat_sheet(parts: Mapping[str, Sequence[Shown]], top: float) -> bytes:
    """All pictures with reconstruction and heat map as one PNG, with the scale of colours."""
    lines = [
        ("" if start else TITLES[part][0], each[start : start + ACROSS])
        for part, each in parts.items()
        for start in range(0, len(each), ACROSS)
    ]
    with rc_context({"font.size": 7, "text.color": "#1c2126"}):
        figure = Figure(figsize=(3.0 * ACROSS + 0.8, 1.32 * len(lines) + 0.2), dpi=110, facecolor="white")
        places = figure.subplots(len(lines), ACROSS, squeeze=False)
        figure.subplots_adjust(0.01, 0.01, 1 - 0.75 / (3.0 * ACROSS + 0.8), 1 - 0.3 / (1.32 * len(lines)), 0.06, 0.34)
        for row, (title, line) in zip(places, lines, strict=True):
            for axes in row:
                axes.set_axis_off()
            for axes, each in zip(row, line, strict=False):
                axes.imshow(np.concatenate([_square(part) for part in (each.picture, each.made, each.heat)], 1))
                axes.set_title(_caption(each), fontsize=7, loc="left", pad=2, parse_math=False)
            if title:
                row[0].annotate(title, (0, 1.22), xycoords="axes fraction", fontsize=8, weight="bold")
        width = figure.get_size_inches()[0]
        axes = figure.add_axes((1 - 0.62 / width, 0.1, 0.1 / width, 0.8))
        bar = figure.colorbar(ScalarMappable(Normalize(0, top), MAP), cax=axes, extend="max")
        bar.set_label("squared error of a pixel, smoothed")
        stream = io.BytesIO()
        FigureCanvasAgg(figure).print_png(stream)
    return stream.getvalue()


def _square(picture: Pixels) -> Pixels:
    """With a white line at the right, so that three side by side do not run together."""
    return np.pad(picture, ((0, 0), (0, max(1, picture.shape[1] // 28)), (0, 0)), constant_values=255)


def _caption(each: Shown) -> str:
    label = f"{each.label} · " if each.label else ""
    return f"{shortened(label + each.name, 30)}: {each.score:.4g}, p {each.p:.2g}"


def _headline(found: Mapping[str, Any]) -> Html:
    if found["auroc"] is None:
        says = f"of {plural(found['pictures']['n'], 'picture')} flagged as anomalies"
        return _head("Flagged", count(found["flagged"]), "", says)
    seen = found["auroc"]
    value = Interval.from_json(seen["value"])
    bounds = f" [{100 * value.low:.1f}, {100 * value.high:.1f}]"
    normal, others = (plural(seen[side], "picture") for side in ("normal", "others"))
    says = (
        f"so often scores one of {others} of other classes higher than one of {normal} of normal ones; by chance 50 %"
    )
    return _head("AUROC", percent(value.value), bounds, says)


def _head(kicker: str, value: str, bounds: str, says: str) -> Html:
    shown = tag("p", value, tag("span", bounds, class_="range") if bounds else None, class_="headline")
    return section("headline", "Result", tag("p", kicker, class_="kicker"), shown, tag("p", f"{says}.", class_="lead"))


def _numbers(found: Mapping[str, Any]) -> Html | None:
    if not found["by_class"]:
        return None
    rows = [[tag("bdi", name), *rest] for name, *rest in rows_of_classes(found)]
    heads = ("class", "", "pictures#", "flagged#", "AUROC against normal#")
    tables = [long_table(heads, rows, caption="By class, 95 % intervals for other pictures like these", class_="dense")]
    if found["auroc"] is not None and len(found["auroc"]["by_score"]) > 1:
        compared = [
            [each["score"], each["says"], Interval.from_json(each["auroc"]).percent(), _points(each["ahead"])]
            for each in found["auroc"]["by_score"]
        ]
        caption = "Other scores on the same pictures; picking the best of them here would be too good"
        tables.append(
            table(("score", "", "AUROC#", "against this, points#"), compared, caption=caption, class_="dense")
        )
    return section("numbers", "In numbers", *tables)


def _threshold(found: Mapping[str, Any]) -> dict[str, object]:
    own = found["threshold"]
    return {
        "score": found["score"]["name"],
        "threshold": number(float(own["value"]), 5),
        "false alarms asked for": percent(own["wanted"]),
        "set on": f"{found['normal']['says']}, {plural(own['n'], 'picture')}",
        "its rank among them": count(own["rank"]),
        "normal classes": ", ".join(found["normal"]["classes"]),
    }


def _notes(found: Mapping[str, Any]) -> Html | None:
    return tag("ul", *(tag("li", each) for each in found["notes"]), class_="notes") if found["notes"] else None


def _percent(interval: Interval) -> str:
    return percent(interval.value) if np.isnan(interval.low) else interval.percent()


def _points(fields: Mapping[str, Any] | None) -> str:
    if fields is None:
        return "–"
    seen = Interval.from_json(fields)
    value = f"{100 * seen.value:+.1f}"
    if math.isnan(seen.low):
        return f"{value}, too few pictures differ for an interval"
    return f"{value} [{100 * seen.low:+.1f}, {100 * seen.high:+.1f}]"


def _part(part: str, pictures: Sequence[Shown]) -> Html:
    title, says = TITLES[part]
    return section(part, title, note(says), tag("div", *map(_three, pictures), class_="odd"))


def _three(each: Shown) -> Html:
    what = f"{each.label or 'a picture'}: {each.name}"
    kinds = (("", each.picture), (", as the network gives it back", each.made), (", where these differ", each.heat))
    images = [tag("img", src=_uri(pixels), alt=f"{what}{kind}", loading="lazy") for kind, pixels in kinds]
    words = f"{each.score:.4g}, p = {each.p:.2g}" + (", flagged" if each.flagged else "")
    below = [tag("b", tag("bdi", each.label)) if each.label else None, tag("small", words)]
    caption = tag("figcaption", *below, tag("small", tag("bdi", each.name)), title=each.name)
    return tag("figure", tag("div", *images, class_="three"), caption, class_="flagged" if each.flagged else None)


def _scale(top: float) -> Html:
    """What the colours of heat maps mean."""
    colours = (matplotlib.colormaps[MAP](np.arange(256))[None, :, :3] * 255).round().astype(np.uint8)
    bar = tag("img", src=_uri(colours), alt="from dark to bright")
    words = tag("p", "0", bar, f"{top:.3g} and more: squared error of a pixel, smoothed", class_="heat-scale")
    says = "Each picture, what the network gives back of it, and where these differ. All share one scale of colours."
    return section("heat", "Where", note(says), words)


def _uri(pixels: Pixels) -> str:
    picture, stream = Image.fromarray(pixels), io.BytesIO()
    if max(picture.size) > LARGEST and picture.height > 1:
        picture.thumbnail((LARGEST, LARGEST))
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _figure(drawn: Histogram) -> Html:
    says = f"Histograms of scores of {', '.join(name for name, _ in drawn.series)}, with the threshold"
    return on_page(lambda colours: _histogram(drawn, colours), "scores", says, least=26)


def _histogram(drawn: Histogram, colours: Colours) -> Figure:
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    axes = figure.add_subplot()
    values = np.concatenate([each for _, each in drawn.series])
    low, high = float(values.min()), float(values.max())
    stretched = low > 0 and high > LOGARITHMIC * low
    high = high if high > low else low + max(abs(low), 1.0) * 1e-3
    edges = np.geomspace(low, high, WIDE + 1) if stretched else np.linspace(low, high, WIDE + 1)
    looks = {"others": SECOND, "scored": SECOND, "normal, scored": FIRST, "normal, held out": MUTED}
    for name, each in drawn.series:
        share = np.histogram(each, edges)[0] / max(1, len(each))
        filled = name != "normal, held out"
        label = f"{name} ({count(len(each))})"
        axes.stairs(share, edges, color=colours(looks[name]), fill=filled, alpha=0.55 if filled else 1.0, label=label)
    axes.axvline(drawn.threshold, color=colours(INK), linewidth=1, linestyle=(0, (3, 2)), label="threshold")
    if stretched:
        axes.set_xscale("log")
    plain(axes, colours(RULE), grid="y")
    axes.set(xlabel=f"score: {drawn.score}", ylabel="share of pictures")
    axes.legend(frameon=False, loc="upper right")
    return figure
