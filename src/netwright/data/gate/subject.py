"""What the checks of the data gate look at: the examined pictures, and what several checks derive from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from netwright.data.assign import SPLITS
from netwright.data.facts import Examined
from netwright.data.gate.duplicates import NearPairs, Pair, exact_groups, near_pairs
from netwright.data.gate.verdict import MOST_BESIDE, MOST_SHOWN, Item
from netwright.data.listing import NOBODY

Places = NDArray[np.int64]
SIDES = (*SPLITS, "")  # the last, which is also at NOBODY, for pictures that nobody divided


@dataclass(frozen=True, eq=False)
class Subject:
    """A data set as the checks see it.

    Attributes:
        examined: every picture, looked at once.
        group: a regular expression whose first group names what a picture belongs to, as a patient or a video.
        quarantine: names that the user left out, each with the reason; they count as unreadable.
    """

    examined: Examined
    group: str | None = None
    quarantine: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> Sequence[str]:
        """What users call the pictures."""
        return self.examined.listing.blobs.names

    def name(self, place: int) -> str:
        """What users call one picture."""
        return self.names[place]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; none for plain pictures."""
        return self.examined.listing.classes

    @property
    def labels(self) -> NDArray[np.int64]:
        """N class numbers, or N K of 1, 0 and -1; -1 is not known."""
        return self.examined.listing.labels

    @property
    def facts(self) -> NDArray[np.void]:
        """One row of FACT a picture."""
        return self.examined.facts

    @property
    def several_labels(self) -> bool:
        """Whether a picture may have several classes."""
        return self.labels.ndim == 2

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """Which pictures can be read, N."""
        mask = np.ones(len(self.examined.listing), bool)
        mask[list(self.examined.unreadable)] = False
        return mask

    @cached_property
    def sides(self) -> dict[str, Places]:
        """The pictures of each side that can be read; sides without any are left out. Undivided, all are on side ''."""
        found = {
            side: np.flatnonzero(self.readable & (self.examined.sides == number))
            for number, side in [*enumerate(SPLITS), (NOBODY, "")]
        }
        return {side: places for side, places in found.items() if len(places)}

    @cached_property
    def per_class(self) -> dict[str, NDArray[np.int64]]:
        """How many pictures each class has on each side, K; of those that can be read."""
        return {side: self._counts(places) for side, places in self.sides.items()} if self.classes else {}

    @cached_property
    def copies(self) -> list[Places]:
        """Sets of pictures that are the same."""
        return [np.array(group) for group in exact_groups(self.facts["digest"])]

    @cached_property
    def near(self) -> NearPairs:
        """Pairs of pictures that look alike and are not the same."""
        return near_pairs(self.facts)

    def side(self, place: int) -> str:
        """The side of one picture, '' where it has none."""
        return SIDES[self.examined.sides[place]]

    def label(self, place: int) -> str:
        """The class of one picture in words, or its classes."""
        given = self.labels[place]
        numbers = np.flatnonzero(given == 1) if self.several_labels else given[None][given[None] >= 0]
        return ", ".join(self.classes[number] for number in numbers)

    def disagree(self, places: Places) -> bool:
        """Whether the labels of these pictures contradict one another; what is not known contradicts nothing."""
        labels = self.labels[places]
        if self.several_labels:
            return bool(((labels == 1).any(0) & (labels == 0).any(0)).any())
        return len(np.unique(labels[labels >= 0])) > 1

    def item(self, place: int, says: str = "") -> Item:
        """One picture as findings name it."""
        place = int(place)
        label = self.label(place) if self.classes else ""
        return Item(self.name(place), place, self.side(place), label, says)

    def singly(self, places: Iterable[int], says: Iterable[str] = ()) -> tuple[tuple[Item, ...], ...]:
        """The first pictures of many, each an example of its own."""
        first = list(places)[:MOST_SHOWN]
        words = [*says][: len(first)] or [""] * len(first)
        return tuple((self.item(place, word),) for place, word in zip(first, words, strict=True))

    def together(self, sets: Iterable[Sequence[int] | Places]) -> tuple[tuple[Item, ...], ...]:
        """The first of many sets of pictures, each to be seen side by side; of a large set those that differ."""
        return tuple(tuple(map(self.item, self._telling(each))) for each in list(sets)[:MOST_SHOWN])

    def beside(self, pairs: Sequence[Pair]) -> tuple[tuple[Item, ...], ...]:
        """The first of many pairs that look alike, the second picture with what was done to it."""
        return tuple((self.item(pair.first), self.item(pair.second, pair.turn)) for pair in pairs[:MOST_SHOWN])

    def _telling(self, places: Sequence[int] | Places) -> list[int]:
        """At most `MOST_BESIDE` of some pictures, first one of each side and label."""
        first: dict[tuple[str, str], int] = {}
        for place in map(int, places):
            first.setdefault((self.side(place), self.label(place)), place)
        others = (place for place in map(int, places) if place not in first.values())
        return list(islice(chain(first.values(), others), MOST_BESIDE))

    def _counts(self, places: Places) -> NDArray[np.int64]:
        labels = self.labels[places]
        if self.several_labels:
            return (labels == 1).sum(0)
        return np.bincount(labels[labels >= 0], minlength=len(self.classes))
