"""Pictures with masks through all layers: found, trained on, measured, handed on, compared; or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netwright import fit, load, recipe
from netwright.bundle.masks import MaskPredictor
from netwright.core.errors import Interrupted, NetwrightError
from netwright.lab.history import history
from netwright.lab.job import Job
from netwright.lab.measure import measure
from netwright.lab.trial import data_of
from netwright.recipes._choose import batch_size_for, network_suiting
from netwright.recipes._fit import Result
from netwright.recipes._recipe import Recipe, has_masks, recipe_for
from netwright.records.folder import RunFolder
from tests.recipes.test_fit import StopAfter, same_history, same_weights

SMALL = "generated:disks(n=16)"  # 16 pictures to train on, 4 to validate, 20 to test


def short(**values: object) -> Recipe:
    given = {"data": SMALL, "epochs": 1, "batch_size": 4, "threads": 1, "device": "cpu", "precision": "fp32"}
    return recipe("segment", **{**given, **values})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return fit(short(), output=tmp_path_factory.mktemp("runs"))


def pairs(folder: Path, n: int = 6, side: int = 40) -> Path:
    """Bright squares on noise, in images/ and masks/."""
    draw = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(n):
        mask = np.zeros((side + number, side), np.uint8)
        top, left = draw.integers(0, side - 16, 2)
        mask[top : top + 12, left : left + 12] = 255
        picture = draw.integers(0, 80, mask.shape).astype(np.uint8) + mask // 2
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


class TestARunOnMasks:
    def test_measures_overlap_on_every_split(self, run: Result) -> None:
        assert set(run.splits) == {"val", "test"}
        assert list(run.splits["test"]) == ["iou", "dice", "pixel_accuracy", "loss"]
        assert all(0 <= run.splits["test"][name]["low"] <= 1 for name in ("iou", "dice", "pixel_accuracy"))

    def test_keeps_masks_and_pictures_for_the_report(self, run: Result) -> None:
        found = json.loads((run.path / "samples" / "segmentation.json").read_text())
        assert [row["name"] for row in found["per_class"]] == ["background", "disk"]
        assert len(found["by_picture"]) == found["n"] == run.splits["test"]["iou"]["n"]
        mean = np.mean([row["iou"] for row in found["by_picture"]])
        assert mean == pytest.approx(run.splits["test"]["iou"]["value"], abs=1e-6)
        worst = [row["iou"] for row in found["shown"] if row["worst"]]
        assert worst == sorted(worst)
        assert worst[0] == min(row["iou"] for row in found["by_picture"])
        for row in found["shown"]:
            assert all((run.path / "samples" / file).is_file() for file in row["files"].values())
        page = (run.path / "report.html").read_text()
        assert "could not be drawn" not in page
        assert "Errors by distance" in page

    def test_hands_on_a_network_that_draws_masks_at_any_size(self, run: Result) -> None:
        predictor = load(run.path, device="cpu")
        assert isinstance(predictor, MaskPredictor)
        sizes = [(1, 1), (33, 50), (64, 31)]
        found = predictor.predict([np.zeros(size, np.uint8) for size in sizes])
        assert [each.mask.shape for each in found] == sizes

    def test_says_the_same_again(self, run: Result, tmp_path: Path) -> None:
        again = fit(short(), output=tmp_path)
        ours, theirs = (torch.cat([p.flatten() for p in each.model.parameters()]) for each in (run, again))
        assert torch.equal(ours, theirs)

    def test_goes_on_as_if_it_had_not_stopped(self, tmp_path: Path) -> None:
        whole = fit(short(epochs=2), output=tmp_path / "whole")
        with pytest.raises(Interrupted):
            fit(short(epochs=2), output=tmp_path / "parts", watcher=StopAfter(6))
        resumed = fit(resume=RunFolder.newest(tmp_path / "parts").path)
        assert same_weights(whole.path, resumed.path)
        assert same_history(whole.path, resumed.path)


class TestWhatIsChosen:
    def test_masks_are_found_and_the_recipe_follows(self, tmp_path: Path) -> None:
        folder = pairs(tmp_path / "cells")
        assert has_masks(str(folder))
        assert recipe_for(str(folder)) == "segment"
        assert recipe_for(None, "segmentation") == "segment"
        assert recipe_for(str(folder / "images")) == "modern"

    def test_pictures_of_many_sizes_train_and_are_measured_whole(self, tmp_path: Path) -> None:
        folder = pairs(tmp_path / "cells", n=10)
        found = fit(short(data=str(folder), image_size=32), output=tmp_path / "runs")
        notes = " ".join(found.record["data"]["notes"])
        assert "0 and 255" in notes
        assert found.splits["test"]["iou"]["n"] >= 1

    def test_network_and_batch_suit_masks(self) -> None:
        assert network_suiting(64, masked=True) == "unet(encoder='resnet20')"
        assert network_suiting(256, masked=True) == "unet(encoder='resnet18')"
        assert [batch_size_for(n, masked=True) for n in (10, 100, 400, 10_000)] == [4, 4, 16, 16]

    def test_a_classifiers_bundle_becomes_an_encoder(self, tmp_path: Path) -> None:
        learnt = fit(
            recipe("digits", epochs=1, model="resnet20(width=8)", threads=1, device="cpu"), output=tmp_path / "a"
        )
        found = fit(short(model="auto", weights=str(learnt.path)), output=tmp_path / "b")
        assert found.record["recipe"]["model"] == "unet(encoder='resnet20(width=8)')"
        assert "loaded into the encoder" in " ".join(found.record["data"]["notes"])


REFUSED = {
    "a classifier for masks": ({"model": "resnet18"}, "gives each picture one class"),
    "masks for a classifier's task": ({"task": "classification", "model": "resnet20"}, "have masks"),
    "a network for masks on digits": (
        {"data": "digits", "task": "classification", "model": "unet"}, "gives each pixel a class",
    ),
    "digits have none": ({"data": "digits"}, "needs a mask for each picture"),
    "a trick for whole pictures": ({"tricks": ("balanced_sampling",)}, "does not apply to segmentation: "),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(changes: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(NetwrightError) as found:
        fit(short(**changes), output=tmp_path)
    assert says in found.value.problem
    assert found.value.fix


def test_history_is_for_whole_pictures(tmp_path: Path) -> None:
    with pytest.raises(NetwrightError, match="this data has masks"):
        history(short(), ["resnet20"], output=tmp_path)


def test_the_lab_measures_masks_picture_by_picture() -> None:
    chosen = short(model="unet(encoder='resnet20', width=4)", image_size=32)
    data = data_of(chosen)
    found = measure(Job(chosen, data.fingerprint, "test"), data)
    assert found.headline == "iou"
    assert found.values["iou"].shape == (len(data.splits["test"]),)
