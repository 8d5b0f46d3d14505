"""An ablation in Markdown, for a page of documentation, and which pictures go with it."""

from collections.abc import Callable, Mapping, Sequence

from netwright.report import factorial, forest, pareto
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
from netwright.report.ablation_terms import Found
from netwright.report.ablation_words import answer, legend, whole_rows
from netwright.report.html import Html, escape, join
from netwright.report.words import UNKNOWN


def markdown(found: Found) -> str:
    """A page for documentation: the answer, pictures, the table, how it was measured, the machine, the commands."""
    pictures = pictures_of(found)
    parts = [f"# {_in_line(found['title'])}", _in_line(below(found)), _in_line(" ".join(answer(found)))]
    parts += [_listed(found["notes"])] if found.get("notes") else []
    if found["arms"]:
        parts += ["![Effects with their intervals](forest.png)", _markdown_table(whole_rows(found)), legend(found)]
    parts += [
        "## What it costs",
        "![Accuracy against the time of a run](pareto.png)",
        _in_line(pareto.front_words(found)),
    ]
    if found.get("factorial"):
        parts += ["## Interactions", _in_line(factorial.design_words(found))]
        aliases = factorial.alias_rows(found)
        parts += [_markdown_table(aliases)] if aliases[1:] else []
        parts += ["![Half-normal plot](half_normal.png)"] if "half_normal.png" in pictures else []
        two = [_markdown_table(factorial.two_way_rows(found)), f"{factorial.TWO_WAY}."]
        parts += ["![Two tricks at a time](interactions.png)", *two] if "interactions.png" in pictures else []
    parts += [
        "## How it was measured",
        _in_line(" ".join(measured_words(found))),
        _listed(coverage_words(found)),
        _listed(rules(found)),
    ]
    parts += _looks(found)
    parts += ["## Machine", _in_line(_facts_line(machine(found) | protocol(found)))]
    if found.get("commands"):
        parts += ["## Again", _fenced("\n".join(found["commands"]))]
    return "\n\n".join(parts) + "\n"


def _looks(found: Found) -> list[str]:
    """Why and when was looked; nothing where all seeds were chosen beforehand."""
    if not found.get("looks"):
        return []
    rows = looks_rows(found)
    said = _in_line(looks_words(found))
    return ["## Looking repeatedly", said, *([_markdown_table(rows)] if rows else [])]


def pictures_of(found: Found) -> dict[str, Callable[[Found], bytes]]:
    """The pictures that there is something for, by file name."""
    drawn: dict[str, Callable[[Found], bytes]] = {"forest.png": forest.picture, "pareto.png": pareto.picture}
    if found.get("factorial") and found["factorial"].get("half_normal"):
        drawn["half_normal.png"] = factorial.half_normal_picture
    if found.get("factorial") and factorial.pairs(found):
        drawn["interactions.png"] = factorial.interactions_picture
    return drawn


def _in_line(text: str) -> str:
    """Text as Markdown shows it, on one line."""
    flat = " ".join(escape(text).replace("&#x27;", "'").replace("&quot;", '"').split())
    return "".join(f"\\{letter}" if letter in "*_`[]#|\\" and letter not in "[]" else letter for letter in flat)


def _markdown_table(rows: Sequence[Sequence[str]]) -> str:
    heads, *rest = (f"| {' | '.join(map(_in_line, cells))} |" for cells in rows)
    kinds = [
        "---" if place == 0 or head == "verdict" or len(rows[0]) == 2 else "---:" for place, head in enumerate(rows[0])
    ]
    return "\n".join([heads, f"| {' | '.join(kinds)} |", *rest])


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_in_line(sentence)}" for sentence in sentences)


def _facts_line(pairs: Mapping[str, object]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in pairs.items() if value not in (None, "", UNKNOWN)) + "."


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return join(
        Html(f"{fence}console\n"), Html("\n".join(f"$ {line}" for line in text.split("\n"))), Html(f"\n{fence}")
    )
