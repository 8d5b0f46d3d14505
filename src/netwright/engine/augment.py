"""From stored samples to what the network sees: one resampling, one colour product, one normalisation."""

from collections.abc import Iterator

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError, listed
from netwright.engine.colour import Colour, recolour
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw
from netwright.engine.run import Batch, Run
from netwright.engine.warp import Warp, gather, resample, resample_labels


class Augment:
    """Training samples through the stations geometry, colour, pixels and batch.

    Where no trick needs values in [0, 1], pictures stay bytes until they are normalised.
    """

    def __init__(self, run: Run, normalise: Normalise | None = None) -> None:
        self.run = run
        self.normalise = normalise or run.normalise
        self.coloured = bool(run.tricks.at("colour"))
        self.pixelled = bool(run.tricks.at("pixels"))
        self.unchecked = self.coloured or self.pixelled

    def __call__(self, raw: Raw) -> Batch:
        """One batch as the network sees it."""
        batch = self.normalised(raw)
        return self.run.tricks.through("batch", batch, self.run)

    def pictures(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Pictures in [0, 1] or bytes, N C H W, and labels, after geometry and colour."""
        self.run.ids = raw.id
        if self.unchecked:
            self._check_range(raw.image)
        image, label = self._warped(raw)
        if self.coloured:
            image = unit(image)
            image = recolour(image, self.run.tricks.through("colour", Colour.neutral(image), self.run))
        return image, label

    def normalised(self, raw: Raw) -> Batch:
        """Everything but the batch station; features stay as they are."""
        if raw.image.dim() == 2:
            self.run.ids = raw.id
            return Batch(raw.image, raw.label, self.run.task.batch(raw.image, raw.label), raw.id)
        image, label = self.pictures(raw)
        if self.pixelled:
            plain = Batch(unit(image), label, label, raw.id)
            image = self.run.tricks.through("pixels", plain, self.run).image
        image = self.run.profile.layout(self.normalise(image))
        return Batch(image, label, self.run.task.batch(image, label), raw.id)

    def _check_range(self, image: Tensor) -> None:
        """Colour and pixel tricks mean values in [0, 1]; a user's own dataset may have normalised already."""
        self.unchecked = False
        if image.dtype != torch.uint8 and not (image.min() >= 0 and image.max() <= 1):
            names = [trick.name for trick in self.run.tricks.at("colour") + self.run.tricks.at("pixels")]
            raise NetwrightError(
                f"{listed(names)} need values in [0, 1]; this dataset gives {image.min():.2f} to {image.max():.2f}",
                "leave normalising to the end: give pictures as bytes or values in [0, 1], or leave the tricks out",
            )

    def _warped(self, raw: Raw) -> tuple[Tensor, Tensor]:
        stored = raw.image if raw.image.dtype == torch.uint8 else raw.image.permute(0, 2, 3, 1)  # N H W C
        height, width = stored.shape[1:3]
        centre = Warp.centre(len(stored), self.normalise.window(height, width), (height, width), stored.device)
        warp: Warp = self.run.tricks.through("geometry", centre, self.run)
        label = resample_labels(raw.label, warp) if raw.label.dim() > 2 else raw.label
        if warp.whole:
            return gather(stored, warp).permute(0, 3, 1, 2), label
        return resample(unit(stored.permute(0, 3, 1, 2)), warp), label


def unit(image: Tensor) -> Tensor:
    """Bytes as values in [0, 1], plane by plane in memory; other values as they are."""
    return image.contiguous().float().div_(255) if image.dtype == torch.uint8 else image


def prepare(raw: Raw, normalise: Normalise, profile: Profile) -> Tensor:
    """Pictures for evaluation: the central crop, normalised. N C H W. Features, N F, stay as they are."""
    if raw.image.dim() == 2:
        return raw.image
    image = raw.image.permute(0, 3, 1, 2) if raw.image.dtype == torch.uint8 else raw.image
    height, width = normalise.window(*image.shape[2:])
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    image = image[:, :, top : top + height, left : left + width]
    return profile.layout(normalise(image))


def plain_batches(run: Run) -> Iterator[Tensor]:
    """The first epoch's training pictures as evaluation would see them: for statistics, not for updates. N C H W."""
    return (image for image, _ in labelled_batches(run))


def labelled_batches(run: Run) -> Iterator[tuple[Tensor, Tensor]]:
    """The same with labels, on the same device: for what calls a network, which may take each picture's class."""
    return ((prepare(raw, run.normalise, run.profile), raw.label) for raw in run.loader.epoch(0))
