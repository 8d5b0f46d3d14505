"""Runs compared, as a page, a table and a picture: which is better, what is different, curves, and pictures apart."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import Interval
from netwright.report.compare_curves import figure, picture
from netwright.report.html import Html, join, note, section, tag
from netwright.report.page import document
from netwright.report.pictures import data_uri
from netwright.report.reading import Reading
from netwright.report.tables import SOURCES, long_table, table
from netwright.report.words import UNKNOWN, count, duration, percent, plural, split_name

RUN_HEADS = ("", "run", "seeds", "accuracy", "log-loss", "calibration error", "epochs", "whole run", "images/s")
HEADS = ("run", "against", "points", "p", "verdict", "only it right", "only the other", "log-loss", "calibration error")
CLASS_HEADS = ("class", "pictures", "points", "p", "only it right", "only the other")
PLAIN = 1e-4  # p below it is written as such
Found = Mapping[str, Any]


def write(folder: Path) -> Path:
    """Write `compare.html`, `compare.md` and `compare.png` beside `compare.json`.

    Returns:
        The path of `compare.html`.

    Raises:
        NetwrightError: the disk is full or not writable.
    """
    found = json.loads((folder / "compare.json").read_text("utf-8"))
    write_atomic(folder / "compare.md", markdown(found))
    write_atomic(folder / "compare.png", picture(found["runs"]))
    write_atomic(folder / "compare.html", page(found))
    return folder / "compare.html"


def page(found: Found) -> str:
    """The whole page."""
    said = tag("ul", *(tag("li", sentence) for sentence in sentences(found)), class_="notes")
    main = tag(
        "main",
        section("said", "What this allows to say", said, *map(note, found["notes"])),
        section("numbers", "In numbers", _runs(found), _comparisons(found), note(legend(found))),
        section("differences", "What is different", *_differences(found)),
        section("curves", "Training", figure(found["runs"]), note(curve_words(found))),
        section("classes", "Classes", *_classes(found)),
        section("pictures", "Pictures that one of them got right", *_pictures(found)),
        section("again", "To train them again", *_commands(found)),
    )
    return document(found["title"], tag("header", tag("h1", found["title"]), note(_below(found))), main)


def markdown(found: Found) -> str:
    """Sentences and tables in Markdown."""
    parts = [f"# {found['title']}", _below(found), "\n".join(f"- {each}" for each in sentences(found))]
    parts += [*found["notes"], _markdown(run_rows(found)), _markdown(comparison_rows(found)), legend(found)]
    rows = difference_rows(found)
    parts += ["## What is different", _markdown(rows) if len(rows) > 1 else NOTHING]
    parts += ["## Training", f"![Learning curves of {len(found['runs'])} runs](compare.png)", curve_words(found)]
    for each in found["comparisons"]:
        parts += [f"## Classes: {_pair(each)}", _markdown(class_rows(each))]
        parts += [f"## Pictures: {_pair(each)}", _markdown(picture_rows(each))] if each["pictures"] else []
    return "\n\n".join(parts) + "\n"


NOTHING = "Nothing: recipe, seed, data, machine and versions are the same."


def sentences(found: Found) -> list[str]:
    """What each comparison allows to say."""
    return [_sentence(each, found) for each in found["comparisons"]]


def run_rows(found: Found) -> list[list[str]]:
    """What each run reached and took, in words, heads first."""
    return [[*RUN_HEADS], *(_run_cells(row) for row in found["runs"])]


def comparison_rows(found: Found) -> list[list[str]]:
    """Every comparison in words, heads first."""
    return [[*HEADS], *(_cells(each) for each in found["comparisons"])]


def difference_rows(found: Found) -> list[list[str]]:
    """What runs have different, in words, heads first: a column a run, and who chose it in brackets."""
    labels = [row["label"] for row in found["runs"]]
    rows = [[_field(each), *(_valued(each, label) for label in labels)] for each in found["differences"]]
    return [["what", *labels], *rows]


def class_rows(each: Found) -> list[list[str]]:
    """Differences in recall by class, in words, the largest first, heads first."""
    order = sorted(each["classes"], key=lambda row: (row["p"], -abs(row["effect"])))
    cells = [
        [row["class"], count(row["n"]), _points(row), p_words(row["p_holm"]), count(row["c"]), count(row["b"])]
        for row in order
    ]
    return [[*CLASS_HEADS], *cells]


def picture_rows(each: Found) -> list[list[str]]:
    """Pictures that one side got right and the other did not, in words, heads first."""
    sides = [each["label"], each["against_label"]]
    rows = [[seen["name"], seen["truth"], *(_said(seen[side]) for side in sides)] for seen in each["pictures"]]
    return [["picture", "truth", *(f"{side} said" for side in sides)], *rows]


def legend(found: Found) -> str:
    """What the columns mean."""
    seeds = any(each["seeds"] > 1 for each in found["comparisons"])
    several = " Of several seeds counts are summed." if seeds else ""
    return (
        f"Accuracy, log-loss and calibration error of {count(found['n'])} {split_name(found['split'])} pictures, with "
        "95 % intervals. Differences are the run's less the other's, picture by picture: more points are better, more "
        "loss is worse. Log-loss is of calibrated probabilities. Calibration error is read off 15 bins, which "
        "overestimate it where it is small and pictures are few: its intervals say what other pictures would change in "
        "that reading. p: exact McNemar test, or with several seeds read off the interval's own draws; Holm's over "
        f"what is tested together.{several}"
    )


def curve_words(found: Found) -> str:
    """What the panels show."""
    seeds = any(len(row["seeds"]) > 1 for row in found["runs"])
    several = " A thin line a seed, the thick one their mean." if seeds else ""
    return f"Seconds are of training alone, summed over epochs.{several}"


def p_words(p: float) -> str:
    """p with two digits, or that it is below what two digits tell."""
    return f"< {PLAIN:.4f}" if p < PLAIN else f"{p:.2g}"


def points_of(share: float) -> str:
    """0.01 -> `1 point`."""
    return f"{100 * share:g} point{'' if share == 0.01 else 's'}"


def _sentence(each: Found, found: Found) -> str:
    who, whom = each["label"], each["against_label"]
    points, p = f"{_points(each)} points", f"p {_is(each['p_holm'])}"
    over = plural(each["n"], f"{split_name(found['split'])} picture")
    where = over if each["seeds"] == 1 else f"{plural(each['seeds'], 'seed')} and {over}"
    if each["verdict"] in ("better", "worse"):
        return f"{who} is {each['verdict']} than {whom} by {_size(each)} points over {where} ({p})."
    if each["verdict"] != "not resolved":
        return f"{who} and {whom}: {each['verdict']} over {where}: {points} (p {_is(each['p_equivalence_holm'])})."
    needed = each["pictures_needed"]
    more = f" To find a difference as large as this one, about {count(needed)} pictures are needed." if needed else ""
    return f"{who} against {whom} is not resolved over {where}: {points} ({p}).{more}"


def _is(p: float) -> str:
    words = p_words(p)
    return words if words.startswith("<") else f"= {words}"


def _pair(each: Found) -> str:
    return f"{each['label']} against {each['against_label']}"


def _below(found: Found) -> str:
    pictures = plural(found["n"], f"{split_name(found['split'])} picture")
    return f"{found['data']}: {pictures} · a difference that would not matter: {points_of(found['margin'])}"


def _points(each: Found) -> str:
    """A difference in percentage points with its interval."""
    low, high = each["interval"]
    return f"{100 * each['effect']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _size(each: Found) -> str:
    """How large a difference is, whichever its sign."""
    sign = 1 if each["effect"] > 0 else -1
    low, high = sorted(sign * bound for bound in each["interval"])
    return f"{100 * abs(each['effect']):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _run_cells(row: Found) -> list[str]:
    loss, calibration = (Interval.from_json(row[name]) for name in ("loss", "calibration"))
    return [
        row["label"],
        row["name"],
        ", ".join(map(str, row["seeds"])),
        Interval.from_json(row["accuracy"]).percent(),
        f"{loss.value:.3f} [{loss.low:.3f}, {loss.high:.3f}]",
        calibration.percent(),
        count(row["epochs"]),
        duration(row["seconds"]),
        UNKNOWN if row["images_per_second"] is None else count(round(row["images_per_second"])),
    ]


def _cells(each: Found) -> list[str]:
    loss, calibration = (Interval.from_json(each[name]) for name in ("loss", "calibration"))
    return [
        each["label"],
        each["against_label"],
        _points(each),
        p_words(each["p_holm"]),
        each["verdict"],
        count(each["c"]),
        count(each["b"]),
        f"{loss.value:+.3f} [{loss.low:+.3f}, {loss.high:+.3f}]",
        f"{100 * calibration.value:+.1f} [{100 * calibration.low:+.1f}, {100 * calibration.high:+.1f}]",
    ]


def _field(each: Found) -> str:
    return each["field"] if each["kind"] == "recipe" else f"{each['kind']}: {each['field']}"


def _valued(each: Found, label: str) -> str:
    value, who = each["values"][label], each["sources"][label]
    return f"{value} ({SOURCES.get(who, who)})" if who else value


def _said(side: Found) -> str:
    return f"{' / '.join(side['guesses'])} ({percent(side['given'])} for the truth)"


def _runs(found: Found) -> Html:
    heads, *rows = run_rows(found)
    return table([*heads[:3], *(f"{head}#" for head in heads[3:])], rows, caption="The runs", class_="dense")


def _comparisons(found: Found) -> Html:
    heads, *rows = comparison_rows(found)
    numbers = {"points", "p", "only it right", "only the other", "log-loss", "calibration error"}
    shown = [f"{head}#" if head in numbers else head for head in heads]
    return table(shown, rows, caption="Differences, 95 % intervals", class_="dense")


def _differences(found: Found) -> list[Html]:
    heads, *rows = difference_rows(found)
    if not rows:
        return [tag("p", NOTHING)]
    return [long_table(heads, rows, caption="Every setting in which they are not the same, and who chose it")]


def _classes(found: Found) -> list[Html]:
    shown: list[Html] = [note("Recall: how many pictures of a class were found. p is Holm's over the classes.")]
    for each in found["comparisons"]:
        heads, *rows = class_rows(each)
        cells = [[tag("bdi", row[0]), *row[1:]] for row in rows]
        shown.append(long_table([heads[0], *(f"{head}#" for head in heads[1:])], cells, caption=_pair(each)))
    return shown


def _pictures(found: Found) -> list[Html]:
    shown: list[Html] = []
    for each in found["comparisons"]:
        total = each["b"] + each["c"]
        if not each["pictures"]:
            shown.append(note(f"{_pair(each)}: none."))
            continue
        drawn = _thumbnails(found, each)
        heads, *rows = picture_rows(each)
        cells = [[_named(row[0], drawn), *map(_isolated, row[1:])] for row in rows]
        caption = f"{_pair(each)}: {len(rows)} of {count(total)}, those first where they are furthest apart"
        shown.append(long_table(heads, cells, caption=caption))
    return shown


def _named(name: str, drawn: Mapping[str, str]) -> Html:
    image = tag("img", src=drawn[name], alt="", width="48", height="48", class_="crisp") if name in drawn else None
    return join(image, " " if image else None, tag("bdi", name))


def _isolated(text: str) -> Html:
    return tag("bdi", text)


def _thumbnails(found: Found, each: Found) -> dict[str, str]:
    """Pictures of mistakes that the runs kept, by name."""
    drawn: dict[str, str] = {}
    for row in found["runs"]:
        if row["label"] in (each["label"], each["against_label"]):
            for reading in (Reading.of(RunFolder(Path(path))) for path in row["paths"]):
                for kept in reading.mistakes:
                    uri = data_uri(reading.folder.samples, str(kept.get("file")))
                    drawn |= {str(kept.get("name")): uri} if uri else {}
    return drawn


def _commands(found: Found) -> list[Html]:
    commands = [row["command"] for row in found["runs"] if row["command"]]
    return [tag("pre", tag("code", "\n".join(commands)), tabindex="0", role="region", aria_label="Commands")]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    heads, *rest = (f"| {' | '.join(map(_in_cell, cells))} |" for cells in rows)
    return "\n".join([heads, f"|{' --- |' * len(rows[0])}", *rest])


def _in_cell(text: str) -> str:
    """What would end a cell or a row, as what it looks like."""
    return " ".join(text.replace("|", "\\|").split())
