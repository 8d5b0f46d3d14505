"""After training: calibrate, evaluate, keep what the report shows, and hand on the model."""

import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from netwright.bundle.save import save_bundle
from netwright.engine.augment import Augment, unit
from netwright.engine.evaluate import Evaluation, evaluate
from netwright.engine.plans import Raw
from netwright.recipes._assemble import Parts, evaluation_batch
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.records.intervals import of_values
from netwright.report import write_report
from netwright.tasks._calibration import fit_temperature, softmax

if TYPE_CHECKING:
    from netwright.recipes._record import Record

MISTAKES, SAMPLES, COLUMNS = 24, 24, 8
THUMBNAIL, TILE = 160, 96  # pixels to which a small picture, alone or in a sheet, is enlarged


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
    if logits is not None:
        _keep_evaluation(parts, folder, headline, softmax(logits / temperature), measured[headline].labels)
    _keep_augmented(parts, folder)
    _hand_on(parts, folder, record, model, temperature)
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


def _keep_evaluation(
    parts: Parts, folder: RunFolder, split: str, probabilities: np.ndarray, labels: np.ndarray
) -> None:
    names = parts.inputs.names(split)
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        probabilities=probabilities.astype(np.float32),
        labels=labels,
        names=np.array(names, dtype=str),
        split=np.array(split),
    )
    write_atomic(folder.evaluation_file, stream.getvalue())
    _keep_mistakes(parts, folder, split, probabilities, labels, names)


def _keep_mistakes(
    parts: Parts, folder: RunFolder, split: str, probabilities: np.ndarray, labels: np.ndarray, names: list[str]
) -> None:
    """Thumbnails of the samples the network was surest of and wrong about."""
    guess, sure = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(guess != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    place = folder.samples / "mistakes"
    place.mkdir(parents=True, exist_ok=True)
    source = parts.inputs.source(split, parts.run.profile, 0)
    rows: list[dict[str, Any]] = []
    for number, raw in enumerate(source.batches([np.array([i]) for i in worst])):
        index = worst[number]
        write_atomic(place / f"{number:02d}.png", _png(_bytes(_pictures(raw))[0]))
        rows.append(
            {
                "file": f"mistakes/{number:02d}.png",
                "name": names[index],
                "truth": parts.inputs.classes[labels[index]],
                "guess": parts.inputs.classes[guess[index]],
                "confidence": float(sure[index]),
            }
        )
    write_atomic(folder.samples / "mistakes.json", json.dumps(rows, ensure_ascii=False))


def _keep_augmented(parts: Parts, folder: RunFolder) -> None:
    """One picture of the training samples as the network saw them."""
    run = parts.run
    raw = next(run.loader.epoch(0))
    some = Raw(raw.image[:SAMPLES], raw.label[:SAMPLES], raw.id[:SAMPLES])
    seen = Augment(run)(some).image.float()
    shape = (-1, 1, 1)
    mean = torch.tensor(parts.inputs.normalise.mean, device=seen.device).view(shape)
    std = torch.tensor(parts.inputs.normalise.std, device=seen.device).view(shape)
    folder.samples.mkdir(parents=True, exist_ok=True)
    write_atomic(folder.samples / "augmented.png", _png(_grid(_bytes(seen * std + mean))))


def _hand_on(parts: Parts, folder: RunFolder, record: "Record", model: nn.Module, temperature: float) -> None:
    folder.bundle.mkdir(parents=True, exist_ok=True)
    preprocess = parts.inputs.preprocess
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
        metrics=record.result["splits"],
        recipe=parts.recipe.model_dump(mode="json") | {"data": Path(parts.recipe.data).name},
        versions=record.versions,
        write=write_atomic,
    )


def _pictures(raw: Raw) -> Tensor:
    image = raw.image.permute(0, 3, 1, 2) if raw.image.dtype == torch.uint8 else raw.image
    return unit(image)


def _bytes(image: Tensor) -> np.ndarray:
    """Values in [0, 1], N C H W -> bytes, N H W C."""
    return (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _grid(images: np.ndarray) -> np.ndarray:
    """Pictures side by side with a white line between them. N H W C -> H W C."""
    images = _enlarged(images, TILE)
    n, height, width, channels = images.shape
    rows = -(-n // COLUMNS)
    sheet = np.full((rows * (height + 2), min(n, COLUMNS) * (width + 2), channels), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // COLUMNS * (height + 2), place % COLUMNS * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet


def _enlarged(images: np.ndarray, side: int) -> np.ndarray:
    """Small pictures repeated by whole pixels up to about `side`, so that they can be seen. N H W C -> N h w C."""
    factor = max(1, side // max(images.shape[1:3]))
    return images.repeat(factor, 1).repeat(factor, 2)


def _png(image: np.ndarray) -> bytes:
    """A picture, H W C, as PNG."""
    image = _enlarged(image[None], THUMBNAIL)[0]
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image[..., :3])
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=False)
    return stream.getvalue()
