"""The sections on masks: they say what was measured and how, leave out what is missing, and are never lost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netwright.records.folder import RunFolder
from netwright.report.overlay import HIT, LEGEND, MISSED, errors, kinds_of_error, legend, palette
from netwright.report.page import MASK_CONTENTS
from netwright.report.segmentation import bins
from tests.report.synthetic import HOSTILE, write_run
from tests.report.test_report import Elements, text_of, written

NAMES = ["background", HOSTILE[0], HOSTILE[1]]
COLUMNS = ("iou", "dice", "precision", "recall", "boundary_f1")
COUNTS = [[900_000, 90_000, 10_000], [0, 125_521, 0], [5, 5, 10]]
SECTIONS = {"headline", "curves", "classes", "outlines", "masks", "seeing", "augmented", "data", "recipe", "machine"}


def measured(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 30, "method": "bootstrap"}


def of_classes(names: list[str]) -> list[dict[str, Any]]:
    columns = {name: measured(0.6) for name in COLUMNS}
    return [{"name": name, "pixels": 0.3, "pictures": 29, **columns} for name in names]


def kept(folder: RunFolder, name: str) -> str:
    (folder.samples / "masks").mkdir(exist_ok=True)
    Image.fromarray(np.full((20, 30, 3), 80, np.uint8)).save(folder.samples / "masks" / name)
    return f"masks/{name}"


def measures(folder: RunFolder) -> dict[str, Any]:
    views = ("picture", "truth", "found", "errors")
    shown = [
        {"name": f"{number}.png", "iou": 0.1 * number, "dice": 0.2 * number, "worst": number < 2}
        | {"files": {view: kept(folder, f"{number}-{view}.png") for view in views}}
        for number in range(3)
    ]
    errors_ = [measured(0.4), measured(0.2), {**measured(0), "value": float("nan")}]
    return {
        "split": "test",
        "n": 30,
        "classes": NAMES,
        "background": True,
        "per_class": of_classes(NAMES),
        "mean": {name: measured(0.55) for name in COLUMNS},
        "boundary": {"edges": [0, 1, 2, None], "error": errors_, "share": [0.25, 0.5, 0.25]},
        "confusion": COUNTS,
        "otsu": None,
        "instances": None,
        "numbered": False,
        "colours": [[0, 0, 0], [230, 159, 0], [86, 180, 233]],
        "legend": {kind: list(colour) for kind, colour in LEGEND.items()},
        "shown": shown,
    }


def changed(run: RunFolder, **fields: Any) -> None:
    path = run.samples / "segmentation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def styles(page: str) -> list[str]:
    return [str(a["style"]) for name, a in Elements(page).starts if name == "i" and "rgb" in str(a.get("style"))]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = write_run(tmp_path, NAMES)
    record = folder.record()
    data = {"sizes": [[64, 80], [520, 696]], "image_size": 96, "stored_size": 110, "masks": "0, 1 and 2"}
    folder.write_record(record | {"recipe": {"task": "segmentation"}, "data": record["data"] | data})
    (folder.samples / "segmentation.json").write_text(json.dumps(measures(folder)))
    return folder


def test_every_section_of_the_contents_is_there(run: RunFolder) -> None:
    page = written(run)
    found = {a["id"] for name, a in Elements(page).starts if name == "section"}
    assert found == SECTIONS | {"confusion"}
    assert set(MASK_CONTENTS) <= found
    assert "&lt;img src=x" in page and "<img src=x" not in page


def test_classes_and_their_mean(run: RunFolder) -> None:
    text = text_of(written(run))
    assert "Over all pixels of the test images together" in text
    assert "background 30.0 % 29 60.0 % [55.0, 65.0]" in text
    assert "mean without background 55.0 % [50.0, 60.0]" in text
    changed(run, background=False)
    assert "mean 55.0 % [50.0, 60.0]" in text_of(written(run))


def test_one_counted_class_has_no_mean(run: RunFolder) -> None:
    changed(run, per_class=of_classes(NAMES[:2]), classes=NAMES[:2], confusion=[[3, 1], [0, 2]])
    page = written(run)
    assert "mean without background" not in text_of(page)
    assert 'id="confusion"' not in page


def test_confusion_is_in_shares_of_rows(run: RunFolder) -> None:
    text = text_of(written(run))
    assert text.count("Where the pixels of each class went, in per cent of its row") == 1
    assert "background 90.0 9.0 1.0" in text
    assert "· 100.0 ·" in text
    assert "125521" not in text and "125\u202f521" not in text


@pytest.mark.parametrize("confusion", [[], [[1]], [[1, 2], [3, 4]]])
def test_without_a_matrix_of_the_classes_there_is_no_confusion(run: RunFolder, confusion: list[Any]) -> None:
    changed(run, confusion=confusion)
    assert 'id="confusion"' not in written(run)


def test_errors_near_outlines(run: RunFolder) -> None:
    text = text_of(written(run))
    assert f"{100 * 0.25 * 0.4 / (0.25 * 0.4 + 0.5 * 0.2):.1f} % of all wrong pixels lie within 1 px" in text


def test_bins_have_names() -> None:
    assert bins([0, 1, 2, None]) == ["0–1", "1–2", "over 2"]
    assert bins([0, 1, 2]) == ["0–1", "1–2"]


THINGS = {
    "truth": 51,
    "found": 47,
    "count_error": measured(-1),
    "count_absolute": measured(2),
    "ap50": measured(0.7),
    "ap": measured(0.5),
}
BORDER = ["background", "interior", "border"]


@pytest.mark.parametrize(
    ("classes", "numbered", "says"),
    [
        (["background", "cell"], False, "connected parts of cell; true ones are told apart in the same way."),
        (["background", "cell"], True, "connected parts of cell; true ones are those that the data numbers."),
        (
            BORDER,
            True,
            "connected parts of interior, each with the border nearest to it; true ones are those that the data",
        ),
    ],
)
def test_how_things_are_counted(run: RunFolder, classes: list[str], numbered: bool, says: str) -> None:
    changed(run, instances=THINGS, classes=classes, numbered=numbered)
    text = text_of(written(run))
    assert f"Found ones are {says}" in text
    assert "things in truth 51 things found 47" in text


def test_otsu_says_what_was_measured(run: RunFolder) -> None:
    names = ("iou", "dice", "iou_of_images", "dice_of_images")
    whole = {name: measured(0.3 + 0.1 * place) for place, name in enumerate(names)}
    changed(run, otsu=whole)
    of_pixels = "over all pixels IoU 30.0 % [25.0, 35.0], Dice 40.0 % [35.0, 45.0]"
    of_images = "the mean of the images IoU 50.0 % [45.0, 55.0], Dice 60.0 % [55.0, 65.0]."
    assert f"{of_pixels}; {of_images}" in text_of(written(run))
    changed(run, otsu={name: whole[name] for name in names[:2]})
    assert f"{of_pixels}." in text_of(written(run))
    changed(run, otsu={"iou": whole["iou"]})
    assert "over all pixels IoU 30.0 % [25.0, 35.0]." in text_of(written(run))
    changed(run, otsu={})
    assert "Otsu" not in text_of(written(run))


def test_shown_images_and_their_legend(run: RunFolder) -> None:
    page = written(run)
    text = text_of(page)
    assert "0.png IoU 0.000, Dice 0.000 image truth found where they differ" in text
    assert text.index("1.png") < text.index("For comparison") < text.index("2.png")
    assert "rgb(0, 0, 0)" not in " ".join(styles(page))  # background is not painted
    assert len(styles(page)) == 2 + len(LEGEND)


def test_colours_of_differences_only_where_there_are_some(run: RunFolder) -> None:
    shown = measures(run)["shown"]
    for row in shown:
        del row["files"]["errors"]
    changed(run, shown=shown)
    page = written(run)
    assert "where they differ" not in text_of(page)
    assert len(styles(page)) == 2


def test_found_has_the_colour_of_no_usual_class() -> None:
    assert list(LEGEND[HIT]) not in palette(9).tolist()


def test_the_legend_has_what_can_be_painted() -> None:
    assert list(legend(2, background=True)) == ["found", "missed", "false alarm"]
    assert list(legend(3, background=True)) == list(LEGEND)
    assert list(legend(3, background=False)) == ["wrong class"]
    assert list(legend(2, background=False, several=True)) == list(LEGEND)
    assert list(legend(1, background=False, several=True)) == ["found", "missed", "false alarm"]


def test_differences_of_overlapping_classes() -> None:
    """Found, missed, invented, one for the other, nothing, ignored; in two layers."""
    truth = np.array([[[1, 1, 0, 1, 0, 255]], [[1, 1, 0, 0, 0, 0]]], np.uint8)
    found = np.array([[[1, 1, 1, 0, 0, 1]], [[1, 0, 0, 1, 0, 0]]], np.uint8)
    kinds = kinds_of_error(truth, found)
    assert [where[0].tolist() for where in kinds.values()] == [
        [place == number for place in range(6)] for number in range(4)
    ]
    grey = np.full((1, 6, 3), 90, np.uint8)
    painted = errors(grey, truth, found, alpha=1.0)
    assert painted[0, :4].tolist() == [list(colour) for colour in LEGEND.values()]
    assert painted[0, 4].tolist() == [90, 90, 90] and painted[0, 5].tolist() != [90, 90, 90]
    assert kinds[MISSED].sum() == 1


def test_the_data_tell_crops_and_sizes(run: RunFolder) -> None:
    text = text_of(written(run))
    assert "size of images 64 × 80 to 520 × 696" in text
    assert "crop in training 96 × 96" in text
    assert "110 × 110" not in text and "stored as" not in text
    record = run.record()
    run.write_record(record | {"data": record["data"] | {"sizes": [[64, 64], [64, 64]]}})
    assert "size of images 64 × 64 crop" in text_of(written(run))
    run.write_record(record | {"data": {k: v for k, v in record["data"].items() if k != "sizes"}})
    assert "size of images" not in text_of(written(run))


def test_what_was_left_out_for_one_reason_is_one_line(run: RunFolder) -> None:
    rows = [{"what": what, "why": "they ask for one class"} for what in ("Grad-CAM", "occlusion", "dreams")]
    (run.samples / "seeing.json").write_text(json.dumps({"left_out": [*rows, {"what": "maps", "why": "none"}]}))
    text = text_of(written(run))
    assert "Grad-CAM, occlusion and dreams were left out: they ask for one class. Maps was left out: none." in text


def test_a_run_that_failed_early_has_a_page(run: RunFolder) -> None:
    (run.samples / "segmentation.json").unlink()
    record = run.record()
    run.write_record({key: record[key] for key in ("name", "recipe", "created")} | {"status": "failed"})
    page = written(run)
    found = {a["id"] for name, a in Elements(page).starts if name == "section"}
    assert found == SECTIONS
    assert text_of(page).count("There are no masks to look at yet") == 3


@pytest.mark.parametrize("content", [b"", b"[1, 2", b"[]", b"{}", b'"word"', b"\xff\xfe"])
def test_damage_is_as_nothing(run: RunFolder, content: bytes) -> None:
    (run.samples / "segmentation.json").write_bytes(content)
    written(run)


@pytest.mark.parametrize(
    "fields",
    [
        {"shown": [None, 1, {}], "colours": None, "legend": None},
        {"boundary": None, "otsu": 3, "instances": {}, "per_class": []},
        {"mean": {}, "confusion": None, "per_class": [{"name": "x"}] * 3},
        {"shown": [{"name": "x", "files": {"picture": "../../record.json", "truth": "/etc/passwd"}, "iou": None}]},
    ],
)
def test_what_is_missing_is_left_out(run: RunFolder, fields: dict[str, Any]) -> None:
    changed(run, **fields)
    page = written(run)
    assert "passwd" not in page
