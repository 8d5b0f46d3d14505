"""The map: a page without a script that asks nobody for anything, and a picture of any classes."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from netwright.report.map import COLOURS, MARKERS, SIGNS, Point, fitted, map_page, map_picture, ordered

URI = "data:image/jpeg;base64,AAAA"


def points(n: int = 30, label: str = "class {}", classes: int = 3) -> list[Point]:
    draw = np.random.default_rng(0)
    return [
        Point(*draw.normal(size=2).tolist(), f"<{i}>.jpg", label.format(i % classes), "test", URI if i % 2 else None)
        for i in range(n)
    ]


def test_the_page_is_self_contained_and_escapes_names() -> None:
    page = map_page(points(label="<script>{}"), title="a <b>", says=["ask `netwright neighbours`."])
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "http://" not in page
    assert "https://" not in page
    assert page.count('tabindex="0"') == 30
    assert page.count(URI) == 15
    assert "<code>netwright neighbours</code>" in page
    assert "prefers-color-scheme: dark" in page
    assert "<input " in page
    assert "</input>" not in page
    for number in range(3):
        assert f"&lt;script&gt;{number}" in page


def test_without_pictures_there_is_nothing_to_switch() -> None:
    bare = [Point(0.0, 0.0, "a", "", "", None), Point(1.0, 1.0, "b", "", "", None)]
    page = map_page(bare, title="t", says=[])
    assert "checkbox" not in page
    assert "no label" in page


def test_56_classes_differ_and_more_are_told() -> None:
    assert len({(COLOURS[k % len(COLOURS)], SIGNS[k % len(SIGNS)]) for k in range(56)}) == 56
    assert len(MARKERS) == len(SIGNS)
    assert "60 classes share 56 signs" in map_page(points(120, classes=60), title="t", says=[])


def test_both_axes_have_one_scale() -> None:
    given = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 2.0]])
    shares, ratio = fitted(given)
    assert ratio == pytest.approx(1.5)
    assert ((shares >= 0) & (shares <= 1)).all()
    wide, high = (shares[1] - shares[0])[0] * ratio, (shares[1] - shares[2])[1]
    assert wide / high == pytest.approx(3 / 2)
    assert fitted(np.array([[0.0, 0.0], [9.0, 0.1]]))[1] == 2
    assert fitted(np.array([[0.0, 0.0], [0.1, 9.0]]))[1] == pytest.approx(0.8)
    alone, _ = fitted(np.zeros((3, 2)))
    assert np.allclose(alone, 0.5)


def test_no_label_comes_last() -> None:
    assert ordered(["b", "", "a", "b"]) == ["a", "b", ""]


@pytest.mark.parametrize("label", ["class {}", "${}$ \\frac", "_{}", "犬{}", "a\x00b\udcff{}", ""])
def test_any_class_name_can_be_drawn(label: str) -> None:
    given = points(40, label, 3)
    at = np.array([[point.x, point.y] for point in given])
    labels = [point.label for point in given]
    for ending in (".png", ".svg"):
        drawn = map_picture(ending, at, labels, title="$t$", says=["says `this`"])
        if ending == ".png":
            assert Image.open(io.BytesIO(drawn)).size == (1200, 900)
        else:
            assert b"<svg" in drawn
            assert drawn == map_picture(ending, at, labels, title="$t$", says=["says `this`"])


def test_a_picture_names_forty_classes_and_says_that_there_are_more() -> None:
    given = points(200, classes=90)
    at = np.array([[point.x, point.y] for point in given])
    drawn = map_picture(".svg", at, [point.label for point in given], title="t", says=[])
    assert b"40 of 90 classes" in drawn
