"""Instances beside masks of classes: whether they are as large as their picture, and say of each pixel the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.decode import UnreadableImage
from netwright.data.gate._mask_figures import strips
from netwright.data.gate.mask_facts import Pairs, kept
from netwright.data.gate.mask_stored import mask_as_stored
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import Finding
from netwright.data.index import Index
from netwright.data.listing import Blobs
from netwright.data.masks import IGNORED
from netwright.data.segments import Keys
from netwright.report.words import percent

VERSION = 1  # raise it when the same three files would be described differently
ALIKE = 0.9  # IoU of what instances and masks have on a picture, below which the two are not about the same things
FEWEST = 20  # pixels of either, below which nothing can be said


@dataclass(frozen=True)
class Things:
    """The instances of one picture.

    Attributes:
        reason: why they cannot be read; empty if they can.
        size: width and height, upright.
        other: pixels that are of an instance and background in the mask, or the other way.
        both: pixels that are of an instance and not background in the mask.
        compared: pixels that the mask does not ignore; 0 where the two cannot be compared.
    """

    reason: str = ""
    size: tuple[int, int] = (0, 0)
    other: int = 0
    both: int = 0
    compared: int = 0

    @property
    def iou(self) -> float:
        """Of the pixels of either, the share that are of both; 1 where there are hardly any."""
        return self.both / (self.other + self.both) if self.other + self.both >= FEWEST else 1.0

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Things":
        """What `asdict` gave, read back from JSON."""
        given = dict(fields)
        given["size"] = tuple(fields["size"])
        return cls(**given)


def looked_at_things(
    pairs: Pairs, blobs: Blobs, keys: Keys, closed: Mapping[int, str], areas: list[int], index: Index
) -> dict[int, Things]:
    """By place what is known of the instances, of those pairs whose mask is read.

    Args:
        pairs: the masks, understood as far as they can be.
        blobs: the instances.
        keys: of instances and masks together, N 8.
        closed: instances that cannot be opened, with the reason.
        areas: pixels of each picture.
        index: keeps what was found.
    """
    at = {place: number for number, place in enumerate(pairs.places)}
    good = [place for place, fact in enumerate(pairs.facts) if fact.content and place not in closed]
    salt = f"things-{VERSION}-{pairs.masks.salt if pairs.masks else ''}"
    own = [sha256(row.tobytes()).digest() for row in keys]
    found = kept(salt, own, good, areas, lambda place: asdict(_things(pairs, blobs, place, at.get(place))), index)
    made = {place: Things.from_json(row) for place, row in found.items()}
    return made | {place: Things(reason) for place, reason in closed.items()}


def instances(subject: Subject) -> list[Finding]:
    """Instances that cannot be read, of another size than their picture, or of other things than their mask."""
    things: Mapping[int, Things] = subject.pairs.things if subject.pairs else {}
    places = [place for place in subject.pair_places if place in things]
    closed = [place for place in places if things[place].reason]
    sized = [place for place in places if any(things[place].size)]
    other = [place for place in sized if things[place].size != subject.fact(place).picture]
    unlike = [place for place in sized if place not in set(other) and things[place].iou < ALIKE]
    fix = "save them as 16-bit PNG, 0 for background and a number for each instance; or take the folder away"
    found = subject.of_pairs(
        "instances_file", "warning", "instances that cannot be used", closed,
        [things[place].reason for place in closed], detail="masks=border would refuse them", fix=fix,
    )  # fmt: skip
    says = ["instances {}×{} px, the picture {}×{} px".format(*things[p].size, *subject.fact(p).picture) for p in other]
    fix = "save each at the size of its picture, resized by nearest neighbour so that no number is mixed"
    found += subject.of_pairs(
        "instances_size", "warning", "instances of another size than their picture", other, says,
        detail="masks=border would leave them out, and things are counted wrongly", fix=fix,
    )  # fmt: skip
    says = [f"{percent(things[p].other / things[p].compared)} of the pixels, IoU {things[p].iou:.2f}" for p in unlike]
    return found + subject.of_pairs(
        "instances_unlike", "warning", "instances and masks that disagree", unlike, says,
        detail="pixels are of an instance and background in the mask, or the other way",
        fix="look which of the two is right: they may be of different pictures, or of different kinds of things",
    )  # fmt: skip


def _things(pairs: Pairs, blobs: Blobs, place: int, number: int | None) -> Things:
    """Number: of the pair among those that are understood."""
    try:
        values = mask_as_stored(blobs.read(place), blobs.names[place]).values
    except UnreadableImage as error:
        return Things(error.reason)
    except NetwrightError as error:
        return Things(error.problem.removeprefix(f"{blobs.names[place]} "))
    size = values.shape[1], values.shape[0]
    if number is None or pairs.masks is None or not (pairs.masks.background or pairs.masks.several):
        return Things("", size)
    try:
        mask = np.asarray(pairs.masks.read(number))
    except (UnreadableImage, NetwrightError):
        return Things("", size)
    return Things("", size, *_compared(values, mask)) if mask.shape[-2:] == values.shape else Things("", size)


def _compared(values: NDArray[Any], mask: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Pixels of one and not of the other, of both, and all that are not ignored. Mask: H W, or K H W of layers."""
    other = both = compared = 0
    for first, last in strips(values.shape):
        part = mask[..., first:last, :]
        seen = (part != IGNORED).all(0) if mask.ndim == 3 else part != IGNORED
        shown = (part == 1).any(0) if mask.ndim == 3 else part > 0
        thing = values[first:last] > 0
        other += int((seen & (shown != thing)).sum())
        both += int((seen & shown & thing).sum())
        compared += int(seen.sum())
    return other, both, compared
