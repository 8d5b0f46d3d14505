"""The verdict of `netwright check` as a page: what was found, the worst first, with the pictures side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from netwright.report.background import balance
from netwright.report.html import Html, note, section, tag, with_code
from netwright.report.page import document
from netwright.report.tables import facts, long_table
from netwright.report.words import count, plural, split_name

TITLES = {"error": "To mend", "warning": "To look at", "note": "To know"}
MOST_LINES = 12
DIGITS = 0.01  # share below which more digits are shown
WORDS = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}


def page(verdict: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        verdict: as `Verdict.to_json` gives it.
        pictures: data URIs of some pictures, by their names.
    """
    found = {severity: [each for each in verdict["findings"] if each["severity"] == severity] for severity in TITLES}
    main = tag(
        "main",
        _headline(verdict, found),
        *(_findings(severity, found[severity], pictures) for severity in TITLES if found[severity]),
        _classes(verdict),
    )
    return document(f"{verdict['name']}: data check", _top(verdict, found), main, _end())


def _top(verdict: Mapping[str, Any], found: Mapping[str, Sequence[Any]]) -> Html:
    links = [tag("a", TITLES[severity], href=f"#{severity}") for severity in TITLES if found[severity]]
    links += [tag("a", "Classes", href="#classes")] if verdict["per_class"] else []
    below = note(tag("bdi", verdict["root"])) if verdict["root"] else None
    return tag("header", tag("h1", tag("bdi", verdict["name"])), below, tag("nav", *links, aria_label="Contents"))


def _headline(verdict: Mapping[str, Any], found: Mapping[str, Sequence[Any]]) -> Html:
    says = ", ".join(plural(len(found[each]), *WORDS[each]) for each in TITLES if found[each]) or "nothing found"
    parts = (
        tag("p", "Data check", class_="kicker"),
        tag("p", _sentence(verdict["conclusion"]), class_="headline"),
        tag("p", f"{says.capitalize()}.", class_="lead"),
        facts(_facts(verdict)),
    )
    return section("headline", "Verdict", *parts)


def _facts(verdict: Mapping[str, Any]) -> dict[str, object]:
    speed = verdict["images_per_second"]
    sides = {split_name(side): count(n) for side, n in verdict["splits"].items()} if verdict["per_class"] else {}
    readable = sum(verdict["splits"].values())
    return {
        "pictures": count(verdict["pictures"]),
        "of which can be read": None if readable == verdict["pictures"] else count(readable),
        "classes": count(len(next(iter(verdict["per_class"].values())))) if verdict["per_class"] else None,
        **sides,
        "checked": f"{count(round(speed))} images/s" if speed else None,
    }


def _findings(severity: str, findings: Sequence[Mapping[str, Any]], pictures: Mapping[str, str]) -> Html:
    return section(severity, TITLES[severity], *(_finding(each, pictures) for each in findings))


def _finding(found: Mapping[str, Any], pictures: Mapping[str, str]) -> Html:
    drawn = [each for each in found["examples"] if all(_key(item) in pictures for item in each)]
    named = [each for each in found["examples"] if each not in drawn]
    rest = found["count"] - len(found["examples"])
    return tag(
        "article",
        tag("h3", _sentence(found["title"])),
        tag("p", _sentence(found["detail"])) if found["detail"] else None,
        tag("p", tag("strong", "What to do: "), with_code(found["fix"])) if found["fix"] else None,
        _gallery(drawn, pictures) if drawn else None,
        _names(named) if named else None,
        note(f"and {count(rest)} more") if rest > 0 and found["examples"] else None,
        class_="finding",
    )


def _gallery(examples: Sequence[Sequence[Mapping[str, Any]]], pictures: Mapping[str, str]) -> Html:
    together = any(len(each) > 1 for each in examples)
    shown = (tag("div", *(_picture(item, pictures) for item in each), class_="set") for each in examples)
    return tag("div", *shown, class_="sets together" if together else "sets")


def _picture(item: Mapping[str, Any], pictures: Mapping[str, str]) -> Html:
    where = " · ".join(word for word in (split_name(item["side"]), item["label"]) if word)
    words = (tag("b", tag("bdi", where)), tag("small", item["says"]) if item["says"] else None)
    image = tag("img", src=pictures[_key(item)], alt="", loading="lazy", class_="crisp" if item.get("mask") else None)
    return tag("figure", image, tag("figcaption", *words, tag("small", tag("bdi", item["name"]))))


def _key(item: Mapping[str, Any]) -> str:
    return f"mask:{item['name']}" if item.get("mask") else item["name"]


def _names(examples: Sequence[Sequence[Mapping[str, Any]]]) -> Html:
    lines = [tag("li", *(_name(item) for item in each)) for each in examples]
    rest = lines[MOST_LINES:]
    more = tag("details", tag("summary", f"{count(len(rest))} more"), tag("ul", *rest)) if rest else None
    return tag("div", tag("ul", *lines[:MOST_LINES]), more, class_="names")


def _name(item: Mapping[str, Any]) -> Html:
    said = " · ".join(word for word in (item["label"], item["says"]) if word)
    return tag("div", tag("bdi", item["name"]), tag("span", f" {said}", class_="range") if said else None)


def _classes(verdict: Mapping[str, Any]) -> Html | None:
    if not verdict["per_class"]:
        return None
    return section("classes", "Classes", *_masks(verdict.get("masks") or {}), balance(verdict["per_class"]))


def _masks(masks: Mapping[str, Any]) -> list[Html]:
    """How masks are understood, and the share of the pixels that each class has; nothing for data without masks."""
    if not masks:
        return []
    names = [name for name in masks["classes"] if not (masks["background"] and name == masks["classes"][0])]
    # All sides on one scale: here it matters how much there is.
    most = max((each[name] for each in masks["pixels"].values() for name in names), default=0) or 1
    rows = [(tag("bdi", name), *(_bar(each[name], most) for each in masks["pixels"].values())) for name in names]
    head = ("class", *(split_name(side) for side in masks["pixels"]))
    nothing = {f"nothing on them: {split_name(side)}": count(n) for side, n in masks["empty"].items() if n}
    told = tag("p", f"Masks: {masks['encoding']}.")
    return [
        told,
        *([facts(nothing)] if nothing else []),
        long_table(head, rows, caption="Share of the pixels by class"),
    ]


def _bar(share: float, most: float) -> Html:
    shown = f"{100 * share:.2g} %" if share < DIGITS else f"{100 * share:.1f} %"
    return tag("span", tag("i", style=f"--share:{share / most:.3f}"), shown, class_="bar")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _end() -> Html:
    return tag("footer", "Written by netwright check. Nothing in the data was changed.")
