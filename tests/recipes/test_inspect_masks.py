"""What a report tells of masks, for a network that copies what it is shown, right or wrong."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.evaluate import evaluate
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw
from netwright.recipes._masks import inspect
from netwright.tasks.classification import Classification
from netwright.tasks.segmentation import Segmentation
from tests.support import CPU

PLAIN = Normalise(mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)
NAMES = ("background", "disk", "line")


class Copied(nn.Module):
    """Scores of the class that the first channel holds; where classes overlap, of those whose channels are bright."""

    def __init__(self, classes: int, *, several: bool = False) -> None:
        super().__init__()
        self.classes, self.several = classes, several

    def forward(self, x: Tensor) -> Tensor:
        if self.several:
            return x[:, : self.classes] - 100
        return F.one_hot(x[:, 0].round().long().clamp(0, self.classes - 1), self.classes).movedim(3, 1).float()


class Pairs:
    """Pictures of two sizes with masks: those of one size come together, so not in order."""

    labels = None

    def __init__(self, n: int = 7, classes: int = 3, *, seed: int = 0, several: bool = False) -> None:
        draw = np.random.default_rng(seed)
        values = 2 if several else classes
        shapes = [((classes,) if several else ()) + ((20, 30) if i % 2 else (16, 16)) for i in range(n)]
        self.masks = [draw.integers(-1, values, shape) for shape in shapes]
        others = [draw.integers(0, values, shape) for shape in shapes]
        self.found = [np.where((mask < 0) | (draw.random(mask.shape) < 0.3), other, mask)
                      for mask, other in zip(self.masks, others, strict=True)]  # fmt: skip
        if several:
            self.images = [np.moveaxis(found * 255, 0, 2).astype(np.uint8) for found in self.found]
        else:
            self.images = [np.repeat(found[..., None], 3, 2).astype(np.uint8) for found in self.found]

    def __len__(self) -> int:
        return len(self.images)

    def chunks(self, batch_size: int) -> list[np.ndarray]:
        places = np.arange(len(self))
        return [
            part[i : i + batch_size] for part in (places[1::2], places[::2]) for i in range(0, len(part), batch_size)
        ]

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        for chosen in positions:
            image, label = (np.stack([held[i] for i in chosen]) for held in (self.images, self.masks))
            yield Raw(torch.from_numpy(image), torch.from_numpy(label), torch.from_numpy(np.asarray(chosen)))


def told(source: Any, task: Any, classes: Sequence[str], **options: Any) -> dict[str, Any]:
    network = Copied(len(classes), several=getattr(task, "several", False))
    found = inspect(network, source, task, PLAIN, CPU, classes, batch_size=2, **options)
    json.dumps(found, allow_nan=False)
    return found


def test_tables_are_scikit_learns_over_all_pixels() -> None:
    source = Pairs()
    found = told(source, Segmentation(3), NAMES, split="val")
    known = [mask >= 0 for mask in source.masks]
    truth, seen = (
        np.concatenate([a[k] for a, k in zip(arrays, known, strict=True)]) for arrays in (source.masks, source.found)
    )
    assert (found["split"], found["n"], found["classes"], found["background"]) == ("val", 7, list(NAMES), True)
    assert np.array_equal(found["confusion"], confusion_matrix(truth, seen))
    ious, dices = (score(truth, seen, average=None) for score in (jaccard_score, f1_score))
    for k, row in enumerate(found["per_class"]):
        assert row["name"] == NAMES[k]
        assert row["pictures"] == 7
        assert row["pixels"] == pytest.approx((truth == k).mean())
        assert row["iou"]["value"] == pytest.approx(ious[k])
        assert row["dice"]["value"] == pytest.approx(dices[k])
        assert row["iou"]["low"] < ious[k] < row["iou"]["high"]
    assert found["mean"]["iou"]["value"] == pytest.approx(ious[1:].mean())
    assert found["mean"]["dice"]["value"] == pytest.approx(dices[1:].mean())
    assert found["mean"]["pixel_accuracy"]["value"] == pytest.approx((truth == seen).mean())
    assert found["boundary"]["edges"] == [0, 1, 2, 4, 8, 16, None]
    assert len(found["boundary"]["error"]) == len(found["boundary"]["share"]) == 6
    assert sum(found["boundary"]["share"]) == pytest.approx(1)
    assert found["otsu"] is None
    assert found["instances"] is None


def test_pictures_come_in_the_splits_order_with_the_tasks_own_scores() -> None:
    source, task = Pairs(), Segmentation(3)
    found = told(source, task, NAMES, names=[f"{i}.png" for i in range(7)])
    measured = evaluate(Copied(3), source, task, PLAIN, CPU, batch_size=3).values
    assert [row["name"] for row in found["by_picture"]] == [f"{i}.png" for i in range(7)]
    for name in ("iou", "dice"):
        np.testing.assert_allclose([row[name] for row in found["by_picture"]], measured[name], rtol=1e-6)


def test_classes_that_overlap() -> None:
    source, task = Pairs(several=True), Segmentation(3, several=True)
    found = told(source, task, NAMES)
    assert found["background"] is False
    assert found["confusion"] == []
    for k in range(3):
        known = [mask[k] >= 0 for mask in source.masks]
        truth, seen = (
            np.concatenate([a[k][i] for a, i in zip(held, known, strict=True)]) for held in (source.masks, source.found)
        )
        assert found["per_class"][k]["iou"]["value"] == pytest.approx(jaccard_score(truth, seen))
    measured = evaluate(Copied(3, several=True), source, task, PLAIN, CPU, batch_size=3).values
    np.testing.assert_allclose([row["iou"] for row in found["by_picture"]], measured["iou"], rtol=1e-6)


class Blobs(Pairs):
    """Two bright or dark squares on the other grey, and beside each something that is neither."""

    def __init__(self, n: int = 4, *, bright: bool = True) -> None:
        super().__init__(n, 2)
        self.masks = []
        for i in range(n):
            mask = np.zeros((30, 30) if i % 2 else (20, 40), np.int64)
            mask[2:8, 2:8] = mask[10:18, 12:20] = 1
            self.masks.append(mask)
        grey = [np.where((mask == 1) == bright, 180, 60) for mask in self.masks]
        self.images = [np.repeat(picture[..., None], 3, 2).astype(np.uint8) for picture in grey]


class Nothing(nn.Module):
    """Finds one square of the two, and a dot."""

    def forward(self, x: Tensor) -> Tensor:
        found = torch.zeros(len(x), 2, *x.shape[2:])
        found[:, 1] = -1
        found[:, 1, 2:8, 2:8] = 1
        found[:, 1, 0, 19] = 1
        return found


@pytest.mark.parametrize("bright", [True, False])
def test_a_threshold_beside_it_learns_what_is_bright(bright: bool) -> None:
    source = Blobs(bright=bright)
    found = inspect(Nothing(), source, Segmentation(2), PLAIN, CPU, ("background", "disk"), train=source)
    assert found["otsu"]["iou"]["value"] == 1
    assert found["otsu"]["dice"]["value"] == 1
    assert found["mean"]["iou"]["value"] == pytest.approx(36 / 101)


def test_things_are_counted_and_matched() -> None:
    source = Blobs()
    source.masks[0][15:19, 30:38] = 1  # a third thing in one picture of four
    found = inspect(Nothing(), source, Segmentation(2), PLAIN, CPU, ("background", "disk"))["instances"]
    assert (found["truth"], found["found"]) == (9, 8)
    assert found["count_error"]["value"] == -0.25
    assert found["count_absolute"]["value"] == 0.25
    assert found["ap50"]["value"] == pytest.approx((1 / 4 + 3 * 1 / 3) / 4)
    assert found["ap"]["value"] == pytest.approx(found["ap50"]["value"])  # one is whole or not there at all


def test_things_of_a_border_target() -> None:
    source = Pairs(1)
    mask = np.zeros((12, 20), np.int64)
    mask[2:10, 2:10] = mask[2:10, 10:18] = 2
    mask[3:9, 3:9] = mask[3:9, 11:17] = 1
    source.masks, source.images = [mask], [np.repeat(mask[..., None], 3, 2).astype(np.uint8)]
    found = told(source, Segmentation(3), ("background", "interior", "border"))
    assert (found["instances"]["truth"], found["instances"]["found"]) == (2, 2)
    assert found["instances"]["ap"]["value"] == 1
    assert found["instances"]["ap"]["low"] is None  # one picture has no interval
    assert told(source, Segmentation(3), NAMES)["instances"] is None


def test_pictures_in_which_nothing_is_known() -> None:
    source = Pairs(2)
    source.masks = [np.full_like(mask, -1) for mask in source.masks]
    found = told(source, Segmentation(3), NAMES)
    assert [row["iou"] for row in found["by_picture"]] == [1.0, 1.0]
    assert found["mean"]["iou"]["value"] == 1
    assert found["mean"]["pixel_accuracy"]["value"] is None
    assert [row["iou"]["value"] for row in found["per_class"]] == [None] * 3


def test_another_task_is_refused() -> None:
    with pytest.raises(NetwrightError, match="masks of classification cannot be measured"):
        told(Pairs(), Classification(3), NAMES)
