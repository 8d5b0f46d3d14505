"""Pictures for the report: the worst mistakes, of all and by class, and training samples as the network saw them."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from netwright.data.masks import IGNORED, Masks
from netwright.engine.augment import Augment, prepare, unit
from netwright.engine.plans import Raw
from netwright.engine.warp import IGNORE
from netwright.recipes._assemble import Parts
from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.report.overlay import overlay

MISTAKES, SAMPLES, COLUMNS = 24, 24, 8
CLASSES, EACH = 20, 3  # how many classes show their surest mistakes, and how many of them
THUMBNAIL, TILE, SMALL = 160, 96, 96  # pixels: of a picture alone, in a sheet, and beside others of its class
AT_ONCE = 8  # pictures on their way through the network
SHARP = 64  # pixels up to which each one counts, and is kept as it is
QUALITY = 85  # of JPEG, for larger pictures


@dataclass(frozen=True)
class Judged:
    """What the network said of a split: probabilities N K, labels N, names N."""

    split: str
    probabilities: np.ndarray
    labels: np.ndarray
    names: Sequence[str]

    def worst(self) -> np.ndarray:
        """Wrong ones, those it was surest of first."""
        guess, sure = self.probabilities.argmax(1), self.probabilities.max(1)
        wrong = np.flatnonzero(guess != self.labels)
        return wrong[np.argsort(-sure[wrong], kind="stable")]

    def best(self) -> np.ndarray:
        """The right one it was surest of, for each class that has one, in the order of the classes."""
        guess, sure = self.probabilities.argmax(1), self.probabilities.max(1)
        right = np.flatnonzero(guess == self.labels)
        right = right[np.argsort(-sure[right], kind="stable")]
        _, first = np.unique(self.labels[right], return_index=True)
        return right[first]

    def entry(self, classes: Sequence[str], index: int) -> dict[str, Any]:
        """One sample in words, for JSON."""
        row = self.probabilities[index]
        return {
            "name": self.names[index],
            "truth": classes[self.labels[index]],
            "guess": classes[row.argmax()],
            "confidence": float(row.max()),
        }


@dataclass(frozen=True)
class Looks:
    """Pictures as the network saw them: its input, N C H W, and for eyes, uint8 N H W C."""

    image: Tensor
    picture: np.ndarray


def looks(parts: Parts, split: str, positions: Sequence[int]) -> Iterator[Looks]:
    """Samples of a split, in evaluation's view, a few at a time."""
    source = parts.inputs.source(split, parts.run.profile, 0)
    chunks = [np.array(positions[i : i + AT_ONCE]) for i in range(0, len(positions), AT_ONCE)]
    for raw in source.batches(chunks):
        image = prepare(raw, parts.inputs.normalise, parts.run.profile).float()
        yield Looks(image, as_bytes(_cut(raw, *image.shape[2:])))


def keep_mistakes(parts: Parts, folder: RunFolder, judged: Judged) -> None:
    """Thumbnails of the samples the network was surest of and wrong about, of all and of each class."""
    worst = judged.worst()
    classes = parts.inputs.classes
    (folder.samples / "mistakes").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for index, picture in _pictures(parts, judged.split, worst[:MISTAKES]):
        file = keep_picture(folder, f"mistakes/{len(rows):02d}", picture)
        rows.append({"file": file, **judged.entry(classes, index)})
    write_atomic(folder.samples / "mistakes.json", json.dumps(rows, ensure_ascii=False))
    _keep_by_class(parts, folder, judged, worst)


def _keep_by_class(parts: Parts, folder: RunFolder, judged: Judged, worst: np.ndarray) -> None:
    """For the classes with the most mistakes, the surest of them."""
    truths = judged.labels[worst]
    counts = np.bincount(truths, minlength=len(parts.inputs.classes))
    of_class = np.bincount(judged.labels, minlength=len(parts.inputs.classes))
    chosen = [int(k) for k in np.argsort(-counts, kind="stable")[:CLASSES] if counts[k]]
    rows: list[dict[str, Any]] = []
    for k in chosen:
        name = parts.inputs.classes[k]
        rows.append({"class": name, "n": int(of_class[k]), "wrong": int(counts[k]), "mistakes": []})
        for index, picture in _pictures(parts, judged.split, worst[truths == k][:EACH]):
            stem = f"mistakes/class-{len(rows) - 1:02d}-{len(rows[-1]['mistakes'])}"
            file = keep_picture(folder, stem, picture, SMALL)
            rows[-1]["mistakes"].append({"file": file, **judged.entry(parts.inputs.classes, index)})
    write_atomic(folder.samples / "by_class.json", json.dumps(rows, ensure_ascii=False))


def keep_augmented(parts: Parts, folder: RunFolder) -> None:
    """One picture of the training samples as the network saw them."""
    run = parts.run
    batch = Augment(run)(_first(parts))
    seen = batch.image.float()
    shape = (-1, 1, 1)
    mean = torch.tensor(parts.inputs.normalise.mean, device=seen.device).view(shape)
    std = torch.tensor(parts.inputs.normalise.std, device=seen.device).view(shape)
    pictures = as_bytes(seen * std + mean)
    if parts.inputs.masks is not None:
        pictures = np.stack([marked(*each, parts.inputs.masks) for each in zip(pictures, batch.label, strict=True)])
    folder.samples.mkdir(parents=True, exist_ok=True)
    write_atomic(folder.samples / "augmented.png", png(grid(sized(pictures, TILE))))


def _first(parts: Parts) -> Raw:
    """The first training samples, of as many batches as it takes."""
    run = parts.run
    batches: list[Raw] = []
    for raw in run.loader.epoch(0):
        if raw.image.dim() == 2:  # features: pictures are the same in every step
            train = parts.inputs.source("train", run.profile, 0)
            return next(iter(train.batches([np.arange(min(SAMPLES, len(train)))])))
        if batches and raw.image.shape[1:] != batches[0].image.shape[1:]:
            break
        batches.append(raw)
        if sum(len(each.id) for each in batches) >= SAMPLES:
            break
    columns = ([raw.image for raw in batches], [raw.label for raw in batches], [raw.id for raw in batches])
    return Raw(*(torch.cat(column)[:SAMPLES] for column in columns))


def marked(picture: np.ndarray, label: Tensor, masks: Masks) -> np.ndarray:
    """A picture, H W C, with its classes drawn over it, H W or K H W. H W 3."""
    return overlay(picture, as_mask(label), masks.colours, background=masks.background)


def as_mask(label: Tensor) -> np.ndarray:
    """Class numbers with -1 where they count nowhere -> uint8 with 255 there. Any shape."""
    return torch.where(label == IGNORE, IGNORED, label).cpu().numpy().astype(np.uint8)


def keep_picture(folder: RunFolder, stem: str, picture: np.ndarray, side: int = THUMBNAIL) -> str:
    """A thumbnail, H W C, in the folder of samples; its name there. Photos are JPEG, a tenth of PNG's size."""
    small = max(picture.shape[:2]) <= SHARP
    file = f"{stem}.{'png' if small else 'jpg'}"
    thumbnail = sized(picture[None], side)[0]
    path: Path = folder.samples / file
    write_atomic(path, png(thumbnail) if small else _jpeg(thumbnail))
    return file


def as_bytes(image: Tensor) -> np.ndarray:
    """Values in [0, 1], N C H W -> bytes, N H W C."""
    return (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def grid(images: np.ndarray, columns: int = COLUMNS) -> np.ndarray:
    """Pictures side by side with a white line between them. N H W C -> H W C."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 2), min(n, columns) * (width + 2), channels), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + 2), place % columns * (width + 2)
        sheet[top : top + height, left : left + width] = image
    return sheet


def sized(images: np.ndarray, side: int) -> np.ndarray:
    """Small pictures repeated by whole pixels up to about `side`, larger ones shrunk to it. N H W C -> N h w C."""
    factor = max(1, side // max(images.shape[1:3]))
    if max(images.shape[1:3]) <= side:
        return images.repeat(factor, 1).repeat(factor, 2)
    scale = side / max(images.shape[1:3])
    size = (max(1, round(images.shape[2] * scale)), max(1, round(images.shape[1] * scale)))
    shrunk = [np.asarray(_image(each).resize(size, Image.Resampling.BOX)) for each in images]
    return np.stack(shrunk).reshape(len(images), size[1], size[0], -1)


def png(image: np.ndarray) -> bytes:
    """A picture, H W C, as PNG."""
    stream = io.BytesIO()
    _image(image).save(stream, "PNG", optimize=False)
    return stream.getvalue()


def _jpeg(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    _image(image).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def _image(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[2] < 3 else image[..., :3])


def _pictures(parts: Parts, split: str, positions: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each position and its picture, uint8 H W C."""
    seen = (picture for look in looks(parts, split, positions.tolist()) for picture in look.picture)
    yield from zip(positions.tolist(), seen, strict=True)


def _cut(raw: Raw, height: int, width: int) -> Tensor:
    """The middle of stored samples, which evaluation looks at, as values in [0, 1]; N C H W."""
    image = unit(raw.image.permute(0, 3, 1, 2) if raw.image.dtype == torch.uint8 else raw.image)
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    return image[:, :, top : top + height, left : left + width]
