"""What a run reads: netwright's own data, arrays, or a user's datasets, all behind the engine's `Source`."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.core.errors import NetwrightError, unknown
from netwright.data import Data, from_arrays, open_data
from netwright.data.gate.quarantine import read_quarantine
from netwright.data.gate.summary import notes
from netwright.data.listing import counted
from netwright.data.loader import ArraySource, DatasetSource, Seeded, as_tensor, is_deep
from netwright.data.masks import Masks, MaskWanted
from netwright.data.preprocess import Preprocess
from netwright.data.scene_sources import CropSource, WholeSource
from netwright.data.scenes import Scenes
from netwright.data.split import Split
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Source
from netwright.recipes._recipe import Recipe

SAMPLE = 512  # for means and deviations
COMPARED = 16  # of each split, when a run is resumed
UNSEEDED = "its pictures differ although every seed is the same: a repeat of this run will differ, too"
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Inputs:
    """Everything that is known of the data before a network exists.

    Attributes:
        splits: "train", and "val" and "test" where there are any; netwright's `Split` or a user's dataset.
        classes: class names in the order of the outputs.
        channels: of the network's input.
        normalise: how values become the network's input.
        preprocess: how a file becomes a picture; None if the user's own dataset does that.
        colour: the training pictures' mean, of each channel; nothing where only their own dataset knows their scale.
        ready: whether the user's own dataset gives values as the network is to see them: floats.
        repeats: whether the same seeds give the same training pictures; a dataset may have a generator of its own.
        record: what the run's record says of the data.
        masks: what the masks mean; None where pictures have labels as a whole.
        opened: the splits that are on a device already.
    """

    splits: Mapping[str, Any]
    classes: tuple[str, ...]
    channels: int
    normalise: Normalise
    preprocess: Preprocess | None
    record: dict[str, Any]
    colour: tuple[float, ...] = ()
    ready: bool = False
    repeats: bool = True
    masks: Masks | None = None
    opened: dict[str, Source] = field(default_factory=dict[str, Source])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what the network sees: C H W."""
        size = self.record["image_size"]
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return self.channels, height, width

    def normalised(self, mean: Sequence[float], std: Sequence[float], *notes: str) -> "Inputs":
        """The same data, normalised in another way, with notes of why."""
        moments = {"mean": list(mean), "std": list(std)}
        record = self.noted(*notes).record | moments
        preprocess = self.preprocess and replace(self.preprocess, mean=tuple(mean), std=tuple(std))
        return replace(
            self, preprocess=preprocess, normalise=replace(self.normalise, mean=mean, std=std), record=record
        )

    def noted(self, *notes: str) -> "Inputs":
        """The same data, with notes besides."""
        return replace(self, record=self.record | {"notes": [*self.record.get("notes", []), *notes]})

    def stays(self, split: str) -> bool:
        """Whether a split has the same pictures whenever they are read, as far as a few of them tell."""
        held = self.splits[split]
        return isinstance(held, Split) or _is_still(held, range(3))

    def source(self, split: str, profile: Profile, workers: int) -> Source:
        """A split on a device; asked again, the same one, since a small split is held in memory there."""
        if split not in self.opened:
            self.opened[split] = self._opened(split, profile, workers)
        return self.opened[split]

    def _opened(self, split: str, profile: Profile, workers: int) -> Source:
        held = self.splits[split]
        if isinstance(held, Scenes):
            crop = self.preprocess.stored_size if self.preprocess else self.shape[1]
            return CropSource(held, profile, crop) if split == "train" else WholeSource(held, profile, crop=crop)
        own = isinstance(held, Split)
        return ArraySource(held, profile) if own else DatasetSource(held, profile, workers=workers)

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
    inputs = _read(recipe, data, classes, progress)
    known = inputs.normalise
    return inputs if recipe.normalise == "z_score" else inputs.normalised(*_moments_for(recipe.normalise, known))


def _moments_for(kind: str, channels: Normalise) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and deviations for "unit" and "global", from those of each channel.

    The variance of all values is the mean of the channels' variances and the variance of their means.
    """
    n = len(channels.mean)
    if kind == "unit":
        return (0.0,) * n, (1.0,) * n
    mean, std = np.asarray(channels.mean), np.asarray(channels.std)
    deviation = math.sqrt(np.square(std).mean() + mean.var())
    return (round(float(mean.mean()), 4),) * n, (round(deviation, 4),) * n


def _read(recipe: Recipe, data: Any, classes: Sequence[str] | None, progress: Any) -> Inputs:
    if data is None or isinstance(data, str):
        quarantine = read_quarantine(Path(recipe.quarantine).expanduser()) if recipe.quarantine else {}
        source = data or recipe.data
        data = open_data(
            source,
            image_size=recipe.image_size,
            fit=recipe.fit,
            channels=recipe.channels,
            fractions=_fractions(recipe),
            quarantine=quarantine,
            group=recipe.group,
            masks=mask_wanted(recipe),
            classes=recipe.task != "reconstruction",
            progress=progress,
        )
        return _gated(_own(data), data, source, recipe, quarantine)
    if isinstance(data, Data):
        return _own(data)
    splits = _splits(data)
    if all(isinstance(held, tuple) for held in splits.values()):
        wanted: dict[str, Any] = {"image_size": recipe.image_size, "fit": recipe.fit, "channels": recipe.channels}
        return _own(from_arrays(**splits, classes=classes, fractions=_fractions(recipe), **wanted))
    return _users(splits, classes)


def _gated(inputs: Inputs, data: Data, source: str, recipe: Recipe, quarantine: Mapping[str, str]) -> Inputs:
    """The same, with what the data gate found among the notes.

    Raises:
        NetwrightError: it found an error, and the recipe wants that refused.
    """
    if recipe.gate == "off" or data.examined is None or not data.root:
        return inputs
    from netwright.data.gate.check import check  # brings scipy along, which digits and arrays need not wait for

    verdict = check(data.examined, recipe.group, quarantine=quarantine, masks=mask_wanted(recipe))
    if recipe.task == "reconstruction":  # which tells nothing apart
        verdict = replace(verdict, findings=tuple(each for each in verdict.findings if each.kind != "one_class"))
    errors, warnings = verdict.of("error"), verdict.of("warning")
    if errors and recipe.gate == "error":
        raise NetwrightError(f"the data does not pass the gate: {errors[0].title}", errors[0].fix)
    counts = {"errors": len(errors), "warnings": len(warnings)}
    told = [*inputs.record["notes"], *notes(verdict, source)]
    return replace(inputs, record=inputs.record | {"gate": counts, "notes": told})


def mask_wanted(recipe: Recipe) -> MaskWanted:
    """How a recipe wants masks to be read."""
    return MaskWanted(recipe.masks, recipe.legend, recipe.ignore)


def _fractions(recipe: Recipe) -> tuple[float, float, float]:
    return 1 - recipe.val_fraction - recipe.test_fraction, recipe.val_fraction, recipe.test_fraction


def _splits(data: Any) -> dict[str, Any]:
    """What a caller gave, by split.

    Raises:
        NetwrightError: it is not one split each for train, val and test.
    """
    named = isinstance(data, Mapping)
    if not named and (not isinstance(data, tuple | list) or any(isinstance(part, np.ndarray) for part in data)):
        raise NetwrightError(f"data cannot be a {type(data).__name__} alone", "give the splits: data=(train, val)")
    given: Mapping[str, Any] = data if named else dict(zip(("train", "val", "test"), data, strict=False))
    for name in given:
        if name not in SPLITS:
            raise unknown("split", str(name), SPLITS)
    found = {SPLITS[name]: held for name, held in given.items() if held is not None}
    if "train" not in found:
        raise NetwrightError("data has no train split", 'give one: data={"train": …, "val": …}')
    return found


def _own(data: Data) -> Inputs:
    preprocess = data.preprocess
    normalise = Normalise(preprocess.mean, preprocess.std, preprocess.image_size)
    record = data.summary()
    record |= record.pop("preprocess")
    return Inputs(
        data.splits, data.classes, preprocess.channels, normalise, preprocess, record,
        masks=data.masks, colour=preprocess.mean,
    )  # fmt: skip


def _users(splits: Mapping[str, Any], classes: Sequence[str] | None) -> Inputs:
    train = splits["train"]
    if not len(train):
        raise NetwrightError("the train split is empty", "give pictures to train on")
    sample = train[0][0]
    first = as_tensor(sample)
    names = classes or getattr(train, "classes", None)
    labels = {split: _labels(held, look=names is None) for split, held in splits.items()}
    still = {split: _is_still(held, (0, 0)) for split, held in splits.items()}
    if names is None:
        names = [str(i) for i in range(_count_classes(labels.values()))]
    bytes_ = first.dtype == torch.uint8
    channels = first.shape[2] if bytes_ else first.shape[0]
    known = bytes_ or is_deep(sample)
    mean, std = _moments(Seeded(train, 0)) if known else ((0.0,) * channels, (1.0,) * channels)
    record = {
        "name": type(train).__name__,
        "classes": list(names),
        "fingerprint": _fingerprint(splits, labels, still),
        "splits": {split: {"n": len(held)} for split, held in splits.items()},
        "notes": ["your own dataset: its transforms are used as they are", *([] if still["train"] else [UNSEEDED])],
        "channels": channels,
        "image_size": list(first.shape[:2] if bytes_ else first.shape[1:]),
        "mean": list(mean),
        "std": list(std),
    }
    colour = tuple(mean) if known else ()
    return Inputs(
        splits, tuple(map(str, names)), channels, Normalise(mean, std), None, record,
        colour=colour, ready=not known, repeats=still["train"],
    )  # fmt: skip


def _labels(held: Any, *, look: bool) -> NDArray[Any] | None:
    """All labels of a dataset, by looking at every sample if it does not tell them; None if that shall not be."""
    told = getattr(held, "targets", None)
    if told is None and not look:
        return None
    try:
        return np.asarray([held[i][1] for i in range(len(held))] if told is None else told)
    except (ValueError, TypeError):  # of different shapes, or on a GPU
        return None


def _count_classes(labels: Iterable[NDArray[Any] | None]) -> int:
    """Where a dataset does not tell its classes: one more than the highest label.

    Where pictures have a 0 or 1 for each class, as many as there are of these.
    """
    known = [held for held in labels if held is not None]
    for held in known:
        if held.ndim == 2:
            return held.shape[1]
    highest = max((int(held.max()) for held in known if len(held)), default=0)
    if highest < 1:
        raise NetwrightError("the dataset has one class only", "give samples of at least two classes, or classes=[…]")
    return len(counted(highest, sum(map(len, known)), "the dataset"))


def _fingerprint(
    splits: Mapping[str, Any], labels: Mapping[str, NDArray[Any] | None], still: Mapping[str, bool]
) -> str:
    """A hash of the labels that are known, and of a spread of samples; other data have another one.

    Of a picture it takes each channel's mean to three decimals, which another version of a decoder seldom changes; of
    a split that is not `still`, which gives other pictures from the same seeds, the labels only.
    """
    found = hashlib.sha256()
    for split, held in splits.items():
        known, seeded = labels[split], Seeded(held, 0)
        found.update(f"{split} {len(held)} {None if known is None else known.tolist()}".encode())
        for place in _spread(len(held), COMPARED):
            brief = _brief(seeded[place])
            found.update(str(brief if still[split] else brief[1:]).encode())
    return found.hexdigest()


def _is_still(held: Any, streams: Iterable[int]) -> bool:
    """Whether a user's dataset gives the same pictures, to the last bit, each time it draws from these streams."""
    looks = [Seeded(held, stream) for stream in streams]
    with torch.random.fork_rng([]):  # what is drawn here, the run does not miss
        for place in _spread(len(held), COMPARED):
            first, *others = (as_tensor(seeded[place][0]) for seeded in looks)
            if not all(torch.equal(first, other) for other in others):
                return False
    return True


def _brief(sample: Any) -> tuple[list[float], str]:
    """Means of a picture's channels, and its label."""
    picture = as_tensor(sample[0])
    channels = picture.movedim(-1, 0) / 255 if picture.dtype == torch.uint8 else picture
    means = [round(float(mean), 3) for mean in channels.double().flatten(1).mean(1)]
    return means, str(torch.as_tensor(sample[1]).tolist())


def _values(picture: Any) -> Tensor:
    """A picture from a user's dataset as C H W, bytes and 16 bits on the scale [0, 1], in double precision."""
    tensor = as_tensor(picture)
    return tensor.movedim(-1, 0).double() / 255 if tensor.dtype == torch.uint8 else tensor.double()


def _spread(n: int, most: int) -> list[int]:
    """Places from the first to the last, all of them if there are no more than `most`."""
    return np.linspace(0, n - 1, min(most, n)).astype(int).tolist()


def _moments(train: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over a spread of samples, on the scale [0, 1]."""
    n, total, square = 0, torch.zeros(()), torch.zeros(())
    for place in _spread(len(train), SAMPLE):
        values = _values(train[place][0]).flatten(1)
        n, total, square = n + values.shape[1], total + values.sum(1), square + values.square().sum(1)
    mean = total / n
    std = ((square / n - mean.square()).clamp(min=0) * n / max(1, n - 1)).sqrt().clamp(min=1e-3)
    return tuple(round(float(m), 4) for m in mean), tuple(round(float(s), 4) for s in std)
