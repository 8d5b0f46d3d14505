"""What every format becomes: pictures that can be read one by one, with labels and, where the data says so, sides."""

from collections.abc import Sequence
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
For = Literal["train", "labelled", "any"]  # what is wanted: to train, to measure a model, to look even without labels
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
    """

    name: str
    root: str
    classes: tuple[str, ...]
    blobs: Blobs
    labels: NDArray[np.int64]
    sides: NDArray[np.int8]
    notes: tuple[str, ...] = ()
    usual_size: int | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def having(self, side: str) -> bool:
        """Whether the data itself says of some picture that it is on this side."""
        return bool((self.sides == SPLITS.index(side)).any())


def taken(listing: Listing, places: NDArray[np.int64]) -> Listing:
    """Some pictures of a listing."""
    blobs = Some(listing.blobs, places)
    return replace(listing, blobs=blobs, labels=listing.labels[places], sides=listing.sides[places])


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
