"""The sections on masks: how well each class is found, where errors lie, and pictures of both."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from netwright.records.intervals import Interval
from netwright.report.figures import FIRST, RULE, figure_style, percent_label, svg_of
from netwright.report.html import Html, join, note, section, tag
from netwright.report.pictures import data_uri
from netwright.report.reading import Reading
from netwright.report.tables import facts, long_table
from netwright.report.words import UNKNOWN, count, measured, number, percent, split_name

COLUMNS = ("iou", "dice", "precision", "recall", "boundary_f1")
HEADS = ("IoU#", "Dice#", "precision#", "recall#", "boundary F1#")
VIEWS = {"picture": "image", "truth": "truth", "found": "found", "errors": "where they differ"}
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
    mean, background = found.get("mean", {}), bool(found.get("background"))
    if len(rows) > 1 + background:  # of one class alone it would be the same again
        name = "mean without background" if background else "mean"
        rows.append([tag("strong", name), "", "", *(_cell(name, mean.get(name)) for name in COLUMNS)])
    heads = ("class", "pixels#", "images#", *HEADS)
    body = long_table(heads, rows, caption="By class, 95 % intervals", class_="dense")
    return section("classes", title, note(says), body, _otsu(found), _things(found))


def confused_pixels(reading: Reading) -> Html | None:
    """Which class is taken for which, pixel by pixel."""
    names = [str(row.get("name", "")) for row in reading.segmentation.get("per_class", [])]
    counts = np.asarray(reading.segmentation.get("confusion") or np.zeros((0, 0)), np.int64)
    if len(names) < 3 or len(names) > MOST_CLASSES or counts.shape != (len(names), len(names)):
        return None
    return section("confusion", "Confusion", _shares(counts, names))


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
    """The worst images, and some others, with truth, answer and difference."""
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
    return section("masks", "Worst images", _legend(reading, rows), *parts)


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


def _shares(counts: NDArray[np.int64], names: Sequence[str]) -> Html:
    """The confusion matrix of pixels in per cent of each row."""
    columns = (tag("th", tag("span", name), scope="col") for name in names)
    top = tag("tr", tag("th", "truth ↓ found →", scope="col", class_="corner"), *columns)
    rows = (_share_row(row, place, name) for place, (row, name) in enumerate(zip(counts, names, strict=True)))
    caption = "Where the pixels of each class went, in per cent of its row"
    table = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *rows), class_="confusion")
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Confusion matrix")


def _share_row(row: NDArray[np.int64], place: int, name: str) -> Html:
    shares = row / max(1, int(row.sum()))
    cells = (_share_cell(float(share), right=column == place) for column, share in enumerate(shares))
    return tag("tr", tag("th", name, scope="row"), *cells)


def _share_cell(share: float, *, right: bool) -> Html:
    if share == 0:
        return tag("td", "·", class_="zero")
    # As in the matrix of images: the root lifts what is rare into sight, and from one half on the text turns.
    depth, names = round(100 * share**0.5), ("right" if right else "wrong") + (" deep" if share >= 0.5 else "")
    return tag("td", f"{100 * share:.1f}", class_=names, style=f"--depth:{depth}%")


def _otsu(found: Mapping[str, Any]) -> Html | None:
    """What a threshold reaches; of runs from before some of its numbers may be missing."""
    otsu = found.get("otsu")
    if not isinstance(otsu, dict):
        return None
    ways = {"over all pixels": "", "the mean of the images": "_of_images"}
    told = [join(how, " ", known) for how, end in ways.items() if (known := _otsu_pair(otsu, end)) is not None]
    says = "What a threshold on grey values alone reaches (Otsu's, 1979), on the same images: "
    return tag("p", says, *_between("; ", told), ".") if told else None


def _otsu_pair(otsu: Mapping[str, Any], end: str) -> Html | None:
    named = {"IoU": ("iou", otsu.get(f"iou{end}")), "Dice": ("dice", otsu.get(f"dice{end}"))}
    told = [join(name, " ", _cell(*pair)) for name, pair in named.items() if isinstance(pair[1], dict)]
    return join(*_between(", ", told)) if told else None


def _between(mark: str, parts: Sequence[Html]) -> Iterator[object]:
    for place, part in enumerate(parts):
        yield from (mark, part) if place else (part,)


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
    return join(note(_how_counted(found)), facts(shown))


def _how_counted(found: Mapping[str, Any]) -> str:
    """How things are told apart, in what was found and in the truth."""
    names = [str(name) for name in found.get("classes") or []]
    if len(names) > 2:
        inside, border = names[1:3]
        apart = f"connected parts of {inside}, each with the {border} nearest to it"
    else:
        apart = f"connected parts of {names[1]}" if len(names) == 2 else "connected parts of the mask"
    truth = "those that the data numbers" if found.get("numbered") else "told apart in the same way"
    return f"Things counted one by one. Found ones are {apart}; true ones are {truth}."


def _strip(reading: Reading, row: Mapping[str, Any]) -> Html:
    """An image, its truth, what was found, and where they differ, side by side."""
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


def _legend(reading: Reading, rows: Sequence[Mapping[str, Any]]) -> Html:
    """The colours of the classes, and those of the differences where these were drawn; background is not painted."""
    found = reading.segmentation
    names = [str(row.get("name", "?")) for row in found.get("per_class") or []]
    pairs = list(zip(names, found.get("colours") or [], strict=False))[bool(found.get("background")) :]
    drawn = any("errors" in (row.get("files") or {}) for row in rows)
    kinds: Mapping[str, Sequence[int]] = (found.get("legend") or {}) if drawn else {}
    return join(_key_line("classes:", pairs), _key_line("where they differ:", kinds.items()))


def _key_line(title: str, pairs: Iterable[tuple[str, Sequence[int]]]) -> Html | None:
    keys = list(_keys(pairs))
    return tag("p", tag("span", title), *keys, class_="legend-of-masks") if keys else None


def _keys(pairs: Iterable[tuple[str, Sequence[int]]]) -> Iterator[Html]:
    return (
        tag("span", tag("i", style=f"background:rgb{tuple(map(int, colour))}"), tag("bdi", name))
        for name, colour in pairs
    )
