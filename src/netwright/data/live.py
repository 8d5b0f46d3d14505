"""Pictures decoded when somebody asks for them: once for the cache, or each time where that may not hold them."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.decode import MOST_WITH_MASK, Pixels, UnreadableImage
from netwright.data.examine import examine
from netwright.data.facts import content_digest
from netwright.data.listing import Listing
from netwright.data.preprocess import Preprocess
from netwright.data.segments import Keys

Looked = tuple[Pixels, NDArray[np.void]] | UnreadableImage


@dataclass(frozen=True, eq=False)
class Live:
    """Pictures that are decoded whenever they are asked for, because the cache may not hold them."""

    listing: Listing
    keys: Keys
    places: NDArray[np.int64]
    geometry: Preprocess

    @property
    def shape(self) -> tuple[int, ...]:
        """N S S C."""
        return len(self.places), *self.geometry.shape

    @property
    def nbytes(self) -> int:
        """Of the array that this stands for."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: Any) -> Pixels:
        places = np.atleast_1d(self.places[chosen])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(
                pool.map(look, repeat(self.listing), places.tolist(), self.keys[places], repeat(self.geometry))
            )
        for row in found:
            if isinstance(row, UnreadableImage):
                raise row
        images = np.stack([row[0] for row in found if not isinstance(row, UnreadableImage)])
        return images[0] if np.ndim(self.places[chosen]) == 0 else images

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        return self[:]


def look(listing: Listing, place: int, key: NDArray[np.uint64], geometry: Preprocess) -> Looked:
    """A picture and its facts, or what is wrong with it. In threads, since Pillow works outside Python's lock:
    processes are no faster (measured), and would each import everything anew."""
    name = listing.blobs.names[place]
    try:
        blob = listing.blobs.read(place)
        if content_digest(blob) != key.tobytes():
            return UnreadableImage(name, "changed while it was being read", lasting=False)
        if listing.masks is None:
            return examine(blob, name, geometry)
        return examine(blob, name, geometry, most_megapixels=MOST_WITH_MASK)
    except UnreadableImage as error:
        return error
