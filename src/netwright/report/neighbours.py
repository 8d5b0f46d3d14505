"""The neighbours of pictures as a page: the numbers, then the pictures side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.records.intervals import Interval
from netwright.report.html import Html, join, note, section, tag
from netwright.report.page import document
from netwright.report.tables import table
from netwright.report.words import UNKNOWN, count, percent, plural

TITLES = {
    "odd": ("Perhaps labelled wrongly", "None of these pictures' nearest, among all pictures, has their label, though "
            "others have it. First those whose neighbours agree most. Wrong labels gather here, and pictures unlike "
            "any other."),
    "worst": ("Worst", "Queries with the fewest neighbours of their own class; of these the surest first."),
    "best": ("Best", "Queries with the most neighbours of their own class; of these the least obvious first."),
    "some": ("Neighbours", "Some pictures and their nearest."),
}  # fmt: skip
SCORES = {"similarity": "cosine similarities", "distance": "distances"}
STYLE = """
.strip-of {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(6.2rem, 1fr)); gap: .7rem; margin: 0 0 1.6rem;
}
.strip-of figure { min-width: 0; }
.strip-of img, .strip-of .none {
  display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--raised);
}
.strip-of b, .strip-of small { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.strip-of small { padding: 0; }
.strip-of b { margin-top: .3rem; color: var(--ink); font-weight: 400; }
.strip-of .query img { outline: 3px solid var(--first); outline-offset: 2px; }
.strip-of .other b { color: var(--second); }
"""


@dataclass(frozen=True)
class Shown:
    """A picture on the page: its name, label, thumbnail; how near it is, and whether it fits, None for the query."""

    name: str
    label: str
    score: float | None
    fits: bool | None
    thumbnail: str | None


@dataclass(frozen=True)
class Strip:
    """A query and its neighbours, the nearest first."""

    query: Shown
    near: tuple[Shown, ...]


def page(
    *,
    title: str,
    against: str | None,
    says: str,
    k: int,
    score: str,
    measures: Sequence[Mapping[str, Any]],
    probe: str | None,
    odd: int,
    strips: Mapping[str, Sequence[Strip]],
    notes: Sequence[str],
) -> str:
    """The whole page.

    Args:
        title: name of the file of vectors.
        against: name of the file it is compared with.
        says: who was asked among whom.
        k: neighbours of each.
        score: what scores are: similarity or distance.
        measures: as `Measure.to_json` gives them.
        probe: how the probe's penalty was chosen.
        odd: how many pictures have a label that others have, but none of their nearest.
        strips: pictures, by part of the page.
        notes: sentences to show.
    """
    present = {part: found for part, found in strips.items() if found}
    links = [tag("a", TITLES[part][0], href=f"#{part}") for part in present]
    top = tag("header", tag("h1", tag("bdi", title)), note(f"{says[:1].upper()}{says[1:]}."), tag("nav", *links))
    parts = (_part(part, found, score) for part, found in present.items())
    main = tag(
        "main",
        _headline(measures, k),
        _table(measures, against, probe) if measures else None,
        tag("ul", *(tag("li", each) for each in notes), class_="notes") if notes else None,
        note(f"Perhaps labelled wrongly: {plural(odd, 'picture')}.") if measures else None,
        *parts,
    )
    return document(
        f"{title}: neighbours", tag("style", Html(STYLE)), top, main, tag("footer", "Written by netwright neighbours.")
    )


def rows_of(measures: Sequence[Mapping[str, Any]], against: str | None) -> list[list[str]]:
    """The numbers in words, a row each: name, ours, guessing, and the others' with the difference."""
    rows: list[list[str]] = []
    for each in measures:
        row = [
            each["name"],
            in_percent(Interval.from_json(each)),
            f"{percent(each['floor']['value'])} ({each['floor']['says']})",
        ]
        if against is not None:
            row += [in_percent(Interval.from_json(each["against"])), _difference(each)]
        rows.append(row)
    return rows


def in_percent(interval: Interval) -> str:
    """With its interval, or without one where there are too few to have any."""
    if math.isnan(interval.low):
        return f"{percent(interval.value)} (no interval: {plural(interval.n, 'query', 'queries')})"
    return interval.percent()


def _difference(measure: Mapping[str, Any]) -> str:
    found = Interval.from_json(measure["difference"])
    if math.isnan(found.low):
        return f"{100 * found.value:+.1f} (no interval: {plural(found.n, 'query', 'queries')})"
    said = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return said if measure["resolved"] else f"{said} not resolved"


def _headline(measures: Sequence[Mapping[str, Any]], k: int) -> Html | None:
    if not measures:
        return None
    first = Interval.from_json(measures[0])
    floor = measures[0]["floor"]
    bounds = tag("span", f" [{100 * first.low:.1f}, {100 * first.high:.1f}]", class_="range")
    return section(
        "headline",
        "Result",
        tag("p", f"Precision at {k}", class_="kicker"),
        tag("p", percent(first.value), None if math.isnan(first.low) else bounds, class_="headline"),
        tag(
            "p",
            f"of the {k} nearest of a picture have its label; in any order {percent(floor['value'])} would.",
            class_="lead",
        ),
    )


def _table(measures: Sequence[Mapping[str, Any]], against: str | None, probe: str | None) -> Html:
    heads = ["", "these vectors#", "guessing#", *([f"{against}#", "difference, points#"] if against else [])]
    n = count(int(measures[0]["n"]))
    caption = f"95 % intervals over {n} queries; differences are paired, picture by picture"
    said = note(f"Linear probe: {probe}.") if probe else None
    return section(
        "numbers", "Numbers", table(heads, rows_of(measures, against), caption=caption, class_="dense"), said
    )


def _part(part: str, strips: Sequence[Strip], score: str) -> Html:
    title, says = TITLES[part]
    return section(part, title, note(says, f" Numbers are {SCORES[score]}."), *(_row(strip, score) for strip in strips))


def _row(strip: Strip, score: str) -> Html:
    shown = [_figure(strip.query, "query", "looked for")]
    for each in strip.near:
        other = "other" if each.fits is False else None
        shown.append(_figure(each, other, f"{each.score:.3f}"))
    return tag("div", *shown, class_="strip-of")


def _figure(shown: Shown, kind: str | None, says: str) -> Html:
    where = {"src": shown.thumbnail, "alt": f"{shown.label or 'a picture'}: {shown.name}", "title": shown.name}
    image = tag("img", **where, loading="lazy") if shown.thumbnail else tag("div", class_="none")
    words = join(tag("b", tag("bdi", shown.label or UNKNOWN)), tag("small", says), tag("small", tag("bdi", shown.name)))
    return tag("figure", image, tag("figcaption", words), class_=kind)
