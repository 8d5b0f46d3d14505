"""HTML from small pure functions. Only `Html` is taken as markup; every other text is escaped."""

import html
import re

VOID = {"br", "col", "img", "input", "meta"}
# What HTML forbids, and what turns the direction of the text that follows.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Html(str):
    """Text that is markup already, and is not escaped again."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Any value as text in a page; markup stays as it is."""
    if isinstance(value, Html):
        return value
    # File and class names are anything a disk can hold: bytes that are no text, and control characters.
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return Html(html.escape(CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)))


def join(*children: object) -> Html:
    """Children one after the other; None is left out."""
    return Html("".join(escape(child) for child in children if child is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. `class_` means class, `aria_label` means aria-label; an attribute that is None is left out."""
    given = (
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    start = f"<{name}{''.join(given)}>"
    return Html(start if name in VOID else f"{start}{join(*children)}</{name}>")


def section(identity: str, title: str, *children: object) -> Html:
    """One part of the page under its heading."""
    heading = tag("h2", title, id=f"{identity}-title")
    return tag("section", heading, *children, id=identity, aria_labelledby=f"{identity}-title")


def with_code(text: str) -> Html:
    """Text in which backquotes mark what is to be typed."""
    return join(*(tag("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))))


def note(*children: object) -> Html:
    """A quiet sentence, also where something is missing."""
    return tag("p", *children, class_="note")
