"""The history of architectures as a page, a table and a picture: what each network reached, and what it cost."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval
from netwright.report.figures import FIRST, MUTED, RULE, STYLE, percent_label, svg_of
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.tables import facts, table
from netwright.report.words import UNKNOWN, count, duration, plural, setting

HEADS = ("network", "accuracy", "behind the best", "between seeds", "parameters", "multiply-adds", "run", "one picture")
SEEDS = HEADS.index("between seeds")
ON_WHITE = {FIRST: "#1f6f8b", MUTED: "#444444", RULE: "#bbbbbb"}  # a picture has no page to take its colours from


def write(folder: Path) -> Path:
    """Write `history.html`, `.md` and `.png` beside `history.json`; see `netwright.report.write_history`."""
    found = json.loads((folder / "history.json").read_text("utf-8"))
    write_atomic(folder / "history.md", markdown(found))
    write_atomic(folder / "history.png", picture(found["rows"]))
    write_atomic(folder / "history.html", page(found))
    return folder / "history.html"


def page(found: Mapping[str, Any]) -> str:
    """The whole page."""
    title = f"{len(found['rows'])} architectures on {found['data']}"
    heads, *rows = rows_of(found)
    heads = [heads[0], *(f"{head}#" for head in heads[1:])]
    rows = [[_bold(cells[0], row, found), *cells[1:]] for cells, row in zip(rows, found["rows"], strict=True)]
    table_ = table(heads, rows, caption="The same protocol for every network, 95 % intervals", class_="dense")
    drawn = figure(found["rows"], says=f"Accuracy against multiply-adds: {title}")
    main = tag(
        "main",
        section("table", "What they reached and cost", note(meaning(found)), table_, note(f"{legend(found)}.")),
        section("figure", "Accuracy against cost", drawn),
        _problems(found),
        section("protocol", "Protocol", note("The same for every network."), facts(_protocol(found))),
    )
    return document(title, tag("header", tag("h1", title)), main)


def markdown(found: Mapping[str, Any]) -> str:
    """The table in Markdown, with its legend."""
    heads, *rows = (f"| {' | '.join(cells)} |" for cells in rows_of(found))
    rule = f"| --- |{' ---: |' * (heads.count(' | '))}"
    left_out = [f"Not trained: {model} ({problem})." for model, problem in found.get("problems", {}).items()]
    return "\n".join([heads, rule, *rows, "", f"{legend(found)}.", *left_out, ""])


def rows_of(found: Mapping[str, Any]) -> list[Sequence[str]]:
    """The table in words, its heads first; one seed has no spread to show."""
    rows = [HEADS, *(_cells(row, found["best"]) for row in found["rows"])]
    return rows if found["seeds"] > 1 else [[*row[:SEEDS], *row[SEEDS + 1 :]] for row in rows]


def meaning(found: Mapping[str, Any]) -> str:
    """What the differences allow to say."""
    rows = [row for row in found["rows"] if row["model"] != found["best"]]
    if not rows:
        return f"{found['best']} alone was trained: nothing to compare it with."
    open_ = [row["model"] for row in rows if not (row["behind"]["low"] or 0.0) > 0]
    clear = len(rows) - len(open_)
    said = (
        f"Under this protocol {found['best']} was right most often, and clearly more often than {clear} of {len(rows)}."
    )
    said += f" Not told apart from it: {', '.join(open_)}." if open_ else ""
    return said if found["seeds"] > 1 else f"{said} One seed: another may turn small differences round; try --seeds 3."


def legend(found: Mapping[str, Any]) -> str:
    """What the columns mean."""
    n = count(found["rows"][0]["accuracy"]["n"])
    return (
        f"95 % intervals over {n} {found['split']} pictures, averaged over {plural(found['seeds'], 'seed')}; they do "
        "not hold what another seed would change. Behind the best: in percentage points, paired picture by picture. "
        "Run: training and evaluation. One picture: from memory to probabilities in a batch of one, median and middle "
        f"half, on {found['device']} with the threads that training chose"
    )


def figure(rows: Sequence[Mapping[str, Any]], *, says: str) -> Html:
    """Accuracy with its interval against multiply-adds; the larger the dot, the more parameters."""
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": "history"}
    with rc_context(style):
        return svg_of(_drawn(rows), "history", says)


def picture(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The same as PNG, on white."""
    stream = io.BytesIO()
    style: dict[Any, Any] = {name: ON_WHITE.get(value, value) for name, value in STYLE.items()}
    with rc_context(style):
        FigureCanvasAgg(_drawn(rows, ON_WHITE)).print_png(stream)
    return stream.getvalue()


def _drawn(rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str] | None = None) -> Figure:
    line, words = ((colours or {}).get(colour, colour) for colour in (FIRST, MUTED))
    drawn = Figure(figsize=(6.4, 3.6), dpi=200, layout="constrained")
    axes = drawn.add_subplot()
    most = max(row["params"] for row in rows)
    for row in rows:
        seen = Interval.from_json(row["accuracy"])
        reach = [[seen.value - seen.low], [seen.high - seen.value]]
        axes.errorbar(row["macs"], seen.value, yerr=reach, color=line, linewidth=1)
        axes.scatter(row["macs"], seen.value, 12 + 150 * row["params"] / most, color=line, alpha=0.45, linewidths=0)
        axes.annotate(row["model"], (row["macs"], seen.value), (7, 4), textcoords="offset points", color=words)
    axes.set(
        xscale="log", xlabel="multiply-adds a picture (the larger the dot, the more parameters)", ylabel="accuracy"
    )
    axes.margins(x=0.15, y=0.08)
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(_multiply_adds))
    axes.yaxis.set_major_formatter(FuncFormatter(percent_label))
    return drawn


def _multiply_adds(value: float, place: int | None) -> str:
    return f"{value / 1e6:g} M" if value < 1e9 else f"{value / 1e9:g} G"


def _cells(row: Mapping[str, Any], best: str) -> Sequence[str]:
    seen, behind = Interval.from_json(row["accuracy"]), Interval.from_json(row["behind"])
    took = row["latency"]
    return [
        row["model"],
        seen.percent(),
        "–" if row["model"] == best else _points(behind),
        UNKNOWN if row["seed_sd"] is None else f"sd {100 * row['seed_sd']:.2f}",
        f"{row['params'] / 1e6:.2f} M",
        f"{row['macs'] / 1e6:,.1f} M",
        duration(row["seconds"]),
        f"{1e3 * took['median']:.1f} ms [{1e3 * took['low']:.1f}, {1e3 * took['high']:.1f}]",
    ]


def _points(behind: Interval) -> str:
    """A difference of accuracies in percentage points."""
    return f"{100 * behind.value:.1f} [{100 * behind.low:.1f}, {100 * behind.high:.1f}]"


def _bold(name: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> object:
    return tag("strong", name) if row["model"] == found["best"] else name


def _problems(found: Mapping[str, Any]) -> Html | None:
    problems = found.get("problems")
    if not problems:
        return None
    return section("problems", "Not trained", facts(problems))


def _protocol(found: Mapping[str, Any]) -> dict[str, object]:
    fields = ("data", "optimizer", "schedule", "tricks", "epochs", "batch_size", "weights", "precision")
    said: dict[str, object] = {name.replace("_", " "): setting(found["protocol"].get(name)) for name in fields}
    return said | {"image size": found["image_size"], "seeds": found["seeds"], "machine": found["device"]}
