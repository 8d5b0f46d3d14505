"""From a listing to data that can be trained on: the same way for every format, without a random choice."""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from statistics import median

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data.assign import SPLITS, assign, check_fractions, leading
from netwright.data.cache import Decoded, decoded, opened_index
from netwright.data.decode import MOST_MEGAPIXELS, MOST_WITH_MASK, UnreadableImage, decode, header
from netwright.data.facts import Examined
from netwright.data.group import pattern_of, placing
from netwright.data.index import Index
from netwright.data.listing import NOBODY, Listing
from netwright.data.live import Live
from netwright.data.preprocess import Preprocess
from netwright.data.segments import Keys, Rows
from netwright.data.split import NO_TEST, Data, Images, Quarantined, Split, Wanted, sample_ids, statistics

USUAL_SIZE, KEPT_SIZE, STEP, MARGIN, SAMPLE = 160, 128, 32, 8 / 7, 200
TRAIN, VAL, TEST = range(len(SPLITS))


def ready(listing: Listing, wanted: Wanted) -> Data:
    """A listing's pictures, decoded and divided.

    The order within a split, the numbers of the pictures and what is held out follow from the contents alone. So
    the same pictures train the same network, whichever format they come in.

    Raises:
        NetwrightError: a class without pictures for training, or nothing to validate on.
    """
    examined, found, geometry, notes = looked_at(listing, wanted)
    sides = examined.sides
    _refuse_without_classes(listing, examined)
    digests = digests_of(examined.facts)
    splits = {
        name: split_of(listing, found.images, np.flatnonzero(sides == side), digests)
        for side, name in enumerate(SPLITS)
        if (sides == side).any()
    }
    mean, std = statistics(splits["train"].images)
    return Data(
        name=listing.name,
        root=listing.root,
        classes=listing.classes,
        splits=splits,
        quarantined=tuple(Quarantined(listing.blobs.names[p], why) for p, why in sorted(examined.unreadable.items())),
        fingerprint=fingerprint(listing, sides, digests),
        preprocess=replace(geometry, mean=mean, std=std),
        notes=(*listing.notes, *notes, *_partly_absent(listing, sides), *found.notes),
        examined=examined,
    )


def looked_at(listing: Listing, wanted: Wanted) -> tuple[Examined, Decoded, Preprocess, list[str]]:
    """Every picture decoded once, what is known of them, and how they are divided."""
    if wanted.group is not None:
        pattern_of(wanted.group)  # refused before hours of decoding
    with opened_index() as index:
        keys, closed = index.keys(listing)
        names = listing.blobs.names
        closed |= {place: wanted.quarantine[name] for place, name in enumerate(names) if name in wanted.quarantine}
        geometry, seen = _geometry(listing, keys, closed, wanted, index)
        found = decoded(listing, keys, closed, geometry, index, progress=wanted.progress)
    digests = digests_of(found.facts)
    sides, told = _divided(listing, digests, found.unreadable, wanted)
    return Examined(listing, sides, found.facts, found.unreadable), found, geometry, [*told, *seen]


def digests_of(facts: NDArray[np.void]) -> Keys:
    """The identities of the pictures. N 4."""
    return np.ascontiguousarray(facts["digest"]).view(np.uint64).reshape(-1, 4)


def fingerprint(listing: Listing, sides: NDArray[np.int8], digests: Keys) -> str:
    """A hash of everything that makes the data what it is: names, contents, labels and sides."""
    total = sha256("\0".join(listing.classes).encode("utf-8", "surrogatepass"))
    lead = leading(digests)
    for side, name in enumerate(SPLITS):
        places = np.flatnonzero(sides == side)
        for place in places[np.argsort(lead[places], kind="stable")].tolist():
            named = f"\n{name}\0{listing.blobs.names[place]}\0".encode("utf-8", "surrogatepass")
            total.update(named + listing.labels[place].tobytes() + digests[place].tobytes())
    return total.hexdigest()


def split_of(listing: Listing, images: Images, places: NDArray[np.int64], digests: Keys) -> Split:
    """Ordered by content; of equal contents, by label."""
    labels = listing.labels[places]
    keys = [labels] if labels.ndim == 1 else list(labels.T)
    order = places[np.lexsort((*keys, leading(digests[places])))]
    names = listing.blobs.names
    return Split(
        _chosen(images, order),
        listing.labels[order],
        sample_ids(digests[order]),
        [names[int(place)] for place in order],
    )


def _chosen(images: Images, places: NDArray[np.int64]) -> Images:
    if isinstance(images, Rows | Live):
        return replace(images, places=images.places[places])
    return images[places]


def _divided(
    listing: Listing, digests: Keys, unreadable: Mapping[int, str], wanted: Wanted
) -> tuple[NDArray[np.int8], list[str]]:
    """The side of each picture, NOBODY if it is left out; and how to tell the user what was held out."""
    sides = listing.sides.copy()
    good = np.ones(len(listing), bool)
    good[list(unreadable)] = False
    train, val, test = check_fractions(wanted.fractions)
    given = [bool((sides == side).any()) for side in range(len(SPLITS))]
    if any(given):
        sides[sides == NOBODY] = TRAIN
    notes: list[str] = []
    if listing.classes and not given[VAL]:
        open_ = np.flatnonzero(good & (sides != TEST))
        fractions = (1 - val, val, 0.0) if any(given) else (train, val, test)
        placed = digests if wanted.group is None else placing(listing.blobs.names, digests, wanted.group)
        sides[open_] = assign(np.ascontiguousarray(placed[open_]), listing.labels[open_], fractions)
        parts = f"{train * 100:.0f}/{val * 100:.0f}/{test * 100:.0f}"
        by = "content hash" if wanted.group is None else f"group '{wanted.group}'"
        held = f"no validation split: {val:.0%} of train is held out by {by}"
        notes.append(held if any(given) else f"no split found: {parts} stratified by {by}")
    if listing.classes and not (given[TEST] or (sides == TEST).any()):
        notes.append(NO_TEST)
    sides[~good] = NOBODY
    return sides, notes


def _refuse_without_classes(listing: Listing, examined: Examined) -> None:
    """After damaged files are left out, training must still know every class, and something must be validated on."""
    labels, sides = listing.labels, examined.sides
    for side, name in ((TRAIN, "training"), (VAL, "validation")):
        if not (sides == side).any():
            raise NetwrightError(f"there is no readable picture for {name}", f"give more, or a {SPLITS[side]} split")
    if labels.ndim == 2:
        return
    present = np.bincount(labels[sides == TRAIN], minlength=len(listing.classes))
    for label in np.flatnonzero(present == 0).tolist():
        names = listing.blobs.names
        damaged = [f"{names[p]}: {why}" for p, why in sorted(examined.unreadable.items()) if labels[p] == label]
        why = f" ({listed(damaged, 3)})" if damaged else ""
        fix = "give good pictures of it; three different ones are enough for every side"
        raise NetwrightError(f"the class '{listing.classes[label]}' has no readable picture for train{why}", fix)


def _partly_absent(listing: Listing, sides: NDArray[np.int8]) -> list[str]:
    """Classes that training knows and another side has no pictures of."""
    notes: list[str] = []
    for side in (VAL, TEST):
        if listing.labels.ndim == 1 and (sides == side).any():
            counts = np.bincount(listing.labels[sides == side], minlength=len(listing.classes))
            absent = [listing.classes[label] for label in np.flatnonzero(counts == 0)]
            notes += [f"{SPLITS[side]} has no pictures of {listed(absent, 8)}"] if absent else []
    return notes


def _geometry(
    listing: Listing, keys: Keys, closed: Mapping[int, str], wanted: Wanted, index: Index
) -> tuple[Preprocess, list[str]]:
    """How pictures are kept, from what was wished and what a sample of them looks like; and what to tell the user."""
    open_ = np.array([place for place in range(len(listing)) if place not in closed], np.int64)
    open_ = open_[np.argsort(leading(keys[open_]), kind="stable")]  # by content: names must not decide
    sample = open_[np.linspace(0, len(open_) - 1, min(SAMPLE, len(open_))).astype(int)].tolist()
    key = "looks-" + sha256(keys[sample].tobytes()).hexdigest()
    side, alike, grey = index.finding(key, lambda: _looks(listing, sample))
    size = _given(wanted.image_size, listing.usual_size, _size_for(side, alike=alike))
    stored = _given(wanted.stored_size, min(round(size * MARGIN), max(side, size)))
    channels = _given(wanted.channels, 1 if grey else 3)
    told = wanted.channels is None and grey and not listing.blobs.in_memory
    notes = ["every picture looked at is grey: 1 channel (channels=3 to change)"] if told else []
    return Preprocess.plain(size, stored, wanted.fit, channels), notes


def _given(*values: int | None) -> int:
    """The first that is not None."""
    return next(value for value in values if value is not None)


def _size_for(side: int, *, alike: bool) -> int:
    """Small pictures that are all of one size keep it; others get the usual one, or a smaller multiple of STEP."""
    if alike and side <= KEPT_SIZE:
        return side
    return USUAL_SIZE if side >= USUAL_SIZE else max(STEP, side // STEP * STEP)


def _looks(listing: Listing, places: list[int]) -> tuple[int, bool, bool]:
    """The median short side, whether all have one size, and whether all are grey."""
    sizes: list[tuple[int, int]] = []
    grey, most = True, MOST_MEGAPIXELS if listing.masks is None else MOST_WITH_MASK
    for place in places:
        try:
            blob = listing.blobs.read(place)
            if isinstance(blob, bytes):
                width, height, mode = header(blob, most_megapixels=most)
                flat = mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;16")
                grey = grey and (flat or _colourless(decode(blob, target=STEP, most_megapixels=most)))
            else:
                height, width = blob.shape[:2]
                grey = grey and (blob.ndim == 2 or _colourless(blob))
            sizes.append((width, height))
        except UnreadableImage:
            continue
    side = int(median(min(size) for size in sizes)) if sizes else USUAL_SIZE
    return side, len(set(sizes)) == 1, grey and bool(sizes)


def _colourless(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels == pixels[..., :1]).all())
