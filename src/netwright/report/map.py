"""A map of pictures: a page that shows each under the pointer, without a script; or a picture for print.

Colours are Okabe & Ito's (Color Universal Design, 2008), their yellow darkened to be seen on white. Eight colours and
seven signs run side by side, so that 56 classes differ, and neighbours in the legend differ in both.
"""

import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from netwright.report.figures import STYLE as FIGURE_STYLE
from netwright.report.history import ON_WHITE
from netwright.report.html import CONTROL, Html, join, note, section, tag, with_code
from netwright.report.page import document
from netwright.report.words import count, plural, split_name

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800", "#7f7f7f")
SIGNS = ("●", "▲", "■", "◆", "▼", "✚", "★")
MARKERS = ("o", "^", "s", "D", "v", "P", "*")  # the same for matplotlib
SIZES = {"*": 1.9, "^": 1.2, "v": 1.2, "P": 1.3}  # so that all look alike in size
UNLABELLED = "no label"
MOST_CLASSES = 56  # that colours and signs can tell apart
SHOWN, LONGEST = 40, 40  # classes in the legend of a picture, and characters of a name there
NEAR = 0.3  # of the map: what opens there opens inwards
NARROWEST, WIDEST = 0.8, 2.0  # width by height of a map
EDGE = 0.04  # of the map that stays free at each side
STYLE = """
body { max-width: 76rem; }
.map {
  position: relative; aspect-ratio: var(--ratio); max-width: calc(86vh * var(--ratio));
  margin: .6rem 0 1rem; border: 1px solid var(--rule);
}
.point {
  position: absolute; width: 1.1rem; height: 1.1rem; margin: -.55rem; font: .8rem/1.1rem var(--sans);
  text-align: center; cursor: default;
}
.point i, .keys i { font-style: normal; }
.point figure { display: none; }
.point img { display: block; width: 100%; }
.point b, .point small { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.point b { color: var(--ink); font-weight: 600; }
#pictures:checked ~ .map i { display: none; }
#pictures:checked ~ .map figure { display: block; width: 2.4rem; margin: -.65rem; border: 2px solid; }
#pictures:checked ~ .map img { aspect-ratio: 1; object-fit: cover; }
#pictures:checked ~ .map figcaption { display: none; }
.map .point:hover, .map .point:focus { z-index: 9; outline: none; }
.map .point:hover figure, .map .point:focus figure {
  display: block !important; position: absolute; bottom: 1.3rem; left: -3.6rem; width: 8.4rem !important;
  margin: 0 !important; padding: .35rem; text-align: left; background: var(--paper);
  border: 1px solid var(--rule) !important; box-shadow: 0 2px 10px rgb(0 0 0 / .25);
}
.map .low:hover figure, .map .low:focus figure { bottom: auto; top: 1.3rem; }
.map .left:hover figure, .map .left:focus figure { left: 0; }
.map .right:hover figure, .map .right:focus figure { left: auto; right: 0; }
.map .point:hover img, .map .point:focus img { aspect-ratio: auto !important; object-fit: contain !important; }
.map .point:hover figcaption, .map .point:focus figcaption { display: block !important; }
.keys {
  display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: 0 0 1.2rem; padding: 0; list-style: none;
  font: .875rem/1.5 var(--sans);
}
.switch { font: .875rem/1.5 var(--sans); }
"""


@dataclass(frozen=True)
class Point:
    """A picture on the map: where, what it is called, its label and split, and its thumbnail."""

    x: float
    y: float
    name: str
    label: str
    split: str
    thumbnail: str | None


def map_page(points: Sequence[Point], *, title: str, says: Sequence[str]) -> str:
    """The map as a page that needs nothing beside itself and runs no script.

    Args:
        points: the pictures.
        title: its heading.
        says: sentences below the map.
    """
    classes = ordered([point.label for point in points])
    places, ratio = fitted(np.array([[point.x, point.y] for point in points]))
    numbers = {label: number for number, label in enumerate(classes)}
    drawn = [_point(point, numbers[point.label], x, y) for point, (x, y) in zip(points, places.tolist(), strict=True)]
    has_pictures = any(point.thumbnail for point in points)
    switch = (
        tag("input", type="checkbox", id="pictures"),
        tag("label", " pictures instead of signs", for_="pictures", class_="switch"),
    )
    parts = (
        *(switch if has_pictures else ()),
        tag("div", *drawn, class_="map", style=f"--ratio:{ratio:.3f}", role="group", aria_label=title),
        _keys(classes, [point.label for point in points]),
        *(note(with_code(each)) for each in says),
        note("Point at a sign, or reach it with the Tab key, to see its picture.") if has_pictures else None,
    )
    top = tag("header", tag("h1", tag("bdi", title)))
    main = tag("main", section("map", "Map", *parts))
    return document(title, tag("style", Html(STYLE)), top, main, tag("footer", "Written by netwright map."))


def map_picture(
    ending: str, points: NDArray[np.float64], labels: Sequence[str], *, title: str, says: Sequence[str]
) -> bytes:
    """The map as a picture on white, .png or .svg, with its legend and what it says of itself.

    Args:
        ending: ".png" or ".svg".
        points: N 2.
        labels: N.
        title: its heading.
        says: sentences below the map.
    """
    style: dict[Any, Any] = {name: ON_WHITE.get(value, value) for name, value in FIGURE_STYLE.items()}
    stream = io.BytesIO()
    with rc_context({**style, "svg.hashsalt": "map"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a class name in a script that the font lacks
        figure = _drawn(points, labels, title, says)
        if ending == ".png":
            FigureCanvasAgg(figure).print_png(stream)
        else:
            nothing: dict[str, Any] = {"Date": None}
            FigureCanvasSVG(figure).print_svg(stream, metadata=nothing)
    return stream.getvalue()


def ordered(labels: Sequence[str]) -> list[str]:
    """The different labels by their alphabet, no label last."""
    return sorted(set(labels), key=lambda label: (not label, label))


def fitted(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Points as shares of the map's width and height, from its upper left corner, N 2; and its width by its height.

    Both axes have one scale, and a map that would be very wide or high is widened by free space.
    """
    low, high = points.min(0), points.max(0)
    width, height = (high - low).tolist()
    most = max(width, height) or 1.0
    width, height = max(width, NARROWEST * height, most * 1e-9), max(height, width / WIDEST, most * 1e-9)
    shares = 0.5 + (points - (low + high) / 2) / (width, height)
    shares[:, 1] = 1 - shares[:, 1]
    return EDGE + (1 - 2 * EDGE) * shares, width / height


def _point(point: Point, number: int, x: float, y: float) -> Html:
    place = f"left:{100 * x:.2f}%;top:{100 * y:.2f}%;color:{_colour(number, point.label)}"
    side = tag("small", split_name(point.split)) if point.split else None
    words = (tag("b", tag("bdi", point.label or UNLABELLED)), side, tag("small", tag("bdi", point.name)))
    image = tag("img", src=point.thumbnail, alt="", loading="lazy") if point.thumbnail else None
    figure = tag("figure", image, tag("figcaption", *words))
    near = {"low": y < NEAR, "left": x < NEAR / 2, "right": x > 1 - NEAR / 2}
    kinds = " ".join(["point", *(name for name, is_ in near.items() if is_)])
    return tag("div", tag("i", _sign(number, point.label)), figure, class_=kinds, style=place, tabindex="0")


def _keys(classes: Sequence[str], labels: Sequence[str]) -> Html:
    counts = dict.fromkeys(classes, 0)
    for label in labels:
        counts[label] += 1
    keys = (
        tag(
            "li",
            tag("i", _sign(number, label), style=f"color:{_colour(number, label)}"),
            " ",
            tag("bdi", label or UNLABELLED),
            tag("span", f" {count(counts[label])}", class_="range"),
        )
        for number, label in enumerate(classes)
    )
    more = note(_too_many(len(classes))) if len(classes) > MOST_CLASSES else None
    return join(tag("ul", *keys, class_="keys"), more)


def _colour(number: int, label: str) -> str:
    return COLOURS[number % len(COLOURS)] if label else COLOURS[-1]


def _sign(number: int, label: str) -> str:
    return SIGNS[number % len(SIGNS)] if label else "·"


def _too_many(classes: int) -> str:
    return f"{plural(classes, 'class', 'classes')} share {MOST_CLASSES} signs: point at one to see which it is."


def _drawn(points: NDArray[np.float64], labels: Sequence[str], title: str, says: Sequence[str]) -> Figure:
    figure = Figure(figsize=(8, 6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    classes = ordered(labels)
    given = np.array(labels, object)
    size = float(np.clip(9000 / len(points), 4, 30))
    for number, label in enumerate(classes):
        chosen = points[given == label]
        marker = MARKERS[number % len(MARKERS)] if label else "."
        colour, area = _colour(number, label), size * SIZES.get(marker, 1)
        name = _short(label or UNLABELLED)
        x, y = chosen.T
        axes.scatter(x, y, area, color=colour, marker=marker, linewidths=0, alpha=0.85, label=name)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.set_title(_short(title, 90), fontsize=10, loc="left", parse_math=False)
    handles, names = axes.get_legend_handles_labels()
    legend = axes.legend(
        handles[:SHOWN], names[:SHOWN], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8,
        title=f"{SHOWN} of {len(classes)} classes" if len(classes) > SHOWN else None,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)  # a class may have a dollar in its name
    words = "\n".join(line for each in says for line in textwrap.wrap(each.replace("`", ""), 118))
    figure.supxlabel(words, fontsize=7, x=0.02, ha="left", color=ON_WHITE["#020202"], parse_math=False)
    return figure


def _short(name: str, most: int = LONGEST) -> str:
    clean = CONTROL.sub("\N{REPLACEMENT CHARACTER}", name).encode("utf-8", "replace").decode()
    # Matplotlib leaves names that begin so out of a legend.
    clean = f"\N{ZERO WIDTH SPACE}{clean}" if clean.startswith("_") else clean
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"
