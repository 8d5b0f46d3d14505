"""Measures a bundle on labelled pictures, with the preprocessing and classes it carries."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from netwright.bundle.autoencoder import AutoencoderBundle
from netwright.bundle.masks import MaskPredictor
from netwright.bundle.predictor import Predictor
from netwright.core.errors import NetwrightError
from netwright.data import list_data
from netwright.data.labelled import labelled, unlabelled
from netwright.data.labelled_pairs import LabelledPairs, labelled_pairs
from netwright.data.listing import Listing
from netwright.data.loader import ArraySource
from netwright.data.masks import BORDERED, MaskWanted
from netwright.data.scene_sources import WholeSource
from netwright.engine.evaluate import evaluate
from netwright.records.intervals import of_values
from netwright.tasks import TASKS
from netwright.tasks import _mask_metrics as measures
from netwright.tasks._latent import Latent
from netwright.tasks.reconstruction import Reconstruction
from netwright.tasks.segmentation import Segmentation, overlaps, overlaps_of_several

AT_ONCE = 8  # pictures of 256×256 px, or as many pixels


def evaluate_bundle(
    predictor: Predictor | MaskPredictor | AutoencoderBundle,
    path: str,
    *,
    legend: str | None = None,
    ignore: int | None = None,
) -> dict[str, Any]:
    """Every metric with its 95 % interval.

    Args:
        predictor: the model.
        path: labelled pictures: a folder a class, or a data set with a test or validation split; for a model that gives
            each pixel a class, pictures with masks; for an autoencoder any, unless it is told their classes.
        legend: of masks only: see `evaluate_masks`.
        ignore: of masks only, too.

    Raises:
        NetwrightError: no pictures there, or classes the model does not know.
    """
    if isinstance(predictor, MaskPredictor):
        return evaluate_masks(predictor, path, legend=legend, ignore=ignore)
    if legend is not None or ignore is not None:
        flag = "--ignore" if legend is None else "--legend"
        raise NetwrightError(f"{flag} is for masks, and this model gives none", f"leave out {flag}")
    if isinstance(predictor, AutoencoderBundle):
        return evaluate_autoencoder(predictor, path)
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


def evaluate_autoencoder(autoencoder: AutoencoderBundle, path: str) -> dict[str, Any]:
    """Every metric of reconstructions with its 95 % interval, and what codes of these pictures are like.

    Args:
        autoencoder: the model.
        path: pictures, with classes or without; a conditional model has to know their classes.

    Raises:
        NetwrightError: no pictures there, or classes a conditional model does not know.
    """
    preprocess, normalise = autoencoder.preprocess_or_error(), autoencoder.normalise()
    told = autoencoder.conditional
    found = labelled(path, preprocess, autoencoder.classes) if told else unlabelled(path, preprocess)
    if found.split.labels.ndim == 2:
        raise NetwrightError(f"{path} has several labels a picture, and this model takes one", "give other data")
    task = Reconstruction(tuple(preprocess.mean), tuple(preprocess.std))
    source = ArraySource(found.split, autoencoder.profile)
    measured = evaluate(
        autoencoder.network, source, task, normalise, autoencoder.profile, batch_size=autoencoder.at_once
    )
    metrics = {name: of_values(values).to_json() for name, values in measured.values.items()}
    latent = {"latent": measured.summary.to_json()} if isinstance(measured.summary, Latent) else {}
    said = {"path": path, "split": found.name, "n": len(source), "metrics": metrics, **latent}
    return {**said, "notes": list(found.notes)}


def evaluate_masks(
    predictor: MaskPredictor, path: str, *, legend: str | None = None, ignore: int | None = None
) -> dict[str, Any]:
    """Every metric of masks: means over pictures, and each class's overlap over all their pixels.

    Args:
        predictor: the model.
        path: pictures with masks.
        legend: a file that names the masks' classes; by default they are read as those of training were.
        ignore: the stored number whose pixels count nowhere; by default that of training.

    Raises:
        NetwrightError: no pictures with masks there, or classes the model does not know.
    """
    listing = list_data(path, strict=False)
    if listing.masks is None:
        problem = f"{path} has no masks, and this model gives each pixel a class"
        raise NetwrightError(problem, "give pictures with masks: folders images/ and masks/ with the same names")
    found = _pairs(predictor, listing, legend, predictor.ignored if ignore is None else ignore)
    task = Counted(Segmentation(len(predictor.classes), predictor.background, predictor.several))
    source, normalise = WholeSource(found.scenes, predictor.profile), predictor.normalise()
    measured = evaluate(predictor.model, source, task, normalise, predictor.profile, batch_size=AT_ONCE)
    return {
        "path": path,
        "split": found.name,
        "n": len(source),
        "metrics": {name: of_values(values).to_json() for name, values in measured.values.items()},
        "classes": task.by_class(predictor.classes),
        "notes": [*found.notes, *predictor.tile_notes(found.scenes.sizes)],
    }


def _pairs(predictor: MaskPredictor, listing: Listing, legend: str | None, ignore: int | None) -> LabelledPairs:
    """The masks read as those of training were, or as a legend says; afresh where they are stored in another way."""
    wanted = MaskWanted("border" if predictor.classes == BORDERED else "auto", legend, ignore)
    channels = predictor.preprocess_or_error().channels
    read = partial(labelled_pairs, listing, channels, predictor.classes, several=predictor.several)
    if legend is None and predictor.legend:
        with suppress(NetwrightError):
            return read(replace(wanted, legend=predictor.legend))
    return read(wanted)


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
