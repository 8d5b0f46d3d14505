"""The sections about what the network looks at: what is there is shown, what is not is said, and no page is lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from netwright.records.folder import RunFolder
from netwright.records.intervals import wilson
from tests.report.synthetic import HOSTILE, write_run
from tests.report.test_report import Elements, text_of, written


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path, HOSTILE, sharpness=1.0)


def changed(run: RunFolder, **fields: Any) -> None:
    path = run.samples / "seeing.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_everything_that_was_kept_is_shown(run: RunFolder) -> None:
    page = written(run)
    text = text_of(page)
    for told in ("They look trained.", "Stage 0: mean, channel 3.", "98.7 % sure", "1 of 3 classes are shown"):
        assert told in text
    assert "Dreams was left out: <i>they take long</i>." in text
    assert "<i>they" not in page
    shown = [attributes for name, attributes in Elements(page).starts if name == "img"]
    assert sum("where the network looked" in str(each["alt"]) for each in shown) == 3


def test_heat_lies_beside_the_first_mistakes_only(run: RunFolder) -> None:
    page = written(run)
    assert "Beside the first 2, where the network saw the class that it guessed" in text_of(page)
    pictures = len(json.loads((run.samples / "mistakes.json").read_text()))
    pairs = [a for name, a in Elements(page).starts if name == "div" and a.get("class") == "pair"]
    assert len(pairs) == pictures + 1  # and the right one


def test_mistakes_by_class_have_an_interval(run: RunFolder) -> None:
    text = text_of(written(run))
    interval = wilson(3, 40)
    assert f"3 of 40 {100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]" in text


def test_runs_from_before_have_a_report(run: RunFolder) -> None:
    for name in ("seeing.json", "by_class.json"):
        (run.samples / name).unlink()
    text = text_of(written(run))
    assert "No pictures of what the network sees were kept." in text
    assert "No pictures of mistakes were kept by class." in text
    assert "Grad-CAM" not in text


@pytest.mark.parametrize("name", ["seeing.json", "by_class.json"])
@pytest.mark.parametrize("content", [b"", b"[1, 2", b"[]", b"{}", b'"word"', b"[[1], 2, {}]", b"\xff\xfe"])
def test_damage_costs_a_section_at_most(run: RunFolder, name: str, content: bytes) -> None:
    (run.samples / name).write_bytes(content)
    written(run)


@pytest.mark.parametrize(
    "fields",
    [
        {"heats": ["../../record.json", "seeing/none.png"]},
        {"kernels": {"file": "/etc/passwd"}},
        {"stages": [1, {"file": None}], "right": [None, {}], "left_out": ["x", {}], "example": {}},
    ],
)
def test_only_pictures_in_the_folder_are_shown(run: RunFolder, fields: dict[str, Any]) -> None:
    changed(run, **fields)
    page = written(run)
    assert "passwd" not in page
    assert "data:application" not in page


def test_occlusion_dreams_and_the_test_of_a_map_are_shown(run: RunFolder) -> None:
    kept = json.loads((run.samples / "seeing.json").read_text())
    file, heat = kept["right"][0]["file"], kept["right"][0]["heat"]
    entry = {
        "file": file,
        "heat": heat,
        "name": "7.jpg",
        "truth": "<b>a",
        "guess": "b",
        "confidence": 0.9,
        "fall": 0.25,
    }
    dream = {"file": file, "class": "<b>a", "note": "Its mean answer rose from 1 to 2 in 24 steps."}
    changed(
        run,
        occlusion={"rows": [entry, {**entry, "guess": "<b>a"}], "wrong": True, "size": 8, "side": 32},
        dreams={"rows": [dream], "classes": 3, "wrong": True},
        faithful={"name": "7.jpg", "truth": "<b>a", "verdict": "the map is better than chance"},
    )
    page = written(run)
    text = text_of(page)
    for told in (
        "What covering a place costs In its worst mistakes. A square of 8 pixels",
        "<b>a taken for b",
        "90.0 % sure, 25.0 points less at the worst place",
        "1 class of 3, those with the most mistakes first.",
        "rose from 1 to 2",
        ": the map is better than chance. One picture was tested",
    ):
        assert told in text, told
    assert "<b>a" not in page


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"rows": None}, {"rows": [1, {}]}, {"rows": [{"fall": "x"}]}])
@pytest.mark.parametrize("name", ["occlusion", "dreams", "faithful"])
def test_what_is_broken_in_them_costs_nothing_else(run: RunFolder, name: str, value: Any) -> None:
    changed(run, **{name: value})
    page = written(run)
    assert "could not be drawn" not in page
