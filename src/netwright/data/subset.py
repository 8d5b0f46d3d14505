"""Parts of a data set: some pictures of each class, or some of its classes. The other splits stay whole."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np

from netwright.core.errors import NetwrightError, unknown
from netwright.data.loader import occurrences
from netwright.data.split import Data, Split


def some_of_each(data: Data, per_class: int, seed: int = 0) -> Data:
    """A data set with so many training pictures of each class, drawn at random; all of a class that has fewer.

    Draws are nested: with the same seed, a larger part holds every smaller one.

    Args:
        data: with one label a picture.
        per_class: at least 1.
        seed: decides which.

    Raises:
        NetwrightError: pictures have several labels, or `per_class` is less than 1.
    """
    train = data.splits["train"]
    refuse_several(train)
    if per_class < 1:
        raise NetwrightError(f"{per_class} pictures of each class are none", "give at least 1")
    order = np.random.default_rng(seed).permutation(len(train))
    rank = occurrences(train.labels[order])
    places = np.sort(order[rank < per_class])
    return changed(data, {"train": train.taken(places)}, data.classes, f"{per_class} of each class, seed {seed}")


def of_classes(data: Data, classes: Sequence[str]) -> Data:
    """A data set of some of the classes, numbered in the order given.

    Raises:
        NetwrightError: pictures have several labels, a class is not there, or is given twice, or none is given.
    """
    if not classes or len(set(classes)) < len(classes):
        raise NetwrightError(f"classes cannot be {', '.join(classes) or 'none'}", "give at least one, each once")
    for name in classes:
        if name not in data.classes:
            raise unknown("class", name, data.classes)
    number = np.full(len(data.classes), -1)
    number[[data.classes.index(name) for name in classes]] = np.arange(len(classes))
    splits: dict[str, Split] = {}
    for side, split in data.splits.items():
        refuse_several(split)
        part = split.taken(np.flatnonzero(number[split.labels] >= 0))
        splits[side] = replace(part, labels=number[part.labels])
    return changed(data, splits, tuple(classes), f"classes {', '.join(classes)}")


def changed(data: Data, splits: dict[str, Split], classes: tuple[str, ...], how: str) -> Data:
    """A data set with other splits and classes, and a fingerprint and a note that say how it was made."""
    fingerprint = sha256(f"{data.fingerprint} {how}".encode()).hexdigest()
    return replace(
        data,
        splits=data.splits | splits,
        classes=classes,
        fingerprint=fingerprint,
        notes=(*data.notes, f"a part of the data: {how}"),
        examined=None,
    )


def refuse_several(split: Split) -> None:
    """Refuse pictures that have masks, or several labels each.

    Raises:
        NetwrightError: they have.
    """
    if getattr(split, "masks", None) is not None:
        problem = "the pictures have masks, and this is for data with one class a picture"
        raise NetwrightError(problem, "train and ablate take masks: netwright ablate DATA")
    if split.labels.ndim != 1:
        raise NetwrightError("the pictures have several labels each", "this takes data with one class a picture")
