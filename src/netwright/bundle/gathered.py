"""Pictures of some data as a network takes them, with the classes that they have there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.bundle.embed import listed_pictures, readable
from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data.assign import SPLITS
from netwright.data.listing import Listing, taken
from netwright.data.preprocess import Preprocess


@dataclass(frozen=True)
class Gathered:
    """Pictures, decoded once, and their classes.

    Attributes:
        name: what to call the data.
        images: uint8, read by places: N S S C.
        places: of those that can be read, in the order of the data.
        labels: of these, numbers N, or N K of 0 and 1 where a picture may have several; below 0 where nobody says.
        classes: their names.
        notes: what a user should know.
    """

    name: str
    images: Any
    places: NDArray[np.int64]
    labels: NDArray[Any]
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.places)

    def stored(self, chosen: NDArray[np.int64]) -> Tensor:
        """Pictures as `Preprocess.stored` gives them: uint8 N S S C.

        Args:
            chosen: which, counted among those that can be read.
        """
        return torch.from_numpy(np.ascontiguousarray(self.images[self.places[chosen]]))

    def spread(self, most: int) -> NDArray[np.int64]:
        """As many as wanted at most, at even distances, so that every class keeps its share."""
        return np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(np.int64)

    def of(self, name: str) -> NDArray[np.bool_]:
        """Which ones are of a class. N.

        Raises:
            NetwrightError: the data has no classes, or none of this name.
        """
        if not self.classes:
            raise NetwrightError(f"{self.name} has no classes", "give data that has: a folder for each class will do")
        if name not in self.classes:
            raise unknown(f"class of {self.name}", name, self.classes)
        number = self.classes.index(name)
        return self.labels[:, number] == 1 if self.labels.ndim == 2 else self.labels == number

    def fits(self, chosen: NDArray[np.int64], known: Sequence[str]) -> bool:
        """Whether each of some pictures has one class, which is among the known ones."""
        if self.labels.ndim == 2 or not self.classes or (self.labels[chosen] < 0).any():
            return False
        return {self.classes[number] for number in np.unique(self.labels[chosen]).tolist()} <= set(known)

    def names(self, chosen: NDArray[np.int64], known: Sequence[str]) -> list[str]:
        """The classes of pictures, for a network that wants to know them.

        Raises:
            NetwrightError: pictures have none, several, or one that the network does not know.
        """
        if self.labels.ndim == 2 or not self.classes or (self.labels[chosen] < 0).any():
            problem = f"not every picture of {self.name} has one class, and this network wants each picture's"
            raise NetwrightError(problem, "give data with a folder for each class, or one class for all: --class NAME")
        names = [self.classes[number] for number in self.labels[chosen].tolist()]
        if strange := sorted(set(names) - set(known)):
            problem = f"this network does not know the class {listed(strange, 3)} of {self.name}"
            raise NetwrightError(problem, f"it knows {listed(known, 12)}; or give one class for all: --class NAME")
        return names


def gathered(
    preprocess: Preprocess,
    path: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    held_out: bool = False,
) -> Gathered:
    """The pictures at a path, with labels or without, prepared as for training.

    Args:
        preprocess: how.
        path: as for `netwright embed`.
        progress: called with the pictures done and their total.
        held_out: of data with splits take those of test, else val, and say where nobody knows that they are new.

    Raises:
        NetwrightError: no pictures there, or none that can be read.
    """
    listing, said, told = listed_pictures([path]), "", []
    if held_out:
        listing, said, told = _held_out(listing)
    found, good, notes = readable(listing, preprocess, progress)
    labels = listing.labels[good]
    return Gathered(f"{listing.name}{said}", found.images, good, labels, listing.classes, (*notes, *told))


def _held_out(listing: Listing) -> tuple[Listing, str, list[str]]:
    """Pictures that are hardly trained on, what to call them, and what to know of them."""
    side = next((side for side in ("test", "val") if listing.having(side)), None)
    if side is not None:
        some = taken(listing, np.flatnonzero(listing.sides == SPLITS.index(side)))
        return some, f", {side} pictures", [f"measured on the {side} pictures of {listing.name}"]
    told = (
        f"nothing says which pictures of {listing.name} are new to the network: those that it was trained on flatter it"
    )
    return listing, "", [told]
