"""What a run reads: netwright's own data, arrays, or a user's datasets, all behind the engine's `Source`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from netwright.core.errors import NetwrightError, listed
from netwright.data import Data, from_arrays, open_data
from netwright.data.loader import ArraySource, DatasetSource, as_tensor
from netwright.data.preprocess import Preprocess
from netwright.data.split import Split
from netwright.engine.augment import Normalise
from netwright.engine.device import Profile
from netwright.engine.plans import Source
from netwright.recipes._recipe import Recipe

SAMPLE = 512
# With these the weights of torchvision and timm were trained; loaded weights keep their meaning only with them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Inputs:
    """Everything that is known of the data before a network exists.

    Attributes:
        splits: "train", and "val" and "test" where there are any; netwright's `Split` or a user's dataset.
        classes: class names in the order of the outputs.
        channels: of the network's input.
        normalise: how values become the network's input.
        preprocess: how a file becomes a picture; None if the user's own dataset does that.
        record: what the run's record says of the data.
        opened: the splits that are on a device already.
    """

    splits: Mapping[str, Any]
    classes: tuple[str, ...]
    channels: int
    normalise: Normalise
    preprocess: Preprocess | None
    record: dict[str, Any]
    opened: dict[str, Source] = field(default_factory=dict[str, Source])

    def suiting(self, weights: str, fresh: Sequence[str]) -> "Inputs":
        """The same data, normalised as loaded weights expect it, with a note of what they did not bring."""
        note = f"weights from {weights}" + (f"; drawn afresh: {listed(fresh)}" if fresh else "")
        found = replace(self, record=self.record | {"notes": [*self.record.get("notes", []), note]})
        if self.preprocess is None or self.channels != len(IMAGENET_MEAN):
            return found
        preprocess = replace(self.preprocess, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD, preprocess.image_size)
        record = found.record | {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
        return replace(found, preprocess=preprocess, normalise=normalise, record=record)

    def source(self, split: str, profile: Profile, workers: int) -> Source:
        """A split on a device; asked again, the same one, since a small split is held in memory there."""
        if split not in self.opened:
            held = self.splits[split]
            own = isinstance(held, Split)
            self.opened[split] = ArraySource(held, profile) if own else DatasetSource(held, profile, workers=workers)
        return self.opened[split]

    def names(self, split: str) -> list[str]:
        """The name of each sample."""
        held = self.splits[split]
        return list(held.names) if isinstance(held, Split) else [f"{split}[{i}]" for i in range(len(held))]


def read_inputs(recipe: Recipe, data: Any, classes: Sequence[str] | None, progress: Any = None) -> Inputs:
    """Open what a recipe or a caller names.

    Args:
        recipe: names the data, unless `data` does.
        data: None, a path or name, `Data`, or the user's datasets or pairs of arrays, as (train, val[, test]) or a
            dict by split.
        classes: names for a user's datasets that do not carry any.
        progress: called with (done, total) while pictures are decoded.

    Raises:
        NetwrightError: the data cannot be used.
    """
    if data is None or isinstance(data, str):
        fractions = (1 - recipe.val_fraction - recipe.test_fraction, recipe.val_fraction, recipe.test_fraction)
        data = open_data(
            data or recipe.data,
            image_size=recipe.image_size,
            fit=recipe.fit,
            channels=recipe.channels,
            fractions=fractions,
            progress=progress,
        )
    if isinstance(data, Data):
        return _own(data)
    splits = data if isinstance(data, Mapping) else dict(zip(("train", "val", "test"), data, strict=False))
    if all(isinstance(held, tuple) for held in splits.values()):
        return _own(from_arrays(**splits, classes=classes))
    return _users(splits, classes)


def _own(data: Data) -> Inputs:
    preprocess = data.preprocess
    normalise = Normalise(preprocess.mean, preprocess.std, preprocess.image_size)
    record = data.summary()
    record |= record.pop("preprocess")
    return Inputs(data.splits, data.classes, preprocess.channels, normalise, preprocess, record)


def _users(splits: Mapping[str, Any], classes: Sequence[str] | None) -> Inputs:
    train = splits["train"]
    first = as_tensor(train[0][0])
    names = classes or getattr(train, "classes", None)
    if names is None:
        names = [str(i) for i in range(_highest_label(splits) + 1)]
    bytes_ = first.dtype == torch.uint8
    channels = first.shape[2] if bytes_ else first.shape[0]
    mean, std = _moments(train) if bytes_ else ((0.0,) * channels, (1.0,) * channels)
    record = {
        "name": type(train).__name__,
        "classes": list(names),
        "splits": {split: {"n": len(held)} for split, held in splits.items()},
        "notes": ["your own dataset: its transforms are used as they are"],
        "channels": channels,
        "image_size": max(first.shape[:2] if bytes_ else first.shape[1:]),
        "mean": list(mean),
        "std": list(std),
    }
    return Inputs(splits, tuple(map(str, names)), channels, Normalise(mean, std), None, record)


def _highest_label(splits: Mapping[str, Any]) -> int:
    """Found by looking, where a dataset does not tell its classes."""
    highest = 0
    for held in splits.values():
        labels = getattr(held, "targets", None)
        labels = [held[i][1] for i in range(len(held))] if labels is None else labels
        highest = max(highest, int(np.max(np.asarray(labels))))
    if highest < 1:
        raise NetwrightError("the dataset has one class only", "give samples of at least two classes, or classes=[…]")
    return highest


def _moments(train: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over a spread of samples, on the scale [0, 1]."""
    places = np.linspace(0, len(train) - 1, min(SAMPLE, len(train))).astype(int)
    pixels = torch.cat([as_tensor(train[int(i)][0]).flatten(0, 1) for i in places]).double() / 255
    mean, std = pixels.mean(0), pixels.std(0).clamp(min=1e-3)
    return tuple(round(float(m), 4) for m in mean), tuple(round(float(s), 4) for s in std)
