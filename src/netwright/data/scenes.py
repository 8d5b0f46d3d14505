"""Pictures with masks at their own sizes, divided for training: from a listing to scenes, without a random choice."""

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from statistics import median

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data.assign import SPLITS, leading
from netwright.data.cache import opened_index
from netwright.data.facts import Examined
from netwright.data.index import Index
from netwright.data.listing import NOBODY, Listing, taken
from netwright.data.masks import Masks, understood
from netwright.data.preprocess import Preprocess
from netwright.data.ragged import Ragged
from netwright.data.ready import MARGIN, STEP, digests_of, looked_at
from netwright.data.scene_cache import Known, Stored, stored_scenes
from netwright.data.segments import Keys, as_keys
from netwright.data.split import ROWS, Data, Quarantined, Split, Wanted, sample_ids

GLANCE = 64  # side in pixels of the small copies from which facts are taken
KEPT_SIZE, USUAL_CROP = 512, 256
MEASURED = 200_000_000  # pixels from which mean and deviation are taken


@dataclass(frozen=True, eq=False)
class Scenes(Split):
    """One split of pictures with masks, at their own sizes; ordered by size, then content.

    Its `images` are uint8 H W C each, upright; its `labels`, N K of 1 and 0, say which classes a picture has.

    Args:
        masks: uint8 H W of class numbers, or K H W of 1 and 0 where classes overlap; 255 where ignored.
        sizes: height and width of each, N 2.
        pixels: how many each class has in each picture, N K.
        background: whether class 0 is background.
        several: whether classes overlap.
        places: of each in the listing, N.
        mapped: whether values are read from a file when they are needed.
    """

    images: Ragged
    masks: Ragged
    sizes: NDArray[np.int64]
    pixels: NDArray[np.int64]
    background: bool
    several: bool
    places: NDArray[np.int64]
    mapped: bool

    @cached_property
    def foreground(self) -> range:
        """The classes that are not background."""
        return range(int(self.background), self.pixels.shape[1])

    def taken(self, places: NDArray[np.int64]) -> "Scenes":
        """Some of them, in the order given; `WholeSource` wants equal sizes to be neighbours."""
        arrays = {name: getattr(self, name)[places] for name in ("labels", "ids", "sizes", "pixels", "places")}
        names = [self.names[int(place)] for place in places]
        return replace(self, images=self.images.taken(places), masks=self.masks.taken(places), names=names, **arrays)


def ready_scenes(listing: Listing, wanted: Wanted) -> Data:
    """A listing's pictures and masks, decoded and divided; the same pairs train the same network whatever their names.

    Pairs of which the picture or the mask cannot be read, or whose sizes differ, are left out and noted.

    Args:
        listing: with masks.
        wanted: `image_size` is the side of the crops that training sees, `stored_size` of those that are cut.

    Raises:
        NetwrightError: the masks cannot be understood, or nothing is left to train or to validate on.
    """
    glance = _glance(listing, wanted)
    masks = _understood(listing, glance[0], wanted)
    examined, stored, notes = _decoded(listing, masks, wanted, glance)
    sides = examined.sides
    _refuse_empty(examined)
    digests = _pair_digests(examined, stored)
    splits = {
        name: _scenes(listing, masks, stored, np.flatnonzero(sides == side), digests)
        for side, name in enumerate(SPLITS)
        if (sides == side).any()
    }
    mean, std = _statistics(splits["train"].images)
    names = listing.blobs.names
    return Data(
        name=listing.name,
        root=listing.root,
        classes=masks.classes,
        splits=dict[str, Split](splits),
        quarantined=tuple(Quarantined(names[p], why) for p, why in sorted(examined.unreadable.items())),
        fingerprint=_fingerprint(listing, masks, sides, digests),
        preprocess=replace(_geometry(examined, stored.channels, wanted), mean=mean, std=std),
        notes=(f"masks: {masks.encoding}", *listing.notes, *notes, *masks.notes),
        examined=examined,
        masks=masks,
    )


def scenes_of(listing: Listing, masks: Masks, wanted: Wanted) -> tuple[Scenes, list[str]]:
    """All pairs of a listing that can be read, as one split; and of each other its name and the reason.

    Args:
        listing: with masks.
        masks: how these are read.
        wanted: the channels.
    """
    examined, stored, _ = _decoded(listing, masks, wanted, _glance(listing, wanted))
    names = listing.blobs.names
    good = np.array([place for place in range(len(listing)) if place not in examined.unreadable], np.int64)
    bad = [f"{names[place]}: {why}" for place, why in sorted(examined.unreadable.items())]
    return _scenes(listing, masks, stored, good, _pair_digests(examined, stored)), bad


def _glance(listing: Listing, wanted: Wanted) -> tuple[Examined, int, list[str]]:
    """The pictures alone: facts, sides and reasons; their channels; and what to tell the user."""
    wanted = replace(wanted, image_size=GLANCE, stored_size=GLANCE, fit="squash")
    # Of one class, so that each side has some.
    examined, _, geometry, notes = looked_at(replace(listing, classes=("picture",)), wanted)
    return examined, geometry.channels, notes


def _understood(listing: Listing, examined: Examined, wanted: Wanted) -> Masks:
    """What masks mean, without those that are left out: what is wrong with these must not decide it for the others."""
    used = np.array([place for place in range(len(listing)) if place not in examined.unreadable], np.int64)
    if listing.masks is None or not 0 < len(used) < len(listing):
        return understood(listing, wanted.masks)
    part = listing.masks.taken(used)
    masks = understood(replace(taken(listing, used), masks=part), wanted.masks)
    whole = listing.masks.semantic if masks.blobs is part.semantic else listing.masks.instances
    things = masks.things and (whole if masks.things is masks.blobs else listing.masks.instances)
    return replace(masks, blobs=whole or masks.blobs, things=things)


def _decoded(
    listing: Listing, masks: Masks, wanted: Wanted, glance: tuple[Examined, int, list[str]]
) -> tuple[Examined, Stored, list[str]]:
    """Facts, sides and reasons; the pairs themselves; and what to tell the user."""
    examined, channels, notes = glance
    with opened_index() as index:
        keys, mask_keys = index.keys(listing)[0], _mask_keys(index, listing, masks)
    known = Known(keys, mask_keys, examined.facts, examined.unreadable)
    stored = stored_scenes(listing, masks, known, channels, progress=wanted.progress)
    if bad := stored.unreadable:
        reasons = {listing.blobs.names[place]: why for place, why in bad.items()}
        less = replace(wanted, quarantine={**wanted.quarantine, **reasons}, progress=None)
        examined, _, notes = _glance(listing, less)
    return replace(examined, listing=listing), stored, notes


def _mask_keys(index: Index, listing: Listing, masks: Masks) -> Keys:
    """What the masks' files are known by, N 4; zeros where they cannot be opened."""
    # Masks may be called what the pictures are called, so what is known of them has a place of its own.
    return index.keys(replace(listing, blobs=masks.blobs, root=listing.root and f"{listing.root}#masks", masks=None))[0]


def _pair_digests(examined: Examined, stored: Stored) -> Keys:
    """The identities of picture and mask together. N 4."""
    masks = np.ascontiguousarray(stored.table["digest"]).view(np.uint64).reshape(-1, 4)
    both = np.concatenate([digests_of(examined.facts), masks], 1)
    return as_keys([sha256(row.tobytes()).digest() for row in both])


def _scenes(listing: Listing, masks: Masks, stored: Stored, places: NDArray[np.int64], digests: Keys) -> Scenes:
    height, width = stored.table["height"], stored.table["width"]
    order = places[np.lexsort((leading(digests[places]), width[places], height[places]))]
    pixels = np.ascontiguousarray(stored.table["pixels"][order])
    return Scenes(
        images=stored.images(order),
        labels=(pixels > 0).astype(np.int64),
        ids=sample_ids(digests[order]),
        names=[listing.blobs.names[int(place)] for place in order],
        masks=stored.masks(order),
        sizes=np.stack([height[order], width[order]], 1).astype(np.int64),
        pixels=pixels,
        background=masks.background,
        several=masks.several,
        places=order,
        mapped=stored.mapped,
    )


def _refuse_empty(examined: Examined) -> None:
    """After damaged pairs are left out, there must be some to train and to validate on."""
    for side, name in ((0, "training"), (1, "validation")):
        if not (examined.sides == side).any():
            names = examined.listing.blobs.names
            why = [f"{names[place]}: {reason}" for place, reason in sorted(examined.unreadable.items())]
            found = f" ({listed(why, 3)})" if why else ""
            fix = f"give more pairs of a picture and a mask, or a {SPLITS[side]} split; three pairs are the least"
            raise NetwrightError(f"there is no readable pair of picture and mask for {name}{found}", fix)


def _geometry(examined: Examined, channels: int, wanted: Wanted) -> Preprocess:
    """The side of the crops, from what was wished and from the pictures' sizes."""
    facts = examined.facts[examined.sides != NOBODY]
    sizes = np.stack([facts["height"], facts["width"]], 1).astype(np.int64)
    short, alike = int(median(sizes.min(1))), bool((sizes == sizes[0]).all())
    most = KEPT_SIZE if alike and sizes.max() <= KEPT_SIZE else USUAL_CROP
    size = wanted.image_size or min(most, short // STEP * STEP if short >= STEP else short)
    stored = wanted.stored_size or min(round(size * MARGIN), max(short, size))
    return Preprocess.plain(size, stored, channels=channels)


def _fingerprint(listing: Listing, masks: Masks, sides: NDArray[np.int8], digests: Keys) -> str:
    """A hash of everything that makes the data what it is: classes, names, contents and sides."""
    total = sha256("\0".join((*masks.classes, masks.salt)).encode("utf-8", "surrogatepass"))
    lead = leading(digests)
    for side, name in enumerate(SPLITS):
        places = np.flatnonzero(sides == side)
        for place in places[np.argsort(lead[places], kind="stable")].tolist():
            named = f"\n{name}\0{listing.blobs.names[place]}\0".encode("utf-8", "surrogatepass")
            total.update(named + digests[place].tobytes())
    return total.hexdigest()


def _statistics(images: Ragged) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, rounded to 4 digits; exact up to MEASURED
    pixels, else of pictures evenly spread."""
    channels, step = images.shape[3], max(1, -(-images.nbytes // (images.shape[3] * MEASURED)))
    total, squares, count = np.zeros(channels, np.int64), np.zeros(channels, np.int64), 0
    for place in range(0, len(images), step):
        rows = images[place].reshape(len(images[place]), -1)
        for first in range(0, len(rows), ROWS):
            part = rows[first : first + ROWS]
            total += part.sum(0, dtype=np.uint32).reshape(-1, channels).sum(0, dtype=np.int64)
            squares += np.square(part, dtype=np.uint16).sum(0, dtype=np.uint32).reshape(-1, channels).sum(0, np.int64)
        count += rows.size // channels
    mean = total / count
    # One flat colour has no spread; dividing by one grey level keeps its values finite.
    spread = np.maximum(np.sqrt(np.maximum(squares / count - mean**2, 0)), 1)
    return _digits(mean / 255), _digits(spread / 255)


def _digits(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
