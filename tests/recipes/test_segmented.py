"""What a run keeps of its masks: what is measured, which images are shown, and their pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from netwright import fit, recipe
from netwright.data.masks import Masks, understood
from netwright.data.pairs import listing
from netwright.recipes import _segmented
from netwright.records.folder import RunFolder
from netwright.report.overlay import FALSE_ALARM, HIT, LEGEND, MISSED, WRONG_CLASS

SIDE = 24
COUNTS = {"train": 10, "val": 3, "test": 14}
Saved = Callable[[Path, np.ndarray], None]


def squares(seed: int) -> np.ndarray:
    """Two squares that touch, numbered 1 and 2."""
    top, left = np.random.default_rng(seed).integers(1, 10, 2)
    things = np.zeros((SIDE, SIDE), np.uint8)
    things[top : top + 8, left : left + 6] = 1
    things[top : top + 8, left + 6 : left + 12] = 2
    return things


def as_things(path: Path, things: np.ndarray) -> None:
    Image.fromarray(things.astype(np.uint16)).save(path.with_suffix(".png"))


def as_layers(path: Path, things: np.ndarray) -> None:
    both = np.roll(things == 2, -2, 1)
    np.savez(path.with_suffix(".npz"), left=(things == 1).astype(np.uint8), right=both.astype(np.uint8))


def written(root: Path, save: Saved, folder: str) -> Path:
    for split, n in COUNTS.items():
        for part in ("images", folder):
            (root / split / part).mkdir(parents=True)
        for i in range(n):
            things = squares(100 * len(split) + i)
            draw = np.random.default_rng(i)
            image = draw.integers(0, 60, (SIDE, SIDE, 3)) + 60 * (things > 0)[..., None] + 60 * (things > 1)[..., None]
            Image.fromarray(image.astype(np.uint8)).save(root / split / f"images/{i:02d}.png")
            save(root / split / folder / f"{i:02d}", things)
    return root


def trained(tmp: Path, save: Saved, folder: str, **fields: Any) -> RunFolder:
    plain = {"model": "unet(encoder='resnet20(width=4)')", "epochs": 1, "batch_size": 4, "threads": 1, "device": "cpu"}
    plan = recipe("segment", data=str(written(tmp / "data", save, folder)), **plain, **fields)
    found = fit(plan, output=tmp / "runs")
    return RunFolder.open(found.path)


@pytest.fixture(scope="module")
def border(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("border"), as_things, "instances", masks="border")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return trained(tmp_path_factory.mktemp("several"), as_layers, "masks")


def document(run: RunFolder) -> dict[str, Any]:
    return json.loads((run.samples / "segmentation.json").read_bytes())


def test_the_worst_are_shown_first_and_some_others(border: RunFolder) -> None:
    found = document(border)
    assert found["split"] == "test" and len(found["by_picture"]) == found["n"] == COUNTS["test"]
    scores = sorted(row["iou"] for row in found["by_picture"])
    worst = [row["iou"] for row in found["shown"] if row["worst"]]
    others = [row["iou"] for row in found["shown"] if not row["worst"]]
    assert worst == scores[: _segmented.WORST]
    assert len(others) == _segmented.OTHERS and others[0] == scores[_segmented.WORST] and others[-1] == scores[-1]
    names = {row["name"]: row["iou"] for row in found["by_picture"]}
    assert all(names[row["name"]] == row["iou"] for row in found["shown"])


def test_each_shown_image_has_its_pictures(border: RunFolder, several: RunFolder) -> None:
    for run in (border, several):
        for row in document(run)["shown"]:
            assert list(row["files"]) == ["picture", "truth", "found", "errors"]
            for file in row["files"].values():
                with Image.open(run.samples / file) as image:
                    assert image.size[0] == image.size[1] >= SIDE


def test_a_border_target_counts_the_things_of_the_data(border: RunFolder) -> None:
    found = document(border)
    assert found["classes"] == ["background", "interior", "border"] and found["numbered"]
    assert found["instances"]["truth"] == 2 * COUNTS["test"]
    assert list(found["legend"]) == [HIT, MISSED, FALSE_ALARM, WRONG_CLASS]
    assert list(LEGEND[HIT]) not in found["colours"]


def test_overlapping_classes_have_no_confusion_and_no_things(several: RunFolder) -> None:
    found = document(several)
    assert found["classes"] == ["left", "right"] and not found["background"]
    assert found["confusion"] == [] and found["instances"] is None and not found["numbered"]
    assert len(found["colours"]) == 2


def test_the_record_tells_sizes_and_meaning(border: RunFolder, several: RunFolder) -> None:
    for run in (border, several):
        data = run.record()["data"]
        assert data["sizes"] == [[SIDE, SIDE], [SIDE, SIDE]]
        assert f"masks: {data['masks']}" in data["notes"]


def test_maps_of_a_segmenter_are_kept(several: RunFolder) -> None:
    seeing = json.loads((several.samples / "seeing.json").read_bytes())
    assert len(seeing["stages"]) > 1 and seeing["kernels"]["title"].startswith("First layer (encoder.")
    assert len({row["why"] for row in seeing["left_out"]}) == 1


def test_as_many_training_samples_as_a_sheet_holds(several: RunFolder) -> None:
    with Image.open(several.samples / "augmented.png") as sheet:
        tile = SIDE * (96 // SIDE) + 2
        assert sheet.size == (8 * tile, 1 * tile)  # batches of 4, of 10 samples: 8 are seen in whole batches


def test_colours_of_masks_that_overlap(tmp_path: Path) -> None:
    root = written(tmp_path / "data", as_layers, "masks")
    masks: Masks = understood(listing(str(root), "train"))
    assert set(_segmented.said_of(masks, 8)) == {"background", "several", "colours", "crop", "legend"}
    assert _segmented.said_of(masks, 8)["several"]
