"""Labelled pictures for measuring a model that exists: its classes and its preprocessing decide, not the folder's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data import list_data
from netwright.data.assign import SPLITS
from netwright.data.kinds import listing_of
from netwright.data.listing import Listing, taken
from netwright.data.preprocess import Preprocess
from netwright.data.ready import digests_of, looked_at, split_of
from netwright.data.split import Split, Wanted

SEEN = "every picture here was measured: if the model was trained on some of them, the result is too good"
ORDER = ("test", "val", "train")


@dataclass(frozen=True)
class Labelled:
    """A split whose labels are a model's class numbers, its name, and what a user should know of it."""

    split: Split
    name: str
    notes: tuple[str, ...]


def labelled(source: str, preprocess: Preprocess, classes: Sequence[str]) -> Labelled:
    """Labelled pictures prepared as a model wants them: test where there is one, else validation, else everything.

    Args:
        source: what `open_data` takes; also a test split alone, or one class.
        preprocess: the model's.
        classes: the model's class names.

    Raises:
        NetwrightError: no pictures, or a class the model does not know.
    """
    return _prepared(_with_labels_of(list_data(source, strict=False), classes), preprocess)


def unlabelled(source: str, preprocess: Preprocess) -> Labelled:
    """The same for a model that no class matters to: any pictures; sides are those that the data has.

    Args:
        source: what `open_data` takes, or a folder with pictures at any depth.
        preprocess: the model's.

    Raises:
        NetwrightError: no pictures, or pictures with masks.
    """
    try:
        listing = listing_of(source, "pictures")
    except NetwrightError:
        listing = listing_of(source, "any")  # it cannot be trained on, and may yet be looked at
    if listing.masks is not None:
        fix = "name the folder of the pictures alone, as DATA/images"
        raise NetwrightError(f"{source} has masks, which mean nothing to this model", fix)
    return _prepared(replace(listing, classes=(), labels=np.zeros(len(listing), np.int64)), preprocess)


def _prepared(listing: Listing, preprocess: Preprocess) -> Labelled:
    """The side of a listing that a model is measured on, decoded.

    Raises:
        NetwrightError: no picture can be read.
    """
    name = next((side for side in ORDER if listing.having(side)), "all")
    if name != "all":
        listing = taken(listing, np.flatnonzero(listing.sides == SPLITS.index(name)))
    wanted = Wanted(preprocess.image_size, preprocess.stored_size, preprocess.fit, preprocess.channels)
    found = looked_at(listing, wanted)[1]
    bad = [f"{listing.blobs.names[place]}: {reason}" for place, reason in sorted(found.unreadable.items())]
    if len(bad) == len(listing):
        problem = f"none of the {len(bad)} pictures in {listing.root} can be read ({listed(bad, 3)})"
        raise NetwrightError(problem, "replace them with good copies")
    notes = [SEEN] if name in ("all", "train") else []
    notes += [f"left out: {file}" for file in bad]
    good = np.array([place for place in range(len(listing)) if place not in found.unreadable], np.int64)
    split = split_of(listing, found.images, good, digests_of(found.facts))
    return Labelled(split, name, (*listing.notes, *notes, *found.notes))


def _with_labels_of(listing: Listing, classes: Sequence[str]) -> Listing:
    """The same pictures, labelled with the numbers of a model's classes."""
    for name in listing.classes:
        if name not in classes:
            raise unknown("class for this model", name, classes)
    numbers = np.array([list(classes).index(name) for name in listing.classes], np.int64)
    if listing.labels.ndim == 1:
        return replace(listing, classes=tuple(classes), labels=numbers[listing.labels])
    labels = np.zeros((len(listing), len(classes)), np.int64)
    labels[:, numbers] = listing.labels
    return replace(listing, classes=tuple(classes), labels=labels)
