"""Pictures with masks for measuring a model that exists: its classes decide, and what it was told of masks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data._mask_codes import IGNORED, Code, Ids
from netwright.data._mask_raw import Raw
from netwright.data.assign import SPLITS
from netwright.data.labelled import ORDER, SEEN
from netwright.data.listing import Listing, Some, taken
from netwright.data.masks import Masks, MaskWanted, palette, understood
from netwright.data.scenes import Scenes, scenes_of
from netwright.data.split import Wanted


@dataclass(frozen=True)
class LabelledPairs:
    """Pictures whose masks have a model's class numbers, the name of their split, and what a user should know of it."""

    scenes: Scenes
    name: str
    notes: tuple[str, ...]


def labelled_pairs(
    listing: Listing, channels: int, classes: Sequence[str], wanted: MaskWanted, *, several: bool
) -> LabelledPairs:
    """Pairs as a model wants them: those for test where there are some, else validation, else everything.

    Args:
        listing: pictures with masks.
        channels: that the model takes.
        classes: its class names.
        wanted: what it was told of masks.
        several: whether its classes overlap.

    Raises:
        NetwrightError: a class the model does not know, no pair that can be read, or masks of another kind.
    """
    masks = understood(listing, wanted)  # of all of them, so that a split without some class is read no differently
    _check(listing, masks, classes, several=several)
    masks = renumbered(masks, classes)
    name = next((side for side in ORDER if listing.having(side)), "all")
    if name != "all":
        places = np.flatnonzero(listing.sides == SPLITS.index(name))
        listing, masks = taken(listing, places), _taken(masks, places)
    scenes, bad = scenes_of(listing, masks, Wanted(channels=channels))
    if not len(scenes):
        problem = f"none of the {len(bad)} pairs of picture and mask in {listing.root} can be read ({listed(bad, 3)})"
        raise NetwrightError(problem, "replace them with good copies")
    notes = [*listing.notes, *([SEEN] if name in ("all", "train") else []), *(f"left out: {file}" for file in bad)]
    return LabelledPairs(scenes, name, (*notes, f"masks: {masks.encoding}", *masks.notes))


def _check(listing: Listing, masks: Masks, classes: Sequence[str], *, several: bool) -> None:
    for name in masks.classes:
        if name not in classes:
            raise unknown("class for this model", name, classes)
    if masks.several != several:
        has, wants = ("several classes", "one") if masks.several else ("one class", "several")
        problem = f"{listing.root or listing.name} has masks with {has} a pixel, and this model was trained for {wants}"
        raise NetwrightError(problem, "give other data")


def _taken(masks: Masks, places: NDArray[np.int64]) -> Masks:
    """The masks of some pictures."""
    return replace(masks, blobs=Some(masks.blobs, places), things=masks.things and Some(masks.things, places))


@dataclass(frozen=True, eq=False)
class Renumbered:
    """Masks with the numbers that their classes have elsewhere.

    Attributes:
        code: what stored values stand for.
        numbers: of each of its classes, there.
        classes: how many there are there.
    """

    code: Code
    numbers: tuple[int, ...]
    classes: int

    def __call__(self, mask: Raw, name: str) -> Ids:
        """See `Code`. Where classes overlap, the planes of those that are not here are 0."""
        found = self.code(mask, name)
        if found.ndim == 2:
            table = np.full(256, IGNORED, np.uint8)
            table[: len(self.numbers)] = self.numbers
            return table[found]
        layers = np.zeros((self.classes, *found.shape[1:]), np.uint8)
        layers[list(self.numbers)] = found
        return layers


def renumbered(masks: Masks, classes: Sequence[str]) -> Masks:
    """The same masks with the class numbers of a model that knows all their classes."""
    if masks.classes == tuple(classes):
        return masks
    numbers = tuple(list(classes).index(name) for name in masks.classes)
    salt = sha256(f"{masks.salt}{numbers}{len(classes)}".encode()).hexdigest()[:32]
    colours = palette(len(classes), background=masks.background)
    code = Renumbered(masks.code, numbers, len(classes))
    return replace(masks, classes=tuple(classes), colours=colours, code=code, salt=salt)
