"""What is learnt of a mask that is looked at beside its picture: how it is stored, what it shows, whether it fits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.decode import MOST_WITH_MASK, UnreadableImage, opened, quiet, upright_picture
from netwright.data.gate._mask_figures import apart, busy, counted, digest, ramps
from netwright.data.gate._room import Room
from netwright.data.gate.alignment import Alignment, aligned
from netwright.data.gate.mask_stored import COLOUR, Stored, mask_as_stored, turn_number
from netwright.data.index import Index
from netwright.data.legend import Legend
from netwright.data.listing import Blobs, Listing, MaskFiles
from netwright.data.masks import IGNORED, Masks
from netwright.data.segments import Keys

VERSION = 3  # raise it when the same pair would be described differently
TOGETHER = 64  # pairs that are kept as one finding: each takes a transaction
MOST_VALUES = 300
BUSY_GREY = 8  # levels by which neighbours of a photo differ


@dataclass(frozen=True)
class Value:
    """A value of a mask.

    Attributes:
        value: the grey value or the place in the palette; of colours the colour.
        colour: 256² red + 256 green + blue.
        pixels: how many have it.
    """

    value: int
    colour: int
    pixels: int


@dataclass(frozen=True)
class MaskFact:
    """One mask beside its picture.

    Attributes:
        reason: why it cannot be read; empty if it can.
        format: of the file, as PNG.
        form: "grey", "deep" for grey of 16 bits, "palette", "colour", "grey as colour", "stack".
        size: width and height, as it lies and turned as its EXIF says.
        turn: the place in `TURNS` of what its EXIF asks for.
        picture_turn: the same of its picture.
        picture: width and height of the picture, upright.
        values: the most frequent ones.
        distinct: how many there are.
        ramps: of the pixels that differ from a neighbour, the share that lie strictly between two: of a mask that was
            resized or compressed many, else next to none.
        busy: the share of the pixels that differ from a neighbour by more than BUSY_GREY grey levels or by colour.
        apart: mean difference of its grey levels from the picture's, in standard deviations of the picture's, of which
            a dark picture has small ones; None where the sizes differ.
        content: a hash of its pixels, upright.
        alignment: how it fits the picture; None where that cannot be said.
        refused: why it is no mask, although it can be read.
    """

    reason: str = ""
    format: str = ""
    form: str = ""
    size: tuple[int, int] = (0, 0)
    turn: int = 0
    picture_turn: int = 0
    picture: tuple[int, int] = (0, 0)
    values: tuple[Value, ...] = ()
    distinct: int = 0
    ramps: float = 0.0
    busy: float = 0.0
    apart: float | None = None
    content: str = ""
    alignment: Alignment | None = None
    refused: str = ""

    @property
    def flat(self) -> bool:
        """Whether all its pixels are the same."""
        return self.distinct == 1

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.size[0] * self.size[1]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "MaskFact":
        """What `asdict` gave, read back from JSON."""
        given = dict(fields)
        given |= {"size": tuple(fields["size"]), "picture": tuple(fields["picture"])}
        given["values"] = tuple(Value(**each) for each in fields["values"])
        if found := fields["alignment"]:
            given["alignment"] = Alignment(tuple(found["scores"]), found["best"], tuple(found["shift"]), found["side"])
        return cls(**given)


@dataclass(frozen=True)
class Shown:
    """What a mask shows, once it is understood.

    Attributes:
        counts: pixels of each class.
        ignored: pixels that count for nothing.
        refused: why it could not be read as the others are; then nothing else is known.
    """

    counts: tuple[int, ...] = ()
    ignored: int = 0
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The masks of a data set, looked at once.

    Attributes:
        names: what users call each mask, in the listing's order.
        facts: a row for each.
        legend: what the classes are called and how they are written, where somebody says so.
        ignore: the value that the user said is left out.
        masks: how they are understood, and the places in the listing of those that are; None where none could be.
        places: of the masks that `masks` reads, in its order.
        shown: what each of these shows.
        problem: why none could be understood.
        things: what is known of the instances beside masks of classes, by place; empty where there are none.
    """

    names: Sequence[str]
    facts: Sequence[MaskFact]
    legend: Legend | None = None
    ignore: int | None = None
    masks: Masks | None = None
    places: Sequence[int] = ()
    shown: Sequence[Shown] = ()
    problem: NetwrightError | None = None
    things: Mapping[int, Any] = field(default_factory=dict[int, Any])


def main_masks(listing: Listing, kind: str = "auto") -> Blobs:
    """The masks that are looked at: those of classes where there are some; for a "border" those of instances."""
    masks = listing.masks or MaskFiles(None)
    order = (masks.semantic, masks.instances) if kind != "border" else (masks.instances, masks.semantic)
    blobs = order[0] if order[0] is not None else order[1]
    if blobs is None:
        raise AssertionError("asked for pairs only")
    return blobs


def mask_keys(listing: Listing, blobs: Blobs, index: Index) -> tuple[Keys, dict[int, str]]:
    """Content hashes of some masks of a listing, N 4, and for those that cannot be opened the reason."""
    kind = "semantic" if listing.masks and blobs is listing.masks.semantic else "instances"
    # Masks may be called what the pictures are called, so they are remembered in a place of their own.
    root = listing.root and f"{listing.root}#{kind}"
    return index.keys(Listing(listing.name, root, (), blobs, listing.labels, listing.sides))


def mask_facts(
    listing: Listing, blobs: Blobs, keys: Keys, closed: Mapping[int, str], areas: Sequence[int], index: Index
) -> list[MaskFact]:
    """A row for each pair, in the listing's order; computed in threads, and kept by the contents of both files.

    Args:
        listing: pictures with masks.
        blobs: the masks that are looked at.
        keys: of these, N 4.
        closed: the masks that cannot be opened, with the reason.
        areas: pixels of each picture.
        index: keeps what was found.
    """
    pictures, _ = index.keys(listing)
    own = [sha256(row.tobytes()).digest() for row in np.concatenate([pictures, keys], axis=1)]
    open_ = [place for place in range(len(own)) if place not in closed]
    found = kept(f"pair-{VERSION}", own, open_, areas, lambda place: asdict(mask_fact(listing, blobs, place)), index)
    return [
        MaskFact.from_json(found[place]) if place in found else MaskFact(closed[place]) for place in range(len(own))
    ]


def mask_counts(masks: Masks, keys: Keys, areas: Sequence[int], index: Index) -> list[Shown]:
    """What each mask shows; kept by its content and by how it is understood. Keys: N 4; areas: pixels of each."""
    own, salt = [row.tobytes() for row in keys], f"shown-{VERSION}-{masks.salt}"
    found = kept(salt, own, range(len(own)), areas, lambda place: asdict(_shown(masks, place)), index)
    return [Shown(tuple(row["counts"]), row["ignored"], row["refused"]) for _, row in sorted(found.items())]


def kept(
    salt: str,
    own: Sequence[bytes],
    places: Sequence[int],
    areas: Sequence[int],
    find: Callable[[int], dict[str, Any]],
    index: Index,
) -> dict[int, dict[str, Any]]:
    """What `find` says of places, found out in threads where it is not known: by content, TOGETHER at a time."""
    bits = max(0, (len(places) // TOGETHER).bit_length() - 1)
    buckets: dict[int, list[int]] = {}
    for place in sorted(places, key=lambda place: own[place]):
        buckets.setdefault(int.from_bytes(own[place][:4], "big") >> (32 - bits), []).append(place)
    rows: dict[int, dict[str, Any]] = {}
    with Room() as room:
        for same in buckets.values():
            key = f"{salt}-{sha256(b''.join(own[place] for place in same)).hexdigest()}"
            mine = [areas[place] for place in same]
            found = index.finding(key, lambda same=same, mine=mine: room.map(find, same, mine))
            rows |= zip(same, found, strict=True)
    return rows


def mask_fact(listing: Listing, blobs: Blobs, place: int) -> MaskFact:
    """One picture and its mask in `blobs`, looked at."""
    picture, picture_turn = _picture(listing, place)
    size = picture.size if picture else (0, 0)
    try:
        stored = mask_as_stored(blobs.read(place), blobs.names[place])
    except UnreadableImage as error:
        return MaskFact(error.reason, picture=size)
    except NetwrightError as error:
        return MaskFact(refused=error.problem.removeprefix(f"{blobs.names[place]} "), picture=size)
    values, distinct = _values(stored)
    return MaskFact(
        format=stored.format,
        form=stored.form,
        size=(stored.values.shape[1], stored.values.shape[0]),
        turn=stored.turn,
        picture_turn=picture_turn,
        picture=size,
        values=values,
        distinct=distinct,
        ramps=ramps(stored.values) if stored.form in ("grey", "grey as colour") else 0.0,
        busy=_busy(stored),
        apart=_apart(stored, picture),
        content=digest(stored.values),
        alignment=aligned(picture, stored.values) if picture else None,
    )


def _values(stored: Stored) -> tuple[tuple[Value, ...], int]:
    values, pixels = counted(stored.values)
    order = np.argsort(-pixels, kind="stable")[:MOST_VALUES]
    return tuple(_value(stored, int(values[k]), int(pixels[k])) for k in order), len(values)


def _value(stored: Stored, value: int, pixels: int) -> Value:
    if stored.palette is not None:
        red, green, blue = map(int, stored.palette[value])
        return Value(value, (red * 256 + green) * 256 + blue, pixels)
    return Value(value, value if stored.form == COLOUR else value * 0x10101, pixels)


def _busy(stored: Stored) -> float:
    if stored.form in ("palette", "deep", "stack"):
        return 0.0
    return busy(stored.values, 0 if stored.form == COLOUR else BUSY_GREY)


def _apart(stored: Stored, grey: Image.Image | None) -> float | None:
    if grey is None or stored.form in ("palette", "deep", "stack") or stored.values.shape != grey.size[::-1]:
        return None
    return apart(grey, stored.values, packed=stored.form == COLOUR)


def _picture(listing: Listing, place: int) -> tuple[Image.Image | None, int]:
    """The picture upright at its full size in grey, or none if it cannot be read; and how it was turned."""
    name = listing.blobs.names[place]
    try:
        found = listing.blobs.read(place)
        if not isinstance(found, bytes):
            made = Image.fromarray(found[..., 0] if found.shape[2:] == (1,) else found)
            return upright_picture(made, name).convert("L"), 0
        with quiet, opened(found, name, most_megapixels=MOST_WITH_MASK) as picture:
            turn = turn_number(picture)
            return upright_picture(picture, name).convert("L"), turn
    except UnreadableImage:
        return None, 0


def _shown(masks: Masks, place: int) -> Shown:
    try:
        read = masks.read(place)
    except UnreadableImage as error:
        return Shown(refused=error.reason)
    except NetwrightError as error:
        return Shown(refused=error.problem.removeprefix(f"{masks.blobs.names[place]} "))
    if masks.several:
        return Shown(tuple((read == 1).sum((1, 2)).tolist()), int((read == IGNORED).all(0).sum()))
    counts = np.zeros(IGNORED + 1, np.int64)
    present, times = counted(read)
    counts[present] = times
    return Shown(tuple(counts[: len(masks.classes)].tolist()), int(counts[IGNORED]))
