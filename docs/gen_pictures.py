"""The pictures of the catalogue, made by the engine itself for each build: what tricks and schedules do."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

from netwright.core.options import options_of
from netwright.core.spec import Spec
from netwright.engine.augment import Augment
from netwright.engine.trick import Trick
from netwright.optim.schedules._schedule import Schedule
from netwright.recipes._assemble import assemble
from netwright.recipes._recipe import Recipe
from netwright.tricks import TRICKS

STATIONS = ("geometry", "colour", "pixels", "batch")
CLASSES = ("temple", "flower")
SIDE, GAP = 104, 4  # six pictures are as wide as a page's text
EPOCHS, FLOWERS = 5, 7
SEED = 10  # under which what happens every second time happens neither always nor hardly ever
STALLED = 40  # epochs of a run whose loss stops falling halfway, to draw schedules that watch it
VISIBLE = 0.02  # root mean square change of values in [0, 1] that is seen without looking for it
FADED = 0.4, 0.75  # the values to which black and white fade
LEVELS = 4  # neighbouring bytes that are shown as one: nobody sees it, and files are a third smaller


@dataclass(frozen=True)
class Strip:
    """One photograph in the epochs of a run.

    Attributes:
        spec: the trick as a user writes it.
        faded: the photograph has little contrast, for tricks that only then have something to do.
        original: the photograph, H W C bytes.
        seen: what the network sees of it, epoch by epoch, h w C bytes; sides may change.
        shares: the photograph's own part of its target, epoch by epoch.
    """

    spec: str
    faded: bool
    original: np.ndarray
    seen: tuple[np.ndarray, ...]
    shares: tuple[float, ...]

    @property
    def visible(self) -> bool:
        """Whether somebody who does not know the photograph sees at least two of its epochs changed."""
        return sum(change(self.original, each) > VISIBLE for each in self.seen) >= 2

    def png(self) -> bytes:
        """The photograph, then its epochs, in a row; nothing lies between them."""
        side = len(self.original)
        sheet = np.zeros((side, (side + GAP) * (1 + len(self.seen)), 4), np.uint8)
        for number, tile in enumerate([self.original, *self.seen]):
            height, width = tile.shape[:2]
            left = number * (side + GAP) + GAP * (number > 0)
            sheet[side - height :, left : left + width, :3] = tile // LEVELS * LEVELS + LEVELS // 2
            sheet[side - height :, left : left + width, 3] = 255
        stream = io.BytesIO()
        Image.fromarray(sheet).save(stream, "PNG", optimize=True)
        return stream.getvalue()


@cache
def strip_of(name: str) -> Strip | None:
    """What a trick does to pictures: at its defaults, or at the mildest other options that show it.

    None if it changes no picture: it acts elsewhere, or on targets alone.
    """
    make = TRICKS.load(name)
    elsewhere = all(getattr(make, station) is getattr(Trick, station) for station in STATIONS)
    if make.card.targets or "classification" not in make.card.tasks or elsewhere:
        return None
    tries = (drawn(spec, faded) for spec, faded in attempts(name, make))
    return next((found for found in tries if found.visible), None)


def attempts(name: str, make: Any) -> Iterator[tuple[str, bool]]:
    """Specs with which to try to see something, and whether on faded pictures: not so seldom, then not so weak."""
    yield name, False
    if "probability" in options_of(make):
        yield str(Spec(name, {"probability": 1.0})), False
    strong = str(Spec(name, make.card.strong))
    yield strong, False
    yield strong, True


def drawn(spec: str, faded: bool) -> Strip:
    """A short run's pictures of the temple."""
    original = fade(photograph("china.jpg")) if faded else photograph("china.jpg")
    seen, shares = zip(*epochs(original, spec), strict=True)
    return Strip(spec, faded, original, seen, shares)


def epochs(temple: np.ndarray, *specs: str) -> Iterator[tuple[np.ndarray, float]]:
    """The temple as the network sees it, and its own part of its target, in each epoch of a run among flowers."""
    images = np.stack([temple, *[photograph("flower.jpg")] * FLOWERS])
    labels = np.array([0] + [1] * FLOWERS)
    recipe = Recipe(tricks=specs, normalise="unit", epochs=EPOCHS, batch_size=len(images), seed=SEED, device="cpu")
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, len(CLASSES)))
    split = images, labels
    run = assemble(recipe, data={"train": split, "val": split}, model=network, classes=CLASSES).run
    augment = Augment(run)
    for run.epoch in range(EPOCHS):
        run.step = run.epoch
        batch = augment(next(run.loader.epoch(run.epoch)))
        (place,) = (batch.label == 0).nonzero()[:, 0].tolist()
        yield as_bytes(batch.image[place]), float(batch.target[place, 0])


@dataclass(frozen=True)
class Watched:
    """A schedule in a run whose loss stops falling halfway, as `schedule_figure` draws it."""

    schedule: Schedule

    def __call__(self, progress: float, /) -> float:
        """The factor of the peak learning rate."""
        losses = [max(0.5, 1 - epoch / STALLED) for epoch in range(int(progress * STALLED))]
        return self.schedule(progress, [{"train_loss": loss} for loss in losses])

    def momentum_at(self, progress: float) -> float | None:
        """The momentum, if the schedule has one."""
        return self.schedule.momentum_at(progress)

    @property
    def says(self) -> str:
        """What the reader must know of the run; nothing if the schedule goes by time alone."""
        watches = type(self.schedule).seen is not Schedule.seen
        return f"In a run of {STALLED} epochs whose loss stops falling halfway." if watches else ""


@cache
def photograph(file: str) -> np.ndarray:
    """One of scikit-learn's own, its middle square. H W C bytes."""
    picture = Image.fromarray(load_sample_image(file))
    margin = (picture.width - picture.height) // 2
    square = picture.crop((margin, 0, margin + picture.height, picture.height))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def as_bytes(image: Tensor) -> np.ndarray:
    """Values in [0, 1], C H W -> bytes, H W C."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def fade(picture: np.ndarray) -> np.ndarray:
    """The same picture with less contrast. Bytes."""
    black, white = FADED
    return (picture * (white - black) + 255 * black).round().astype(np.uint8)


def change(before: np.ndarray, after: np.ndarray) -> float:
    """The root mean square change of values in [0, 1]; another size is a change of everything."""
    if before.shape != after.shape:
        return 1.0
    return float(np.sqrt(np.square(before.astype(np.float32) - after).mean()) / 255)
