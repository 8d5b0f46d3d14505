"""Cross-validation on what is not the test split: parts that are held out in turn, each picture once."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from netwright.data import Data
from netwright.data.group import group_of, pattern_of
from netwright.data.split import Split
from netwright.data.subset import changed

Places = NDArray[np.intp]
HASHED = 256  # pictures at a time


def pooled(data: Data, most: int, seed: int = 0) -> Data:
    """The training and validation pictures as one training split, without a test split.

    Where there are more than `most`, a random part with the same shares of classes, and at least two of each.

    Args:
        data: with one label a picture.
        most: pictures to keep.
        seed: decides which.
    """
    sides = [data.splits[side] for side in ("train", "val") if side in data.splits]
    labels = np.concatenate([side.labels for side in sides])
    chosen = _share_of_each(labels, most, seed)
    starts = np.cumsum([0, *(len(side) for side in sides)])
    kept = [
        side.taken(chosen[(chosen >= start) & (chosen < start + len(side))] - start)
        for side, start in zip(sides, starts, strict=False)
    ]
    names = [name for side in kept for name in side.names]
    images, ids = np.concatenate([np.asarray(s.images) for s in kept]), np.concatenate([s.ids for s in kept])
    return _only(data, {"train": Split(images, labels[chosen], ids, names)}, f"{len(chosen)} pooled, seed {seed}")


def parts(data: Data, folds: int, *, seed: int = 0, group: str | None = None) -> list[Data]:
    """The training split divided: in each part one fold is the test split, and the others are for training.

    Args:
        data: with pictures in memory.
        folds: how many.
        seed: decides which picture is in which.
        group: pictures in whose names the first bracket finds the same are held out together.
    """
    split = data.splits["train"]
    fold = dealt(split.labels, groups(split, group), folds, seed)
    return [
        _only(
            data,
            {"train": split.taken(np.flatnonzero(fold != k)), "test": split.taken(np.flatnonzero(fold == k))},
            f"fold {k} of {folds}, seed {seed}, group {group}",
        )
        for k in range(folds)
        if (fold == k).any()
    ]


def groups(split: Split, group: str | None = None) -> NDArray[np.int64]:
    """A number for each picture; those that belong together have the same: equal contents, or a group's name. N."""
    pattern = None if group is None else pattern_of(group)
    keys: list[bytes] = []
    for start in range(0, len(split), HASHED):
        for place, pixels in enumerate(
            np.asarray(split.images[np.arange(start, min(start + HASHED, len(split)))]), start
        ):
            own = "" if pattern is None else group_of(split.names[place], pattern)
            keys.append(sha256(own.encode("utf-8", "surrogatepass") if own else pixels.tobytes()).digest())
    return _joined(keys)


def dealt(labels: NDArray[np.int64], groups: NDArray[np.int64], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each picture, N: groups stay together, and each fold gets its share of every class, or nearly.

    Large groups are dealt first. Each goes where there are fewest of its classes, and of such folds to the smallest.
    """
    _, group = np.unique(groups, return_inverse=True)
    classes = int(labels.max(initial=0)) + 1
    held = np.zeros((int(group.max(initial=-1)) + 1, classes), np.int64)
    np.add.at(held, (group, labels), 1)
    drawn = np.random.default_rng(seed).permutation(len(held))
    order = drawn[np.argsort(-held[drawn].sum(1), kind="stable")]
    counts, where = np.zeros((folds, classes), np.int64), np.zeros(len(held), np.int64)
    for one in order:
        where[one] = np.lexsort((counts.sum(1), counts @ held[one]))[0]
        counts[where[one]] += held[one]
    return where[group]


def _joined(keys: Sequence[bytes]) -> NDArray[np.int64]:
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _share_of_each(labels: NDArray[np.int64], most: int, seed: int) -> Places:
    """Places of so many, in order. The first of each class in a random order, in proportion."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen: list[Places] = []
    for label in np.unique(labels):
        own = order[labels[order] == label]
        chosen.append(own[: max(2, round(most * len(own) / len(labels)))])
    return np.sort(np.concatenate(chosen))


def _only(data: Data, splits: dict[str, Split], how: str) -> Data:
    """The data with these splits and no others."""
    return changed(replace(data, splits={}), splits, data.classes, how)
