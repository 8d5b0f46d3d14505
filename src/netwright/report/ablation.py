"""An ablation as a page, a table and pictures: which trick helps here, how sure that is, and what it costs."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from netwright.core.errors import NetwrightError
from netwright.records.atomic import write_atomic
from netwright.report import factorial, forest, pareto
from netwright.report.ablation_markdown import markdown, pictures_of
from netwright.report.ablation_method import below, coverage_words, machine, measured_words, protocol, rules
from netwright.report.ablation_words import (
    LOSS,
    Scale,
    answer,
    finite,
    in_bytes,
    interval_of,
    legend,
    numbers,
    rows_of,
    run_time,
    whole_rows,
    words,
)
from netwright.report.drawn import Colours, labels, on_page, plain
from netwright.report.figures import FIRST, INK, MUTED, RULE
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.study import cell_text
from netwright.report.tables import facts, long_table, table
from netwright.report.words import UNKNOWN, metric_name, setting

__all__ = ["markdown", "page", "rows_of", "words", "write"]

Found = Mapping[str, Any]
FILE = "ablation.json"
ROW_HEADS = ("row", "what is another", "accuracy", "loss", "calibration error", "run", "images/s", "memory", "updates")
SPEC = ("model", "optimizer", "schedule", "tricks", "epochs", "batch_size")
CURVES = 40  # rows whose learning curves are drawn
FAR = 6  # times the middle distance from the middle: a curve that ends farther away gets an axis of its own
FEWEST = 6  # epochs from which on the beginning of a curve, steep in every row, is left out
CONTENTS = {
    "answer": "Answer",
    "forest": "Effects",
    "table": "In numbers",
    "pareto": "Time",
    "curves": "Learning curves",
    "interactions": "Interactions",
    "method": "How sure",
    "looks": "Looks",
    "rows": "What was trained",
    "again": "Again",
}


def write(folder: Path) -> Path:
    """Write `ablation.html`, `ablation.md` and PNGs beside `ablation.json`.

    PNGs: `forest.png` and `pareto.png`; for factorial ablations also `half_normal.png` and `interactions.png`.

    Returns:
        The path of `ablation.html`.

    Raises:
        NetwrightError: there is no ablation in the folder, it cannot be read, or the disk is full or not writable.
    """
    found = _read(folder / FILE)
    for name, drawn in pictures_of(found).items():
        write_atomic(folder / name, drawn(found))
    write_atomic(folder / "ablation.md", markdown(found))
    write_atomic(folder / "ablation.html", page(found))
    return folder / "ablation.html"


def page(found: Found) -> str:
    """The whole page."""
    parts = [part for part in (make(found) for make in SECTIONS) if part]
    links = (
        tag("a", title, href=f"#{name}")
        for name, title in CONTENTS.items()
        if any(f' id="{name}"' in part for part in parts)
    )
    top = tag("header", tag("h1", found["title"]), note(below(found)), tag("nav", *links, aria_label="Contents"))
    return document(
        found["title"], top, tag("main", *parts), tag("footer", "Written by netwright from ", tag("code", FILE), ".")
    )


def _read(path: Path) -> Found:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NetwrightError(f"There is no {FILE} in {path.parent}.", "`netwright ablate` writes it.") from None
    except ValueError as error:
        raise NetwrightError(f"{path} is not JSON: {error}.", "Run `netwright ablate` again: runs are kept.") from None
    if not isinstance(found, dict) or found.get("format") != 1:
        raise NetwrightError(
            f"{path} has a format that this version cannot read.", "Run `netwright ablate` again: runs are kept."
        )
    return found


def _answer(found: Found) -> Html:
    first, *rest = answer(found)
    listed = tag("ul", *(tag("li", sentence) for sentence in rest), class_="notes") if rest else None
    notes = [note(words) for words in found.get("notes") or []]
    return section("answer", "The answer", tag("p", first, class_="lead"), listed, *notes)


def _forest(found: Found) -> Html | None:
    return section("forest", "Effects", forest.figure(found)) if found["arms"] else None


def _table(found: Found) -> Html | None:
    if not found["arms"]:
        return None
    heads, *rows = whole_rows(found)
    rows = [[_name(row[0]), *row[1:3], _name(row[3], 14), *row[4:]] for row in rows]
    heads = [head if head in (heads[0], "verdict") else f"{head}#" for head in heads]
    drawn = table(heads, rows, caption="Every effect, 95 % intervals over seeds and pictures", class_="dense")
    return section("table", "In numbers", drawn, note(legend(found)))


def _pareto(found: Found) -> Html:
    key = "Filled: on the front. Diamond: the baseline. Lines up and down: 95 % intervals over seeds and pictures."
    words = pareto.front_words(found)
    drawn = [pareto.figure(found), note(key)] if pareto.points(found) else []
    return section("pareto", "What it costs", tag("p", words), *drawn)


def _factorial(found: Found) -> Html | None:
    return section("interactions", "Interactions", *factorial.section_parts(found)) if found.get("factorial") else None


def _curves(found: Found) -> Html | None:
    name = f"val_{found.get('metric', 'accuracy')}"
    rows = [row for row in found["rows"] if _late(_curve(row, name))]
    baseline = next((row for row in rows if row["name"] == (found.get("baseline") or {}).get("name")), None)
    others = [row for row in rows if row is not baseline][:CURVES]
    if not others:
        return None
    of_baseline = _curve(baseline, name) if baseline else []
    every = [_curve(row, name) for row in [*others, *([baseline] if baseline else [])]]
    shared = _alike(every)
    panels: list[Html] = []
    for place, (row, curve) in enumerate(zip(others, every, strict=False)):
        pair = [curve, of_baseline] if baseline else [curve]
        span = _span(shared if all(each in shared for each in pair) else pair)
        panels.append(_panel(place, row["name"], curve, of_baseline, span, Scale.of(found)))
    apart = " A row that ends far from the others has an axis of its own." if len(shared) < len(every) else ""
    keys = (tag("span", "this row", class_="key first"), " ", tag("span", "the baseline", class_="key base"), " ")
    says = f"Validation {metric_name(found.get('metric', 'accuracy'))} by epoch, the mean of all seeds."
    left = (
        " The steep beginning is left out, since it is alike in all." if len(_curve(others[0], name)) >= FEWEST else ""
    )
    style = tag("style", Html(".key.base::before { border-color: var(--ink); }"))
    return section(
        "curves", "Learning curves", style, note(*keys, says, left, apart), tag("div", *panels, class_="panels")
    )


def _method(found: Found) -> Html:
    parts = [tag("p", sentence) for sentence in measured_words(found)]
    covered = tag("ul", *(tag("li", sentence) for sentence in coverage_words(found)), class_="notes")
    tested = tag("ul", *(tag("li", sentence) for sentence in rules(found)), class_="notes")
    heads = (tag("h3", "What intervals cover"), tag("h3", "How verdicts come about"))
    return section("method", "How sure this is", *parts, heads[0], covered, heads[1], tested)


def _looks(found: Found) -> Html | None:
    looks = found.get("looks")
    if not looks:
        return None
    source = f" ({looks['source']})" if looks.get("source") else ""
    said = (
        f"Seeds were added until effects were resolved. What allows to look repeatedly: {looks.get('method')}{source}."
    )
    said += (
        f" Spent so far: {looks['spent']:.3g} of {found.get('alpha', 0.05):g}." if finite(looks.get("spent")) else ""
    )
    rows: Sequence[Mapping[str, Any]] = looks.get("rows") or []
    heads = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in heads] for row in rows]
    drawn = (
        table([head.replace("_", " ") for head in heads], cells, caption="Every look", class_="dense") if rows else None
    )
    return section("looks", "Looking repeatedly", tag("p", said), drawn)


def _rows(found: Found) -> Html:
    scale = Scale.of(found)
    heads = [ROW_HEADS[0], ROW_HEADS[1], metric_name(found.get("metric", "accuracy")), *ROW_HEADS[3:]]
    heads = [*heads[:2], *(f"{head}#" for head in heads[2:])]
    cells = [_row_cells(row, scale) for row in found["rows"]]
    # Names of a factorial's rows say what is on, and those of most others what is another.
    if found["kind"] == "factorial" or all(
        not row.get("changes") or row["changes"] == [row["name"]] for row in found["rows"]
    ):
        heads, cells = [heads[0], *heads[2:]], [[row[0], *row[2:]] for row in cells]
    drawn = long_table(heads, cells, caption="Means over seeds, 95 % intervals")
    seeds = [str(seed) for seed in found.get("seeds") or []]
    each = [[_name(row["name"]), *_by_seed(row, len(seeds), scale)] for row in found["rows"]]
    by_seed = long_table(["row", *(f"seed {seed}#" for seed in seeds)], each, caption="Each run")
    recipes = [[row["name"], *(setting((row.get("spec") or {}).get(name)) for name in SPEC)] for row in found["rows"]]
    specs = table(["row", *(name.replace("_", " ") for name in SPEC)], recipes, caption="Recipes", class_="dense")
    folded = tag("details", tag("summary", "The recipe of each row"), specs)
    early = [f"{row['name']}: {', '.join(map(str, row['stopped']))}" for row in found["rows"] if row.get("stopped")]
    ended = note(f"Ended early: {'; '.join(early)}.") if early else None
    return section("rows", "What was trained", drawn, ended, by_seed, folded)


def _again(found: Found) -> Html:
    commands = found.get("commands") or []
    parts = [_code("\n".join(commands))] if commands else [note("The command was not kept.")]
    each = [f"# {' '.join(row['name'].split())}\n{row['command']}" for row in found["rows"] if row.get("command")]
    if each:
        parts.append(tag("details", tag("summary", "One row of it alone"), _code("\n\n".join(each))))
    held = note("Everything on this page, for programs: ", tag("code", FILE), " beside it.")
    return section("again", "To run it again", *parts, facts(protocol(found)), facts(machine(found)), held)


SECTIONS: tuple[Callable[[Found], Html | None], ...] = (
    _answer, _forest, _table, _pareto, _curves, _factorial, _method, _looks, _rows, _again,
)  # fmt: skip


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
    def draw(colours: Colours) -> Figure:
        figure = Figure(figsize=(3.3, 2.0), layout="constrained")
        axes = figure.add_subplot()
        for values, colour, width in ((baseline, INK, 2.4), (curve, FIRST, 1.5)):
            known = [value if finite(value) else float("nan") for value in values]
            axes.plot(range(1, len(known) + 1), known, color=colours(colour), linewidth=width)
        plain(axes, colours(RULE), grid="y")
        axes.set(ylim=span, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(labels(lambda value: f"{scale.factor * value:g}{' %' if scale.unit else ''}"))
        axes.tick_params(labelcolor=colours(MUTED))
        return figure

    drawn = on_page(draw, f"curve-{place}", f"Learning curve of {name} over that of the baseline")
    return tag("figure", tag("figcaption", tag("bdi", name)), drawn)


def _row_cells(row: Found, scale: Scale) -> list[object]:
    changes = ", ".join(map(str, row.get("changes") or [])) or UNKNOWN
    error = row.get("calibration") or {}
    low, high = error.get("interval") or (None, None)
    calibration = interval_of({"value": error.get("value"), "low": low, "high": high})
    rate = f"{row['images_per_second']:,.0f}" if finite(row.get("images_per_second")) else UNKNOWN
    steps = f"{row['steps']:g}" if finite(row.get("steps")) else UNKNOWN
    loss = LOSS.level(interval_of(row.get("loss")))
    cells = (scale.level(interval_of(row.get("accuracy"))), loss, Scale(100.0, 1, "points").level(calibration))
    return [_name(row["name"]), changes, *cells, run_time(row.get("seconds")), rate, in_bytes(row.get("memory")), steps]


def _name(name: str, least: int = 17) -> Html:
    """A name that is not broken in the middle of a word where the column could be wider."""
    return tag("bdi", name, style=f"display: block; min-width: {min(len(name), least)}ch")


def _by_seed(row: Found, seeds: int, scale: Scale) -> list[str]:
    values = list(row.get("by_seed") or [])[:seeds]
    return [scale.number(value) for value in [*values, *[None] * (seeds - len(values))]]


def _cell(value: Any) -> str:
    """A cell of a table whose columns are not known beforehand."""
    if isinstance(value, Mapping) and "interval" in value:
        return cell_text(value)
    if isinstance(value, float):
        return f"{value:.4g}" if finite(value) else UNKNOWN
    return UNKNOWN if value is None else setting(value)


def _code(text: str) -> Html:
    # One click takes it whole; the page runs no script that could copy.
    return tag("pre", tag("code", text, style="user-select: all"))
