"""After training: calibrate, evaluate, keep what the report shows, and hand on the model."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from netwright.bundle.save import save_bundle
from netwright.engine.evaluate import Evaluation, evaluate
from netwright.recipes._alarm import alarm
from netwright.recipes._assemble import Parts, evaluation_batch
from netwright.recipes._reconstructed import keep_reconstructions
from netwright.recipes._samples import Judged, keep_augmented, keep_mistakes
from netwright.recipes._seeing import keep_seeing
from netwright.recipes._segmented import keep_masks, said_of
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import of_values
from netwright.report import write_report
from netwright.tasks._calibration import fit_temperature, softmax
from netwright.tasks._latent import Latent
from netwright.tasks.reconstruction import Reconstruction
from netwright.tasks.segmentation import Segmentation

if TYPE_CHECKING:
    from netwright.recipes._record import Record


def finish(parts: Parts, folder: RunFolder, record: "Record") -> nn.Module:
    """Everything that follows the last step; returns the network that is handed on."""
    model = parts.run.predictor()
    measured = {split: _measured(parts, model, split) for split in ("val", "test") if split in parts.inputs.splits}
    validated = _class_scores(parts, measured.get("val"))
    temperature = 1.0 if validated is None else fit_temperature(validated, measured["val"].labels)
    headline = "test" if "test" in measured else "val"
    record.result = {
        "best_epoch": _best_epoch(parts.run.history),
        "temperature": temperature,
        "splits": {split: intervals(evaluation) for split, evaluation in measured.items()},
    }
    logits = _class_scores(parts, measured.get(headline))
    judged: Judged | None = None
    if logits is not None:
        names, labels = parts.inputs.names(headline), measured[headline].labels
        judged = Judged(headline, softmax(logits / temperature), labels, names)
        _keep_evaluation(folder, judged)
        keep_mistakes(parts, folder, judged)
    latent: dict[str, Any] | None = None
    if isinstance(parts.run.task, Reconstruction) and headline in measured:
        record.result["latent"] = {split: _said_of(found, parts) for split, found in measured.items()}
        latent = keep_reconstructions(parts, folder, model, headline)
    if isinstance(parts.run.task, Segmentation) and parts.inputs.masks is not None and headline in measured:
        keep_masks(parts, folder, model, headline)
    keep_augmented(parts, folder)
    _hand_on(parts, folder, record, model, temperature, latent)
    keep_seeing(parts, folder, model, judged, temperature)
    record.close("done")
    write_report(folder.path)
    return model


def intervals(evaluation: Evaluation) -> dict[str, Any]:
    """Every metric with its 95 % interval: Wilson's for proportions, bootstrap for means."""
    return {name: of_values(values).to_json() for name, values in evaluation.values.items()}


def _measured(parts: Parts, model: nn.Module, split: str) -> Evaluation:
    run = parts.run
    source = parts.inputs.source(split, run.profile, parts.recipe.workers)
    size = evaluation_batch(parts.recipe)
    return evaluate(model, source, run.task, parts.inputs.normalise, run.profile, keep=True, batch_size=size)


def _class_scores(parts: Parts, found: Evaluation | None) -> np.ndarray | None:
    """Logits, N K, if that is what came out: the report's confusion, calibration and mistakes are about them."""
    if found is None or found.output is None or found.labels.ndim != 1:
        return None
    return found.output if found.output.shape[1:] == (len(parts.inputs.classes),) else None


def _best_epoch(history: list[dict[str, Any]]) -> int | None:
    """The epoch with the least validation loss; for the reader, nothing is chosen by it."""
    rows = [row for row in history if math.isfinite(row.get("val_loss", math.nan))]
    return min(rows, key=lambda row: row["val_loss"])["epoch"] if rows else None


def _keep_evaluation(folder: RunFolder, judged: Judged) -> None:
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        probabilities=judged.probabilities.astype(np.float32),
        labels=judged.labels,
        names=np.array(judged.names, dtype=str),
        split=np.array(judged.split),
    )
    write_atomic(folder.evaluation_file, stream.getvalue())


def _said_of(found: Evaluation, parts: Parts) -> dict[str, Any]:
    """What the record says of the codes of a split, and in words whether something is wrong with them."""
    if not isinstance(found.summary, Latent):
        return {}
    return {**found.summary.to_json(), "alarm": alarm(found.summary, parts.recipe, 1.0, parts.run)}


def _hand_on(
    parts: Parts,
    folder: RunFolder,
    record: "Record",
    model: nn.Module,
    temperature: float,
    latent: dict[str, Any] | None,
) -> None:
    folder.bundle.mkdir(parents=True, exist_ok=True)
    preprocess, masks = parts.inputs.preprocess, parts.inputs.masks
    save_bundle(
        folder.bundle,
        model,
        spec=parts.spec,
        structure=[str(trick.spec) for trick in parts.run.tricks if trick.card.structure],
        classes=parts.inputs.classes,
        in_channels=parts.inputs.channels,
        macs=parts.macs,
        task=parts.run.task.name,
        preprocess=None if preprocess is None else preprocess.to_json(),
        temperature=temperature,
        masks=None if masks is None else said_of(masks, parts.inputs.shape[1]),
        latent=latent,
        metrics=record.result["splits"],
        recipe=parts.recipe.model_dump(mode="json") | {"data": Path(parts.recipe.data).name},
        versions=record.versions,
        write=write_atomic,
    )
