"""The page: complete, self-contained, escaped, true to the record, and never a crash."""

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netwright.core.errors import NetwrightError
from netwright.records.folder import RunFolder
from netwright.records.intervals import Interval, wilson
from netwright.report import write_report
from netwright.report.calibration import calibration_error, reliability
from netwright.report.confusion import by_class, confusion, most_confused
from netwright.report.html import Html, escape, tag
from netwright.report.page import CONTENTS
from netwright.report.reading import Reading
from netwright.report.tables import recipe_table
from netwright.report.words import duration, moment, number, size
from tests.report.synthetic import HOSTILE, rows, write_run

SECTIONS = [
    "headline",
    "curves",
    "confusion",
    "classes",
    "calibration",
    "mistakes",
    "surest",
    "seeing",
    "augmented",
    "data",
    "recipe",
    "machine",
]


class Elements(HTMLParser):
    """Every start tag with its attributes, ids, and whether tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(page: str) -> str:
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    page = re.sub(r"</?(p|div|t[dhr]|h\d|d[td]|a|li|caption|figcaption)\b[^>]*>", " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())


def written(folder: RunFolder) -> str:
    page = write_report(folder.path).read_text("utf-8")
    assert "could not be drawn" not in page
    assert Elements(page).open == []
    return page


def changed(folder: RunFolder, **fields: Any) -> None:
    folder.write_record(folder.record() | fields)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path, HOSTILE)


@pytest.fixture
def page(run: RunFolder) -> str:
    return written(run)


def test_every_section_is_there_in_order(page: str) -> None:
    assert re.findall(r'<section id="(\w+)"', page) == SECTIONS
    assert set(CONTENTS) < set(SECTIONS)


def test_the_page_is_alone(page: str) -> None:
    for name, attributes in Elements(page).starts:
        assert name not in {"script", "link", "iframe", "object", "embed", "base"}
        assert not [key for key in attributes if key.startswith("on")]
        source = attributes.get("src") or attributes.get("href") or attributes.get("xlink:href") or "#"
        assert source.startswith(("#", "data:image/png;base64,", "data:image/jpeg;base64,"))
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", page))
    assert not re.search(r"@import|url\((?!#)", page)


def test_names_are_text_and_nothing_else(page: str) -> None:
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("</style>") == 1
    assert "<b>bad.jpg" not in page
    assert not re.search("[\u202e\udc00-\udfff]", page)
    assert "日本" in page
    assert "$x_1$" in text_of(page)


def test_the_data_folder_is_not_told(page: str, run: RunFolder) -> None:
    assert "/secret" not in page
    assert str(run.path.parent) not in page


def test_numbers_are_those_of_the_record(page: str, run: RunFolder) -> None:
    record, text = run.record(), text_of(page)
    for split in ("val", "test"):
        assert Interval.from_json(record["result"]["splits"][split]["accuracy"]).percent() in text
    loss = record["result"]["splits"]["test"]["loss"]
    assert f"{loss['value']:.4g} [{loss['low']:.4g}, {loss['high']:.4g}]" in text
    for told in ("12, best 9", "4 min 10 s", "312 images/s", "1.23", "mixup(alpha=0.4)", "c0ffee012345, with changes"):
        assert told in text
    for told in (record["command"], "truncated after 1,024 bytes", "224 × 224", "0.485, 0.456, 0.406", "torch 2.10.0"):
        assert told in text


def test_the_baseline_is_the_most_frequent_training_class(page: str, run: RunFolder) -> None:
    splits = run.record()["data"]["splits"]
    most = max(splits["train"]["per_class"], key=splits["train"]["per_class"].get)
    share = splits["test"]["per_class"][most] / splits["test"]["n"]
    assert f"would give {100 * share:.1f} %." in text_of(page)


def test_user_values_stand_out(page: str) -> None:
    assert '<strong>resnet18</strong></td><td><strong class="user">you</strong>' in page
    assert "<td>0.003</td><td>chosen for you</td>" in page


def test_ids_are_unique_and_pictures_have_words(page: str) -> None:
    starts = Elements(page).starts
    ids = [attributes["id"] for _, attributes in starts if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [str(attributes["href"])[1:] for _, attributes in starts if attributes.get("href")]
    assert set(links) <= set(ids)
    assert all(attributes.get("alt") for name, attributes in starts if name == "img")
    assert all(attributes.get("aria-label") for name, attributes in starts if name == "svg")
    assert all(attributes.get("scope") for name, attributes in starts if name == "th")


def test_figures_take_the_colours_of_the_page(page: str) -> None:
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) == 4
    assert all("var(--first)" in figure or "var(--muted)" in figure for figure in figures)
    assert not re.search(r"#0[1-5]0[1-5]0[1-5]", "".join(figures))


def test_the_same_run_gives_the_same_page(run: RunFolder) -> None:
    assert written(run) == written(run)


@pytest.mark.parametrize("gone", ["metrics.jsonl", "evaluation.npz", "samples", "record.json", "checkpoints"])
def test_whatever_is_missing_the_rest_is_shown(run: RunFolder, gone: str) -> None:
    path = run.path / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert re.findall(r'<section id="(\w+)"', written(run)) == SECTIONS


@pytest.mark.parametrize("broken", ["metrics.jsonl", "evaluation.npz", "samples/mistakes.json", "record.json"])
@pytest.mark.parametrize("content", [b"", b"[[[", b"PK\x03\x04 torn", b"3", b"[1, null]"])
def test_whatever_is_broken_the_rest_is_shown(run: RunFolder, broken: str, content: bytes) -> None:
    (run.path / broken).write_bytes(content)
    assert re.findall(r'<section id="(\w+)"', written(run)) == SECTIONS


PARTS = [
    "name",
    "data",
    "model",
    "device",
    "versions",
    "git",
    "result",
    "tricks",
    "recipe",
    "sources",
    "seed",
    "resumed",
]


@pytest.mark.parametrize("key", PARTS)
def test_any_part_of_the_record_may_be_missing_or_empty(run: RunFolder, key: str) -> None:
    for value in (None, {}):
        changed(run, **{key: value})
        written(run)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_file_that_rotted_on_disk_is_no_crash(run: RunFolder, place: float) -> None:
    with np.load(run.evaluation_file) as arrays:
        np.savez_compressed(run.evaluation_file, **dict(arrays))
    content = bytearray(run.evaluation_file.read_bytes())
    start = int(place * len(content))
    content[start : start + 40] = b"\xff" * 40
    run.evaluation_file.write_bytes(content)
    written(run)


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "new")
    run.write_record({"format": 1, "status": "running", "name": "new"})
    text = text_of(written(run))
    assert "Nothing has been measured yet." in text
    assert "still going" in text
    assert "No epoch has ended yet" in text


def test_an_interrupted_run_tells_how_far_it_came(run: RunFolder) -> None:
    run.evaluation_file.unlink()
    changed(run, status="interrupted", result={"epochs": 3, "stopped": "SIGTERM"})
    text = text_of(written(run))
    assert "This run was interrupted: SIGTERM. It can be resumed" in text
    assert f"After epoch 12 the validation accuracy is {100 * rows(12)[-1]['val_accuracy']:.1f} %" in text


def test_a_failed_run_says_why(run: RunFolder) -> None:
    changed(run, status="failed", problem="the loss is NaN")
    assert "This run failed: the loss is NaN." in text_of(written(run))


def test_without_a_test_split_validation_is_the_headline(run: RunFolder) -> None:
    changed(run, result={"splits": {"val": {"accuracy": wilson(20, 60)}}})
    text = text_of(written(run))
    assert "Validation accuracy 33.3 % [22.7, 45.9]" in text
    assert "hold back a test split" in text
    assert "no certain difference from this result" in text


def test_metrics_that_are_not_accuracy(run: RunFolder) -> None:
    run.evaluation_file.unlink()
    iou = {"value": 0.61, "low": 0.5, "high": 0.7, "n": 9, "method": "bca"}
    changed(run, result={"splits": {"test": {"loss": {**iou, "value": None}, "mean_iou": iou}}})
    assert "Test mean IoU 61.0 % [50.0, 70.0]" in text_of(written(run))


def test_losses_that_are_not_finite_leave_gaps(run: RunFolder) -> None:
    run.metrics_file.unlink()
    for row in rows(3):
        run.append_metrics(row | {"train_loss": float("nan"), "val_loss": 1e9 if row["epoch"] == 2 else 1e-9})
    assert written(run).count("<svg") == 4


def test_one_epoch_is_a_curve_too(run: RunFolder) -> None:
    run.write_metrics(run.metrics()[:1])
    assert written(run).count("<svg") == 4


def test_many_classes_become_the_most_confused_pairs(tmp_path: Path) -> None:
    run = write_run(tmp_path, [f"kind {number}" for number in range(60)], n=600, sharpness=2)
    page = written(run)
    assert 'class="confusion"' not in page
    assert "The 20 most frequent mistakes among 60 classes" in text_of(page)
    assert "<summary>20 more</summary>" in page


def test_pictures_outside_the_samples_are_not_taken_in(run: RunFolder) -> None:
    secret = run.path.parent / "secret.png"
    secret.write_bytes(b"secret")
    entry = {"file": "../../secret.png", "name": "x", "truth": "a", "guess": "b", "confidence": None}
    (run.samples / "mistakes.json").write_text(json.dumps([entry, {"file": "log.txt"}, {}]))
    assert "c2VjcmV0" not in written(run)


def test_labels_out_of_range_and_nan_are_left_out(run: RunFolder) -> None:
    with np.load(run.evaluation_file) as arrays:
        kept = dict(arrays)
    kept["labels"][:3] = (-1, 99, 0)
    kept["probabilities"][2] = np.nan
    np.savez(run.evaluation_file, **kept)
    seen = Reading.of(run).evaluation
    assert seen is not None
    assert len(seen.labels) == len(seen.names) == 117
    written(run)


def test_a_section_that_fails_does_not_cost_the_others(run: RunFolder) -> None:
    changed(run, tricks=[3])
    page = write_report(run.path).read_text("utf-8")
    assert page.count("could not be drawn") == 1
    assert re.findall(r'<section id="(\w+)"', page) == SECTIONS


def test_no_run_no_report(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="there is no run"):
        write_report(tmp_path / "nothing")


def test_ten_classes_take_less_than_three_seconds(tmp_path: Path) -> None:
    run = write_run(tmp_path, [f"kind {number}" for number in range(10)], n=400)
    # Processor time, imports included: the clock on the wall also measures what else the machine does.
    code = f"""
import time
from pathlib import Path
from netwright.report import write_report
write_report(Path({str(run.path)!r}))
print(time.process_time())
"""
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert float(told) < 3


def test_the_report_needs_no_torch() -> None:
    code = "import sys, netwright.report.page; assert not {'torch', 'sqlalchemy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_confusion_counts() -> None:
    labels, guesses = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2])
    counts = confusion(labels, guesses, 4)
    assert counts.tolist() == [[1, 2, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert most_confused(counts) == [(0, 1, 2), (1, 0, 1)]
    results = by_class(counts)
    assert [result.index for result in results] == [0, 1, 2, 3]
    assert results[0].recall == wilson(1, 3)
    assert results[0].precision == wilson(1, 2)
    assert (results[0].confused_with, results[0].confused) == (1, 2)
    assert results[2].confused_with is None


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, True, False])
    error = calibration_error(confidence, correct)
    assert error.value == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)
    assert error.low <= error.value <= error.high
    low, high = reliability(confidence, correct)
    assert (low.accuracy, high.accuracy) == (wilson(1, 2), wilson(3, 4))
    assert (low.confidence, high.confidence) == pytest.approx((0.55, 0.95))


def test_confidence_of_0_and_1_falls_into_the_outer_bins() -> None:
    first, last = reliability(np.array([0.0, 1.0]), np.array([False, True]))
    assert (first.low, last.high) == (0, 1)


def test_html_is_escaped_once() -> None:
    assert tag("p", "a < b", tag("b", "&"), class_='"') == '<p class="&quot;">a &lt; b<b>&amp;</b></p>'
    assert escape(Html("<i>")) == "<i>"
    assert tag("img", alt=None, aria_label="x") == '<img aria-label="x">'
    assert escape("a\x00\x1b\u202eb") == "a���b"


def test_words() -> None:
    assert [duration(each) for each in (4.2, 59, 250.4, 4321, None)] == [
        "4.2 s",
        "59 s",
        "4 min 10 s",
        "1 h 12 min",
        "–",
    ]
    assert [number(each) for each in (1234567, 0.123456, None, float("nan"))] == [
        "1\u202f234\u202f567",
        "0.1235",
        "–",
        "–",
    ]
    assert [size(each) for each in (224, [224, 320], None)] == ["224 × 224", "224 × 320", "–"]
    assert [moment(each) for each in ("2026-01-05T10:30:00+00:00", "soon", None)] == ["2026-01-05 10:30", "–", "–"]


def test_the_fixture_is_hostile(run: RunFolder) -> None:
    assert run.record()["data"]["classes"] == HOSTILE


@pytest.mark.parametrize(
    ("value", "sources", "shown", "chosen"),
    [
        ("sgd(lr=0.3, nesterov=True)", {"s": "recipe", "s.lr": "user"},
         "sgd(<strong>lr=0.3</strong>, nesterov=True)", "recipe; lr: {you}"),
        ("sgd(lr=0.3)", {"s": "user", "s.lr": "auto"}, "<strong>sgd</strong>(lr=0.3)", "{you}; lr: chosen for you"),
        ("sgd", {"s": "recipe", "s.lr": "user"}, "sgd", "recipe"),
        (["flip", "mixup(alpha=0.2)"], {"s": "recipe", "s.flip": "recipe", "s.mixup": "user"},
         "flip, <strong>mixup(alpha=0.2)</strong>", "flip: recipe; mixup: {you}"),
        ("a<b(", {"s": "recipe", "s.lr": "user"}, "a&lt;b(", "recipe"),
        (["a<b(", 3], {"s": "user", "s.mixup": "user"}, "<strong>a&lt;b(, 3</strong>", "{you}"),
        ([], {"s": "recipe"}, "none", "recipe"),
    ],
)  # fmt: skip
def test_values_inside_a_spec_have_choosers_of_their_own(
    value: Any, sources: dict[str, str], shown: str, chosen: str
) -> None:
    row = str(recipe_table({"s": value}, sources)).split("<tbody>")[1]
    said = chosen.format(you='<strong class="user">you</strong>')
    assert f'<th scope="row">s</th><td>{shown}</td><td>{said}</td>' in row


@pytest.mark.fault(24, "the report says at which step a run was resumed, and whether that was exact")
def test_resumptions_are_told(run: RunFolder) -> None:
    exact = {"step": 40, "exact": True, "differs": {}, "skipped": []}
    other = {"step": 90, "exact": False, "differs": {"threads": [2, 1]}, "skipped": ["step-00000095 (damaged)"]}
    assert "Resumed" not in text_of(written(run))
    changed(run, resumed=[exact, other])
    told = text_of(written(run))
    assert "40 bit for bit" in told
    assert "90 no threads: 2, 1; left out step-00000095 (damaged)" in told
