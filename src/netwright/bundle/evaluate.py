"""Measures a bundle on labelled pictures, with the preprocessing and classes it carries."""

from typing import Any

from netwright.bundle.predictor import Predictor
from netwright.core.errors import NetwrightError
from netwright.data.labelled import labelled
from netwright.data.loader import ArraySource
from netwright.engine.evaluate import evaluate
from netwright.records.intervals import of_values
from netwright.tasks import TASKS


def evaluate_bundle(predictor: Predictor, path: str) -> dict[str, Any]:
    """Every metric with its 95 % interval.

    Args:
        predictor: the model.
        path: labelled pictures: a folder a class, or a data set with a test or validation split.

    Raises:
        NetwrightError: no pictures there, or classes the model does not know.
    """
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
