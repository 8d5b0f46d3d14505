"""The page of a data check: complete, escaped, self-contained, whatever the files are called."""

from html.parser import HTMLParser
from typing import Any

import pytest

from netwright.report.check import MOST_LINES, page
from tests.report.synthetic import HOSTILE

PICTURE = "data:image/jpeg;base64,AAAA"


def item(name: str, side: str = "train", label: str = "cat", says: str = "") -> dict[str, Any]:
    return {"name": name, "place": 0, "side": side, "label": label, "says": says}


def finding(severity: str, *examples: list[dict[str, Any]], count: int = 0, **fields: str) -> dict[str, Any]:
    texts = {"kind": "any", "title": "cut short: 1 file", "detail": "", "fix": ""} | fields
    return {"severity": severity, **texts, "count": count or len(examples), "examples": list(examples), "leave_out": {}}


def verdict(*findings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    given = {
        "passed": False,
        "conclusion": "1 thing to mend before training",
        "name": "pets",
        "root": "/data/pets",
        "pictures": 1200,
        "splits": {"train": 900, "val": 299},
        "per_class": {"train": {"cat": 500, "dog": 400}, "val": {"cat": 200, "dog": 99}},
        "findings": list(findings),
        "images_per_second": 412.3,
    }
    return given | fields


class Read(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_verdict_comes_first_and_the_worst_before_the_rest() -> None:
    found = [finding("error", title="empty: 1 file"), finding("warning", title="tiny"), finding("note", title="grey")]
    text = Read(page(verdict(*found), {})).text
    places = [
        text.index(w)
        for w in (
            "1 thing to mend before training",
            "1 error, 1 warning, 1 note.",
            "Empty: 1 file",
            "Tiny",
            "Grey",
            "Classes",
        )
    ]
    assert places[:2] == sorted(places[:2]) and places[2:5] == sorted(places[2:5])
    assert "1\N{NARROW NO-BREAK SPACE}200" in text and "412 images/s" in text and "training" in text


def test_pictures_are_side_by_side_and_the_others_are_named() -> None:
    pair = [item("a.jpg"), item("b.jpg", "test", says="flipped")]
    lost = [item("c.jpg", "", "", "truncated JPEG")]
    read = Read(page(verdict(finding("error", pair, lost, count=9)), {"a.jpg": PICTURE, "b.jpg": PICTURE}))
    assert [given.get("src") for tag, given in read.tags if tag == "img"] == [PICTURE, PICTURE]
    assert sum(given.get("class") == "set" for _, given in read.tags) == 1
    assert "c.jpg truncated JPEG" in read.text and "and 7 more" in read.text
    assert "training · cat" in read.text and "test · catflipped" in read.text


def test_long_lists_are_folded() -> None:
    examples = [[item(f"{number}.jpg", says="empty file")] for number in range(MOST_LINES + 3)]
    read = Read(page(verdict(finding("error", *examples)), {}))
    assert [tag for tag, _ in read.tags].count("details") == 1 and "3 more" in read.text


@pytest.mark.fault(33, "names of files and classes are shown as text, whatever is in them")
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(name: str) -> None:
    found = finding("error", [item(name, label=name, says=name)], title=name, detail=name, fix=f"`{name}`")
    drawn = page(verdict(found, name=name, root=name, per_class={"train": {name: 3}}), {name: PICTURE})
    assert {tag for tag, _ in Read(drawn).tags} <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "header",
            "h1",
            "h2",
            "h3",
            "p",
            "nav",
            "a",
            "main",
            "section",
        ),
        *(
            "article",
            "strong",
            "code",
            "div",
            "figure",
            "img",
            "figcaption",
            "b",
            "small",
            "bdi",
            "span",
            "footer",
            "dl",
        ),
        *("dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td", "i"),
    }
    assert "onerror" not in str([given for _, given in Read(drawn).tags])
    drawn.encode("utf-8")


def test_nothing_is_fetched_and_no_script_runs() -> None:
    pair = [item("a.jpg"), item("b.jpg")]
    read = Read(page(verdict(finding("error", pair)), {"a.jpg": PICTURE, "b.jpg": PICTURE}))
    policy = next(given["content"] for tag, given in read.tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'")
    assert not [tag for tag, _ in read.tags if tag in ("script", "link", "iframe")]
    links = [given.get("src") or given.get("href") or "" for _, given in read.tags]
    assert all(link == "" or link.startswith(("data:", "#")) for link in links)


def test_data_without_classes() -> None:
    drawn = page(verdict(splits={"all": 1200}, per_class={}, images_per_second=None, root=""), {})
    text = Read(drawn).text
    assert "Classes" not in text and "images/s" not in text and "Nothing found." in text
