"""Measures a bundle on labelled pictures, with the preprocessing and classes it carries."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from netwright.bundle.masks import MaskPredictor
from netwright.bundle.predictor import Predictor
from netwright.core.errors import NetwrightError
from netwright.data import list_data
from netwright.data.labelled import labelled
from netwright.data.labelled_pairs import labelled_pairs
from netwright.data.loader import ArraySource
from netwright.engine.evaluate import evaluate
from netwright.engine.tiles import Tiled
from netwright.records.intervals import of_values
from netwright.tasks import TASKS
from netwright.tasks import _mask_metrics as measures
from netwright.tasks.segmentation import Segmentation, overlaps, overlaps_of_several


def evaluate_bundle(predictor: Predictor | MaskPredictor, path: str) -> dict[str, Any]:
    """Every metric with its 95 % interval.

    Args:
        predictor: the model.
        path: labelled pictures: a folder a class, or a data set with a test or validation split; for a model that gives
            each pixel a class, pictures with masks.

    Raises:
        NetwrightError: no pictures there, or classes the model does not know.
    """
    if isinstance(predictor, MaskPredictor):
        return evaluate_masks(predictor, path)
    found = labelled(path, predictor.preprocess_or_error(), predictor.classes)
    task = TASKS.load(predictor.task)(classes=len(predictor.classes))
    several = found.split.labels.ndim == 2
    if several != (predictor.task == "multi_label"):
        has, wants = ("several labels", "one") if several else ("one label", "several")
        raise NetwrightError(f"{path} has {has} a picture, and this model was trained for {wants}", "give other data")
    source = ArraySource(found.split, predictor.profile)
    measured = evaluate(predictor.model, source, task, predictor.normalise(), predictor.profile)
    metrics = {name: of_values(values).to_json() for name, values in measured.values.items()}
    return {"path": path, "split": found.name, "n": len(source), "metrics": metrics, "notes": list(found.notes)}


def evaluate_masks(predictor: MaskPredictor, path: str) -> dict[str, Any]:
    """Every metric of masks: means over pictures, and each class's overlap over all their pixels.

    Raises:
        NetwrightError: no pictures with masks there, or classes the model does not know.
    """
    listing = list_data(path, strict=False)
    if listing.masks is None:
        problem = f"{path} has no masks, and this model gives each pixel a class"
        raise NetwrightError(problem, "give pictures with masks: folders images/ and masks/ with the same names")
    channels = predictor.preprocess_or_error().channels
    found = labelled_pairs(listing, channels, predictor.classes, predictor.profile, several=predictor.several)
    task = Counted(Segmentation(len(predictor.classes), predictor.background, predictor.several))
    model = Tiled(predictor.model, several=predictor.several)
    measured = evaluate(model, found.source, task, predictor.normalise(), predictor.profile)
    metrics = {name: of_values(values).to_json() for name, values in measured.values.items()}
    classes = task.by_class(predictor.classes)
    notes = [*found.notes, *_tiles(model, int(found.source.sizes[:, 1].max()))]
    n = len(found.source)
    return {"path": path, "split": found.name, "n": n, "metrics": metrics, "classes": classes, "notes": notes}


@dataclass
class Counted:
    """A task that remembers what it measured: pixels of each picture and class."""

    task: Segmentation
    counts: list[np.ndarray] = field(default_factory=list[np.ndarray])

    name = "segmentation"

    def batch(self, image: Tensor, label: Tensor) -> Tensor:
        """As the task's."""
        return self.task.batch(image, label)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """As the task's."""
        return self.task.loss(output, target)

    def metrics(self, output: Tensor, label: Tensor) -> dict[str, Tensor]:
        """As the task's."""
        several = self.task.several
        answers = overlaps_of_several(output > 0, label) if several else None
        counts = (answers or overlaps(output.argmax(1), label, self.task.classes))[0]
        self.counts.append(counts.cpu().numpy())
        return self.task.metrics(output, label)

    def by_class(self, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """IoU and Dice of each class that is counted, over the pixels of all pictures together."""
        pooled = measures.Bootstrap(np.concatenate(self.counts)[:, self.task.counted])
        columns = zip(names[self.task.counted], pooled.each(measures.iou), pooled.each(measures.dice), strict=True)
        return {name: {"iou": iou.to_json(), "dice": dice.to_json()} for name, iou, dice in columns}


def _tiles(model: Tiled, width: int) -> list[str]:
    """What a user should know of pictures that were cut, if some were."""
    known = model.measured_
    note = known.note(known.tile(width)) if known else None
    return [note] if note else []
