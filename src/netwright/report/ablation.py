"""An ablation as a page, a table and pictures: which trick helps here, how sure that is, and what it costs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from netwright.core.errors import NetwrightError
from netwright.records.atomic import write_atomic
from netwright.report import factorial, forest, pareto
from netwright.report.ablation_curves import curves_section
from netwright.report.ablation_markdown import markdown, pictures_of
from netwright.report.ablation_method import (
    below,
    coverage_words,
    looks_rows,
    looks_words,
    machine,
    measured_words,
    protocol,
    rules,
)
from netwright.report.ablation_rows import display_name, rows_section
from netwright.report.ablation_terms import Found
from netwright.report.ablation_words import TELL, answer, legend, rows_of, whole_rows, words
from netwright.report.html import Html, note, section, tag
from netwright.report.page import document
from netwright.report.tables import facts, table

__all__ = ["markdown", "page", "rows_of", "words", "write"]

FILE = "ablation.json"
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
    rows = [[display_name(row[0]), *row[1:3], display_name(row[3], 14), *row[4:]] for row in rows]
    first = [place for place, head in enumerate(heads) if place < heads.index("time") or head == TELL]
    rest = [0, *(place for place in range(len(heads)) if place not in first)]
    heads = [head if head in (heads[0], "verdict") else f"{head}#" for head in heads]

    def part(places: Sequence[int], caption: str) -> Html:
        cells = [[row[place] for place in places] for row in rows]
        return table([heads[place] for place in places], cells, caption=caption, class_="dense")

    captions = ("Every effect, 95 % intervals over seeds and pictures", "What else it changes, 95 % intervals")
    return section("table", "In numbers", part(first, captions[0]), part(rest, captions[1]), note(legend(found)))


def _pareto(found: Found) -> Html:
    key = "Filled: on the front. Diamond: the baseline. Lines up and down: 95 % intervals over seeds and pictures."
    words = pareto.front_words(found)
    drawn = [pareto.figure(found), note(key)] if pareto.points(found) else []
    return section("pareto", "What it costs", tag("p", words), *drawn)


def _factorial(found: Found) -> Html | None:
    return section("interactions", "Interactions", *factorial.section_parts(found)) if found.get("factorial") else None


def _method(found: Found) -> Html:
    parts = [tag("p", sentence) for sentence in measured_words(found)]
    covered = tag("ul", *(tag("li", sentence) for sentence in coverage_words(found)), class_="notes")
    tested = tag("ul", *(tag("li", sentence) for sentence in rules(found)), class_="notes")
    heads = (tag("h3", "What intervals cover"), tag("h3", "How verdicts come about"))
    return section("method", "How sure this is", *parts, heads[0], covered, heads[1], tested)


def _looks(found: Found) -> Html | None:
    if not found.get("looks"):
        return None
    rows = looks_rows(found)
    drawn = table(rows[0], rows[1:], caption="Every look", class_="dense") if rows else None
    return section("looks", "Looking repeatedly", tag("p", looks_words(found)), drawn)


def _again(found: Found) -> Html:
    commands = found.get("commands") or []
    parts = [_code("\n".join(commands))] if commands else [note("The command was not kept.")]
    each = [f"# {' '.join(row['name'].split())}\n{row['command']}" for row in found["rows"] if row.get("command")]
    if each:
        parts.append(tag("details", tag("summary", "One row of it alone"), _code("\n\n".join(each))))
    held = note("Everything on this page, for programs: ", tag("code", FILE), " beside it.")
    return section("again", "To run it again", *parts, facts(protocol(found)), facts(machine(found)), held)


SECTIONS: tuple[Callable[[Found], Html | None], ...] = (
    _answer, _forest, _table, _pareto, curves_section, _factorial, _method, _looks, rows_section, _again,
)  # fmt: skip


def _code(text: str) -> Html:
    # One click takes it whole; the page runs no script that could copy.
    return tag("pre", tag("code", text, style="user-select: all"))
