"""What every format becomes: pictures that can be read one by one, with labels and, where the data says so, sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.assign import SPLITS
from netwright.data.decode import Pixels, read

NOBODY = -1  # the side of a picture about which the data says nothing
Encoded = bytes | Pixels
Stamp = tuple[int, int]
# What is wanted: to train, to measure a model, to look even without labels, to train without classes.
For = Literal["train", "labelled", "any", "pictures"]
TRAINS = ("train", "pictures")
LEAST_LIMIT, PER_PICTURE = 1000, 10  # class numbers may be this large, or so many times the number of pictures


class Blobs(Protocol):
    """Pictures by place, encoded as in their files or as arrays; thread-safe, and small however many there are."""

    @property
    def names(self) -> Sequence[str]:
        """What users call each picture; different from one another, relative to the root where there is one."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether the pictures are arrays that take no decoding."""
        ...

    def read(self, place: int) -> Encoded:
        """A picture's bytes, or its pixels, uint8 H W or H W C.

        Raises:
            UnreadableImage: it cannot be read.
        """
        ...

    def stamp(self, place: int) -> Stamp | None:
        """Size in bytes and time of last change in nanoseconds: while both stay, the content is taken to be the same.

        None where that cannot be known, so that the content has to be read. A file that is not there raises OSError.
        """
        ...


@dataclass(frozen=True, eq=False)
class Files:
    """Picture files under a root."""

    root: Path
    names: Sequence[str]
    in_memory: bool = field(default=False, init=False)

    def read(self, place: int) -> bytes:
        """A file's bytes."""
        return read(self.root / self.names[place])

    def stamp(self, place: int) -> Stamp:
        """From the file system."""
        stat = (self.root / self.names[place]).stat()
        return stat.st_size, stat.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Arrays:
    """Pictures that are arrays already, N H W or N H W C of uint8; several arrays, one after the other."""

    arrays: Sequence[Pixels]
    names: Sequence[str]
    in_memory: bool = field(default=True, init=False)

    def read(self, place: int) -> Pixels:
        """One picture, contiguous."""
        for array in self.arrays:
            if place < len(array):
                return np.ascontiguousarray(array[place])
            place -= len(array)
        raise IndexError(place)

    def stamp(self, place: int) -> None:
        """Reading costs nothing."""
        return


@dataclass(frozen=True, eq=False)
class Some:
    """Chosen pictures of others."""

    blobs: Blobs
    places: NDArray[np.int64]

    @cached_property
    def names(self) -> Sequence[str]:
        """Of the chosen ones."""
        return [self.blobs.names[int(place)] for place in self.places]

    @property
    def in_memory(self) -> bool:
        """As the others."""
        return self.blobs.in_memory

    def read(self, place: int) -> Encoded:
        """As the others."""
        return self.blobs.read(int(self.places[place]))

    def stamp(self, place: int) -> Stamp | None:
        """As the others."""
        return self.blobs.stamp(int(self.places[place]))


@dataclass(frozen=True, eq=False)
class Pairing:
    """What was found while pictures and masks were paired, for the data gate: one fault, and the files it is about.

    Attributes:
        kind: in a word, as "no mask", "no picture", "two masks".
        names: of the files.
    """

    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MaskFiles:
    """The masks of a listing's pictures, as they are stored; place by place those of the pictures.

    Attributes:
        semantic: masks of classes; None where there are instances only.
        instances: masks of numbered things; None where there are none.
        colours: the legend: what each class is called and its colour, by name; empty where the data has none.
        faults: what did not pair.
    """

    semantic: Blobs | None
    instances: Blobs | None = None
    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict[str, tuple[int, int, int]])
    faults: tuple[Pairing, ...] = ()

    def taken(self, places: NDArray[np.int64]) -> "MaskFiles":
        """Those of some pictures."""
        semantic, instances = self.semantic and Some(self.semantic, places), self.instances
        return replace(self, semantic=semantic, instances=instances and Some(instances, places))


@dataclass(frozen=True, eq=False)
class Listing:
    """A data set before a single picture is decoded.

    Attributes:
        name: what to call it.
        root: where it is; empty for arrays in memory.
        classes: class names, in the order of the labels.
        blobs: the pictures.
        labels: class numbers, N int64; or for several labels a picture, N K of 1, 0 and -1 (not known).
        sides: for each picture its index in `SPLITS`, or NOBODY where the data does not say. N int8.
        notes: plain sentences that a user should see.
        usual_size: side of the square that a network sees of these, where nobody says otherwise; None to go by them.
        masks: what each pixel shows, for data with masks; there labels are all 0, and classes are the masks' where
            they are known before a mask is read.
    """

    name: str
    root: str
    classes: tuple[str, ...]
    blobs: Blobs
    labels: NDArray[np.int64]
    sides: NDArray[np.int8]
    notes: tuple[str, ...] = ()
    usual_size: int | None = None
    masks: MaskFiles | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def having(self, side: str) -> bool:
        """Whether the data itself says of some picture that it is on this side."""
        return bool((self.sides == SPLITS.index(side)).any())


def taken(listing: Listing, places: NDArray[np.int64]) -> Listing:
    """Some pictures of a listing."""
    blobs, masks = Some(listing.blobs, places), listing.masks and listing.masks.taken(places)
    return replace(listing, blobs=blobs, labels=listing.labels[places], sides=listing.sides[places], masks=masks)


def numbered(names: Sequence[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    """Class names as class numbers."""
    numbers = {name: number for number, name in enumerate(classes)}
    return np.fromiter((numbers[str(name)] for name in names), np.int64, len(names))


def counted(highest: int, pictures: int, what: str) -> tuple[str, ...]:
    """The names of classes that have none, from 0 to the highest class number.

    Raises:
        NetwrightError: the number is so large that it is another kind of number, as of a product.
    """
    if highest > max(LEAST_LIMIT, PER_PICTURE * pictures):
        problem = f"{what} has labels up to {highest:,} for {pictures:,} pictures: class numbers count from 0"
        raise NetwrightError(problem, "number the classes: np.unique(labels, return_inverse=True)[1]")
    return tuple(map(str, range(highest + 1)))
