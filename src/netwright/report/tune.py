"""A search as a page: the best recipe and its command, what it is worth on fresh seeds, and what each value did."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from netwright.records.atomic import write_atomic
from netwright.records.intervals import Interval
from netwright.report.figures import FIRST, INK, MUTED, RULE, SECOND, STYLE, svg_of
from netwright.report.html import Html, join, note, section, tag
from netwright.report.page import document
from netwright.report.tables import facts, long_table, table
from netwright.report.words import UNKNOWN, count, duration, plural, setting

Found = Mapping[str, Any]
COLUMNS = 3  # of the small figures
SPREAD = 0.035  # of the widest distance between choices, by which trials of one choice stand apart
ROOM = 0.12  # of the distance between the worst and the best, above the best
LEAST = 0.02  # a distance of shares that axes show at least
EDGE = 0.03  # of an axis, at which what lies below it is drawn


def write(folder: Path) -> Path:
    """Write `tune.html` beside `tune.json`."""
    found = json.loads((folder / "tune.json").read_text("utf-8"))
    write_atomic(folder / "tune.html", page(found))
    return folder / "tune.html"


def page(found: Found) -> str:
    """The whole page."""
    parts = [_best(found), _confirmed(found), _history(found), _parameters(found), _space(found), _trials(found)]
    return document(found["title"], tag("header", tag("h1", found["title"])), tag("main", *parts))


def headline(found: Found) -> str:
    """How the best did on the pictures that chose it."""
    low, high = found["interval"]
    done = found["counts"]
    reached = f"{_percent(found['value'])} [{100 * low:.1f}, {100 * high:.1f}]"
    many = f"{plural(done['complete'], 'trial')} trained to the end, {done['pruned']} stopped early"
    failed = f", {done['failed']} could not be trained" if done["failed"] else ""
    return f"best validation {found['metric'].replace('_', ' ')} {reached}: {many}{failed}"


def interval_words(found: Found) -> str:
    """What the intervals of trials hold."""
    n, seeds = count(found["pictures"]["val"]), found["seeds"]
    over = "pictures, with one seed" if seeds == 1 else f"{seeds} seeds and pictures"
    return (
        f"Trials were judged on {n} validation pictures; their 95 % intervals are over {over}. None of them holds "
        "that the best of many was chosen because it came out high."
    )


def _best(found: Found) -> Html:
    shown: dict[str, object] = {name: _value(value) for name, value in found["best"].items()}
    fixed = {name: _value(value) for name, value in found["fixed"].items()}
    left = note("As given: ", ", ".join(f"{name} = {value}" for name, value in fixed.items())) if fixed else None
    how = tag("pre", tag("code", found["command"]), style="white-space: pre-wrap")
    words = tag("p", headline(found).capitalize(), ".")
    return section("best", "The best recipe", words, facts(shown), left, tag("p", "Train it:"), how)


def _confirmed(found: Found) -> Html:
    held = found["confirmed"]
    if held is None:
        return section("confirmed", "Is it better?", tag("p", found["unconfirmed"], "."))
    where = "test" if held["split"] == "test" else "validation"
    again = Interval.from_json(held["again"])
    rows = [
        (f"best, {where}", Interval.from_json(held["best"]).percent()),
        (f"recipe as it was, {where}", Interval.from_json(held["baseline"]).percent()),
        ("difference, points", _points(Interval.from_json(held["difference"]))),
        ("best, validation, as it was chosen", _percent(found["value"])),
        ("best, validation, fresh seeds", _percent(again.value) if math.isnan(again.low) else again.percent()),
    ]
    caption = f"{plural(len(held['seeds']), 'fresh seed')}, paired; {count(held['n'])} {where} pictures; 95 % intervals"
    said = note(
        "The best of many trials was also lucky: its validation value usually falls when it is trained anew. "
        "Fresh seeds do not make good that these validation pictures chose it; "
        + (
            "the test pictures, looked at this once, had no part in that."
            if held["split"] == "test"
            else "there is no test split, so the comparison above is flattered too."
        )
    )
    return section("confirmed", "Is it better?", table(("", "accuracy#"), rows, caption=caption), said)


def _history(found: Found) -> Html:
    says = "Validation value of each trial in order, and the best so far"
    drawn = history_figure(found, says=says)
    return section("history", "How the search went", drawn, note(interval_words(found)))


def history_figure(found: Found, *, says: str) -> Html:
    """Each trial's value with its interval, the best so far as steps, and the last epoch of those stopped early."""
    with rc_context({**STYLE, "svg.hashsalt": "history"}):
        figure = Figure(figsize=(6.4, 2.9), layout="constrained")
        axes = figure.add_subplot()
        complete, stopped = _complete(found), _stopped(found)
        _with_intervals(axes, [row["number"] + 1 for row in complete], complete, found)
        axes.plot(
            [row["number"] + 1 for row, _ in stopped],
            _seen(found, [value for _, value in stopped]),
            "x",
            color=MUTED,
            ms=3,
        )
        best = [max(row["value"] for row in complete[: place + 1]) for place in range(len(complete))]
        axes.step([row["number"] + 1 for row in complete], best, where="post", color=SECOND, linewidth=1.2)
        if found["baseline"] is not None:
            axes.axhline(found["baseline"]["value"], color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        axes.set(xlabel="trial", ylabel="validation", ylim=_limits(found))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        _finish(axes)
        drawn = svg_of(figure, "history", says)
    key = (
        "Points: trials; crosses: stopped early, at what they had then; line: the best so far; what lies "
        "lower than the axis is drawn on its edge"
    )
    return join(drawn, note(f"{key}; dots: the recipe as it was." if found["baseline"] else f"{key}."))


def _parameters(found: Found) -> Html:
    known = found["importance"]
    shares: dict[str, float] = known["shares"] if known else {}
    order = sorted(found["space"], key=lambda each: -shares.get(each["name"], 0.0))
    slices = slice_figure(found, order, says="Validation value against each parameter")
    if not known:
        return section("parameters", "What each value did", slices, note(f"{found['no_importance'].capitalize()}."))
    rows = [(name, f"{100 * share:.0f} %") for name, share in shares.items()]
    when = "final values" if known["epoch"] is None else f"values after epoch {known['epoch']}, which all had"
    caption = "Share of the variance"
    told = note(
        f"By fANOVA of {known['n']} trials' {when}. A random forest's estimate from trials that the search drew where "
        "it hoped for most: it tells the order of parameters rather than the size of effects, and has no interval. "
        "Parameters that not every trial had are left out."
    )
    return section("parameters", "What each value did", slices, table(("", "share#"), rows, caption=caption), told)


def slice_figure(found: Found, space: Sequence[Found], *, says: str) -> Html:
    """A small figure for each parameter: trials by their value of it; the best stands out."""
    lines = -(-len(space) // COLUMNS)
    with rc_context({**STYLE, "svg.hashsalt": "slices"}):
        figure = Figure(figsize=(6.4, 1.9 * lines), layout="constrained")
        panels = figure.subplots(lines, COLUMNS, squeeze=False, sharey=True)
        for place, axes in enumerate(panels.flat):
            if place < len(space):
                _slice(axes, found, space[place])
            else:
                axes.set_visible(False)
        return svg_of(figure, "slices", says)


def _slice(axes: Axes, found: Found, each: Found) -> None:
    name, choices = each["name"], each["choices"]
    complete = [row for row in _complete(found) if name in row["values"]]
    stopped = [(row, value) for row, value in _stopped(found) if name in row["values"]]
    chosen = [row for row in complete if row["number"] == found["best_trial"]]

    def place(row: Found) -> float:
        value = row["values"][name]
        if not choices:
            return value
        return choices.index(value) + SPREAD * (len(choices) - 1) * (row["number"] % 7 - 3)

    _crosses(axes, [place(row) for row, _ in stopped], stopped, found)
    _with_intervals(axes, [place(row) for row in complete], complete, found)
    axes.plot([place(row) for row in chosen], [row["value"] for row in chosen], "o", color=SECOND, ms=6)
    axes.set(xlabel=name, ylim=_limits(found))
    if choices:
        axes.set_xticks(range(len(choices)), [_choice(choice) for choice in choices])
        axes.set_xlim(-0.5, len(choices) - 0.5)
    elif each["log"]:
        axes.set_xscale("log")
    _finish(axes)


def _with_intervals(axes: Axes, where: Sequence[float], rows: Sequence[Found], found: Found) -> None:
    lows, highs = [row["interval"]["low"] for row in rows], [row["interval"]["high"] for row in rows]
    axes.vlines(where, lows, highs, color=FIRST, alpha=0.25, linewidth=0.8)
    axes.plot(where, _seen(found, [row["value"] for row in rows]), "o", color=FIRST, markersize=3)


def _crosses(axes: Axes, where: Sequence[float], stopped: Sequence[tuple[Found, float]], found: Found) -> None:
    axes.plot(where, _seen(found, [value for _, value in stopped]), "x", color=MUTED, markersize=3)


def _finish(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(_label))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0, which="both")
    axes.xaxis.label.set_color(INK)


def _space(found: Found) -> Html:
    rows = [
        (
            each["name"],
            each["text"],
            UNKNOWN if each["usual"] is None else _value(each["usual"]),
            _value(found["best"][each["name"]]) if each["name"] in found["best"] else UNKNOWN,
            "you" if each["source"] == "user" else "declared",
        )
        for each in found["space"]
    ]
    heads = ("parameter", "searched", "as it was", "best", "range from")
    return section("space", "What was searched", table(heads, rows, caption="Parameters and their ranges"))


def _trials(found: Found) -> Html:
    rows = [_trial(row) for row in found["trials"]]
    heads = ("trial", "value#", "epochs#", "run#", "ended", "values")
    drawn = long_table(heads, rows, caption="Every trial, 95 % intervals")
    took = f"{duration(found['run_seconds'])} of training in all; pruner: {found['pruner']}."
    return section("trials", "Trials", drawn, note(took))


def _trial(row: Found) -> Sequence[object]:
    reached = UNKNOWN if row["value"] is None else Interval.from_json(row["interval"]).percent()
    ended = {"complete": "", "pruned": "stopped early", "failed": f"failed: {row.get('problem')}"}[row["state"]]
    values = ", ".join(f"{name} = {_value(value)}" for name, value in row["values"].items())
    seconds = UNKNOWN if row["seconds"] is None else duration(row["seconds"])
    return (row["number"] + 1, reached, row["epochs"], seconds, ended, values)


def _complete(found: Found) -> list[Found]:
    return [row for row in found["trials"] if row["state"] == "complete"]


def _stopped(found: Found) -> list[tuple[Found, float]]:
    """Trials that were stopped early, each with the last value that it had."""
    rows = [row for row in found["trials"] if row["state"] == "pruned" and row["curve"]]
    return [(row, list(row["curve"].values())[-1]) for row in rows]


def _limits(found: Found) -> tuple[float, float]:
    """Where finished trials lie, but for the worst fifth of them, which would press the others together."""
    values = sorted(row["value"] for row in _complete(found))
    low, high = values[len(values) // 5], values[-1]
    room = max(high - low, LEAST)
    return max(0.0, low - room), min(1.0, high + room) + ROOM * room


def _seen(found: Found, values: Sequence[float]) -> list[float]:
    """Values on an axis whose lower edge holds those that lie below it."""
    low, high = _limits(found)
    return [max(value, low + (high - low) * EDGE) for value in values]


def _value(value: Any) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else setting(value)


def _choice(value: Any) -> str:
    return _value(value).split("(")[0]


def _points(difference: Interval) -> str:
    value, low, high = (100 * each for each in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} [{low:.1f}, {high:.1f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _label(value: float, place: int | None) -> str:
    return f"{100 * value:.4g} %"
