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
from netwright.data.gate.mask_facts import MaskFact, Pairs, Shown
from netwright.data.gate.verdict import MOST_BESIDE, MOST_SHOWN, Finding, Item, Severity
from netwright.data.legend import Legend
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
        pairs: the masks, for pictures that have some.
    """

    examined: Examined
    group: str | None = None
    quarantine: Mapping[str, str] = field(default_factory=dict[str, str])
    pairs: Pairs | None = None

    @property
    def names(self) -> Sequence[str]:
        """What users call the pictures."""
        return self.examined.listing.blobs.names

    def name(self, place: int) -> str:
        """What users call one picture."""
        return self.names[place]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; none for plain pictures, and for those whose classes are in their masks."""
        return () if self.examined.listing.masks is not None else self.examined.listing.classes

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
        if not self.classes:
            return ""
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
        return Item(self.name(place), place, self.side(place), self.label(place), says)

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

    @property
    def legend(self) -> Legend | None:
        """What somebody says of the masks' classes."""
        return self.pairs.legend if self.pairs else None

    @property
    def mask_names(self) -> Sequence[str]:
        """What users call the masks, in the listing's order."""
        return self.pairs.names if self.pairs else ()

    @property
    def several_masks(self) -> bool:
        """Whether a pixel may be of several classes."""
        return bool(self.pairs and self.pairs.masks and self.pairs.masks.several)

    @cached_property
    def pair_places(self) -> list[int]:
        """The pairs that the user wants, and whose picture can be read."""
        facts = self.pairs.facts if self.pairs else ()
        return [
            place for place, fact in enumerate(facts) if any(fact.picture) and self.name(place) not in self.quarantine
        ]

    @cached_property
    def mask_at_fault(self) -> set[int]:
        """The pairs whose picture can be read."""
        facts = self.pairs.facts if self.pairs else ()
        return {place for place, fact in enumerate(facts) if any(fact.picture)}

    @cached_property
    def read_pairs(self) -> list[int]:
        """Those of which the mask can be read too."""
        return [place for place in self.pair_places if self.fact(place).content]

    @cached_property
    def understood_pairs(self) -> list[int]:
        """Those of which the mask is understood."""
        return [place for place in self.read_pairs if self.shown(place).counts]

    def fact(self, place: int) -> MaskFact:
        """What is known of one mask."""
        return self.pairs.facts[place] if self.pairs else MaskFact()

    def shown(self, place: int) -> Shown:
        """What one mask shows."""
        return self._shown.get(place, Shown())

    def pair(self, place: int, says: str = "") -> tuple[Item, Item]:
        """A picture and its mask as findings name them."""
        return self.item(place), Item(self.mask_names[place], int(place), self.side(place), "", says, mask=True)

    def of_pairs(
        self, kind: str, severity: Severity, what: str, places: Sequence[int], says: Sequence[str] = (), *,
        detail: str = "", fix: str = "", leave: bool = False,
    ) -> list[Finding]:  # fmt: skip
        """A finding on some pairs, or none; `leave` for those that should be left out."""
        if not places:
            return []
        words = list(says) or [""] * len(places)
        examples = tuple(self.pair(place, word) for place, word in zip(places[:MOST_SHOWN], words, strict=False))
        reasons = {self.name(place): f"{what}{word and ': '}{word}" for place, word in zip(places, words, strict=True)}
        title = f"{what}: {len(places):,} of {len(self.pair_places):,}"
        return [Finding(kind, severity, title, detail, fix, len(places), examples, reasons if leave else {})]

    @cached_property
    def _shown(self) -> dict[int, Shown]:
        return dict(zip(self.pairs.places, self.pairs.shown, strict=True)) if self.pairs else {}

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
