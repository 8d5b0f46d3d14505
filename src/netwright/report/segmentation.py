"""The sections on masks: how well each class is found, where errors lie, and pictures of both."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from netwright.records.intervals import Interval
from netwright.report.figures import FIRST, RULE, figure_style, percent_label, svg_of
from netwright.report.html import Html, join, note, section, tag
from netwright.report.pictures import data_uri
from netwright.report.reading import Reading
from netwright.report.tables import confusion_table, facts, long_table
from netwright.report.words import UNKNOWN, count, measured, number, percent, split_name

COLUMNS = ("iou", "dice", "precision", "recall", "boundary_f1")
HEADS = ("IoU#", "Dice#", "precision#", "recall#", "boundary F1#")
VIEWS = {"picture": "picture", "truth": "truth", "found": "found", "errors": "where they differ"}
NOTHING = "There are no masks to look at yet: they are measured when a run ends."
MOST_CLASSES = 20


def mask_classes(reading: Reading) -> Html:
    """How well each class is found, over all pixels of the split."""
    found, title = reading.segmentation, "Classes"
    if not found:
        return section("classes", title, note(NOTHING))
    says = (
        f"Over all pixels of the {split_name(str(found.get('split', '')))} images together; the intervals come from "
        "drawing whole images anew. IoU: pixels that are rightly given a class, of all that have it or were given it. "
        "Boundary F1: how much of the outlines agrees, within a small tolerance."
    )
    rows = [_class_row(row) for row in found.get("per_class", [])]
    mean = found.get("mean", {})
    rows.append([tag("strong", "mean"), "", "", *(_cell(name, mean.get(name)) for name in COLUMNS)])
    heads = ("class", "pixels#", "images#", *HEADS)
    body = long_table(heads, rows, caption="By class, 95 % intervals")
    return section("classes", title, note(says), body, _otsu(found), _things(found))


def confused_pixels(reading: Reading) -> Html | None:
    """Which class is taken for which, pixel by pixel."""
    names = [str(row.get("name", "")) for row in reading.segmentation.get("per_class", [])]
    counts = np.asarray(reading.segmentation.get("confusion") or np.zeros((0, 0)), np.int64)
    if len(names) < 3 or len(names) > MOST_CLASSES or counts.shape != (len(names), len(names)):
        return None
    return section("confusion", "Confusion", note("Counts of pixels."), confusion_table(counts, names))


def outlines(reading: Reading) -> Html:
    """How often pixels are wrong, by their distance from a true outline."""
    found: Mapping[str, Any] = reading.segmentation.get("boundary") or {}
    errors = [Interval.from_json(each) for each in found.get("error", [])]
    title = "Errors by distance from an outline"
    if not any(math.isfinite(each.value) for each in errors):
        return section("outlines", title, note(NOTHING if not reading.segmentation else "No outline was there."))
    names = bins(found["edges"])
    shares = [float(share) for share in found.get("share", [])]
    parts = (f"{name} px: {percent(each.value)}" for name, each in zip(names, errors, strict=True) if _known(each))
    picture = error_bars("outlines", names, errors, says="; ".join(parts))
    near = [share * each.value for share, each in zip(shares, errors, strict=True) if _known(each)]
    within = (
        f"{percent(near[0] / sum(near))} of all wrong pixels lie within {names[0].split('–')[-1]} px of an outline."
    )
    words = (
        "Wrong pixels beside an outline are a matter of where exactly it runs, on which people differ too. Those far "
        "from any outline are things that were missed or invented."
    )
    text = tag("div", tag("p", within if sum(near) else "No pixel was wrong."), note(words))
    return section("outlines", title, tag("div", tag("figure", picture), text, class_="beside"))


def shown_masks(reading: Reading) -> Html:
    """The worst pictures, and some others, with truth, answer and difference."""
    rows = [row for row in reading.segmentation.get("shown", []) if isinstance(row, dict)]
    if not rows:
        return section("masks", "Masks", note(NOTHING))
    worst, others = [row for row in rows if row.get("worst")], [row for row in rows if not row.get("worst")]
    says = "The lowest first. Look for wrong masks first: they often gather here."
    parts = [note(says), *(_strip(reading, row) for row in worst)]
    if others:
        parts += [
            tag("h3", "For comparison"),
            note("From the middle to the best."),
            *(_strip(reading, r) for r in others),
        ]
    return section("masks", "Worst images", _legend(reading), *parts)


def error_bars(name: str, names: Sequence[str], errors: Sequence[Interval], *, says: str) -> Html:
    """Shares with their intervals, one a bin."""
    with rc_context(figure_style(name)):
        figure = Figure(figsize=(3.8, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for place, each in enumerate(errors):
            if _known(each):
                low, high = (part if math.isfinite(part) else each.value for part in (each.low, each.high))
                axes.vlines([place], [low], [high], color=FIRST, alpha=0.5)
                axes.plot([place], [each.value], color=FIRST, marker="o", markersize=4)
        axes.set_xticks(range(len(names)), list(names))
        axes.set(xlabel="pixels from the nearest true outline", ylabel="wrong", xlim=(-0.5, len(names) - 0.5))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(percent_label))
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        return svg_of(figure, name, says)


def bins(edges: Sequence[float | None]) -> list[str]:
    """0, 1, 2, 4, None -> `0–1`, `1–2`, `2–4`, `over 4`; the end may also be left out."""
    finite = [edge for edge in edges if edge is not None and math.isfinite(edge)]
    names = [f"{low:g}–{high:g}" for low, high in pairwise(finite)]
    return names if len(finite) == len(edges) else [*names, f"over {finite[-1]:g}"]


def _class_row(row: Mapping[str, Any]) -> list[object]:
    share, images = row.get("pixels"), row.get("pictures")
    cells = [_cell(name, row.get(name)) for name in COLUMNS]
    return [
        tag("bdi", str(row.get("name", "?"))),
        percent(share) if isinstance(share, float | int) else UNKNOWN,
        count(images) if isinstance(images, int) else UNKNOWN,
        *cells,
    ]


def _cell(name: str, fields: object) -> object:
    return measured(name, Interval.from_json(fields)) if isinstance(fields, dict) else UNKNOWN


def _known(interval: Interval) -> bool:
    return math.isfinite(interval.value)


def _otsu(found: Mapping[str, Any]) -> Html | None:
    otsu = found.get("otsu")
    if not isinstance(otsu, dict):
        return None
    says = "What a threshold on grey values alone reaches (Otsu's, 1979), on the same images: IoU "
    return tag("p", says, _cell("iou", otsu.get("iou")), ", Dice ", _cell("dice", otsu.get("dice")), ".")


def _things(found: Mapping[str, Any]) -> Html | None:
    things = found.get("instances")
    if not isinstance(things, dict):
        return None
    named = {
        "things in truth": things.get("truth"),
        "things found": things.get("found"),
        "too many an image": _cell("count", things.get("count_error")),
        "off by, an image": _cell("count", things.get("count_absolute")),
        "AP at IoU 0.5": _cell("iou", things.get("ap50")),
        "AP, 0.5 to 0.95": _cell("iou", things.get("ap")),
    }
    shown = {name: number(value) if isinstance(value, float | int) else value for name, value in named.items()}
    says = "Things counted one by one: connected parts of the mask, each matched to one of the truth."
    return join(note(says), facts(shown))


def _strip(reading: Reading, row: Mapping[str, Any]) -> Html:
    """A picture, its truth, what was found, and where they differ, side by side."""
    files: Mapping[str, str] = row.get("files") or {}
    name, samples = str(row.get("name", "?")), reading.folder.samples
    images = [
        tag("figure", tag("img", src=source, alt=f"{name}: {what}"), tag("figcaption", what))
        for view, what in VIEWS.items()
        if view in files and (source := data_uri(samples, files[view]))
    ]
    scores = (
        f"{label} {row[key]:.3f}" for key, label in (("iou", "IoU"), ("dice", "Dice")) if _is_number(row.get(key))
    )
    return tag(
        "div", tag("p", tag("bdi", name), tag("span", f"  {', '.join(scores)}")), tag("div", *images), class_="masks"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)


def _legend(reading: Reading) -> Html | None:
    """The colours of the classes."""
    colours, rows = reading.segmentation.get("colours") or [], reading.segmentation.get("per_class") or []
    pairs = [(str(row.get("name", "?")), colour) for row, colour in zip(rows, colours, strict=False)]
    if not pairs:
        return None
    keys = (
        tag("span", tag("i", style=f"background:rgb{tuple(map(int, colour))}"), tag("bdi", name))
        for name, colour in pairs
    )
    return tag("p", *keys, class_="legend-of-masks")
