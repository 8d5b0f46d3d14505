"""Pictures that occur more than once: exactly, or resized, recompressed, flipped, rotated.

Exact duplicates have equal digests. Near duplicates are found in two stages. Candidates are pairs whose perceptual
hashes, one of them turned, agree in two of six blocks of bits (Manku et al. 2007): sure for those that differ in at
most four bits, and without comparing every picture with every other. Of these, pairs stay whose hashes differ in a few
bits and whose thumbnails, once brightness and contrast are matched, differ little: hardly more than by compression, or
somewhat more, if both pictures are such that similar hashes mean alike pictures. Of photographs that is true, of
handwritten digits it is not. A thumbnail is the whole picture squeezed, so that pictures resized to another aspect
ratio are found as well, and cropped ones are not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from netwright.data.gate.likeness import BACK, TURNS

BITS = 8  # by which the hashes of near duplicates may differ, of 64
UNLIKE = 0.3  # the largest distance of near duplicates; a correlation of 0.955
GREYS = 5.0  # of 255: the largest difference that compression and resizing alone explain
FLAT = 2.0  # with a standard deviation below this, in grey values, a thumbnail shows noise rather than a picture
CROWD = 64  # with so many pictures of a bucket others are compared
QUERIES, PAIRS = 2**15, 2**14  # worked on at once
PATIENCE = 2**20  # numbers that wait to be sorted

_BLOCKS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # first bit and number of bits
_TABLES = tuple(combinations(_BLOCKS, 2))
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two near duplicates.

    Attributes:
        first: the place of one picture.
        second: the place of the other, which is larger.
        turn: what to do to the first to get the second, rotations being counter-clockwise; empty for nothing.
        distance: between the thumbnails at equal brightness and contrast; 0 for equal ones, √2 for unrelated ones.
    """

    first: int
    second: int
    turn: str
    distance: float


@dataclass(frozen=True)
class NearPairs:
    """What a search for near duplicates found.

    Attributes:
        pairs: in the order of their places.
        flat: how many pictures were left out because they show next to nothing.
        crowded: how many pictures resemble so many others that they were compared with some of them only.
    """

    pairs: tuple[Pair, ...]
    flat: int
    crowded: int


def exact_groups(digests: NDArray[np.void]) -> list[list[int]]:
    """Places of equal pictures, groups of two and more; an empty digest is of a picture that cannot be read."""
    places = np.flatnonzero(digests != np.zeros((), digests.dtype))
    _, number, count = np.unique(digests[places], return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(count[number] > 1)
    ordered = repeated[np.argsort(number[repeated], kind="stable")]
    ends = np.flatnonzero(np.diff(number[ordered])) + 1
    return sorted(group.tolist() for group in np.split(places[ordered], ends) if group.size)


def near_pairs(facts: NDArray[np.void]) -> NearPairs:
    """Near duplicates that are not exact ones; of exact duplicates the first stands for all.

    Args:
        facts: rows of FACT.
    """
    chosen = facts["width"] > 0
    for _, *rest in exact_groups(facts["digest"]):
        chosen[rest] = False
    flat = chosen & (facts["contrast"] < FLAT / 255)
    places = np.flatnonzero(chosen & ~flat)
    candidates, crowded = _candidates(facts["hash"][places])
    candidates[:, :2] = places[candidates[:, :2]]
    pairs, distances = _verified(facts["thumb"], candidates)
    named = zip(pairs.tolist(), distances.tolist(), strict=True)
    found = tuple(Pair(first, second, TURNS[turn].name, distance) for (first, second, turn), distance in named)
    return NearPairs(found, int(flat.sum()), crowded)


class _Table:
    """Pictures in buckets, by two blocks of their hashes; in a bucket by place."""

    def __init__(self, hashes: Hashes, high: tuple[int, int], low: tuple[int, int]) -> None:
        self.hashes, self.high, self.low = hashes, high, low
        self.keys = self._keys(hashes)
        self.order = np.argsort(self.keys, kind="stable")
        counts = np.bincount(self.keys, minlength=2 ** (high[1] + low[1]))
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    def crowded(self) -> NDArray[np.bool_]:
        """For each picture, whether it shares its bucket with so many that it is compared with some of them only."""
        return self.starts[self.keys + 1] - self.starts[self.keys] > CROWD

    def earlier(self, queries: Hashes, begin: int) -> tuple[Places, Places]:
        """Pairs of earlier and later pictures with similar hashes, the later ones being queried from `begin` on."""
        keys = self._keys(queries)
        start = self.starts[keys]
        count = np.minimum(self.starts[keys + 1] - start, CROWD)
        query = np.repeat(np.arange(len(queries)), count)
        member = np.arange(len(query)) + np.repeat(start - (np.cumsum(count) - count), count)
        place = self.order[member]
        similar = np.bitwise_count(queries[query] ^ self.hashes[place]) <= BITS
        similar &= place < query + begin
        return place[similar], query[similar] + begin

    def _keys(self, hashes: Hashes) -> Places:
        high, low = ((hashes >> np.uint64(first)) & np.uint64(2**bits - 1) for first, bits in (self.high, self.low))
        return (high << np.uint64(self.low[1]) | low).astype(np.int64)


def _candidates(hashes: Hashes) -> tuple[Places, int]:
    """Pairs with similar hashes, as sorted rows of first, second and turn; and the number of crowded pictures."""
    turned = [turn.hashes(hashes) for turn in TURNS]
    crowded = np.zeros(len(hashes), np.int8)
    n = max(len(hashes), 1)

    def codes() -> Iterator[Places]:
        for blocks in _TABLES:
            table = _Table(hashes, *blocks)
            crowded[table.crowded()] += 1
            for queries, back in zip(turned, BACK, strict=True):
                for begin in range(0, len(hashes), QUERIES):
                    first, second = table.earlier(queries[begin : begin + QUERIES], begin)
                    yield (first * n + second) * len(TURNS) + back

    pair, turn = np.divmod(_distinct(codes()), len(TURNS))
    return np.stack([*np.divmod(pair, n), turn], axis=1), int((crowded > len(_TABLES) / 2).sum())


def _distinct(batches: Iterable[Places]) -> Places:
    """The numbers in many batches, each once, sorted."""
    known, new, waiting = np.empty(0, np.int64), list[Places](), 0
    for batch in batches:
        new.append(batch)
        waiting += batch.size
        if waiting > max(known.size, PATIENCE):
            known, new, waiting = _sorted_once([known, *new]), [], 0
    return _sorted_once([known, *new])


def _sorted_once(batches: Sequence[Places]) -> Places:
    """By sorting: `np.unique` hashes, and takes 40 times as long for numbers that are as regular as these."""
    numbers = np.sort(np.concatenate(batches))
    return numbers[np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]]


def _verified(thumbs: NDArray[np.uint8], candidates: Places) -> tuple[Places, NDArray[np.float64]]:
    """Those candidates whose thumbnails are alike, each pair with the turn that fits best; and their distances."""
    distance, greys = np.empty(len(candidates)), np.empty(len(candidates))
    for begin in range(0, len(candidates), PAIRS):
        first, second, turn = candidates[begin : begin + PAIRS].T
        block = slice(begin, begin + PAIRS)
        distance[block], greys[block] = _compared(_turned(thumbs[first], turn), thumbs[second])
    best = _best_turns(candidates, distance)
    candidates, distance, greys = candidates[best], distance[best], greys[best]
    alike = distance <= UNLIKE
    alike &= (greys <= GREYS) | _telling(candidates[:, :2], alike, len(thumbs))
    return candidates[alike], distance[alike]


def _best_turns(candidates: Places, distance: NDArray[np.float64]) -> Places:
    """The row of each pair at which it is closest, in the order of the pairs."""
    first, second, turn = candidates.T
    order = np.lexsort((turn, distance, second, first))
    pairs = candidates[order, :2]
    return order[np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))[: len(order)]]


def _telling(pairs: Places, alike: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """For each pair, whether both of its pictures are alike most of the pictures with a similar hash."""
    suggested, right = (np.bincount(each.ravel(), minlength=n) for each in (pairs, pairs[alike]))
    telling = 2 * right >= suggested
    return telling[pairs[:, 0]] & telling[pairs[:, 1]]


def _turned(thumbs: NDArray[np.uint8], turns: Places) -> NDArray[np.uint8]:
    """Thumbnails, each in its own way, N H W."""
    turned = np.empty_like(thumbs)
    for number, turn in enumerate(TURNS):
        turned[turns == number] = turn.thumbs(thumbs[turns == number])
    return turned


def _compared(ones: NDArray[np.uint8], others: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far apart thumbnails are once their brightness and contrast are matched, N H W -> N, N.

    Relative to their contrast, and in grey values. The sums are of integers below 2²⁴, which float32 adds without
    error, so that a symmetric picture is equally far from itself in all the ways that it can be turned.
    """
    a, b = (thumbs.reshape(len(thumbs), -1).astype(np.float32) for thumbs in (ones, others))
    size = a.shape[1]

    def covariance(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
        products = np.einsum("np,np->n", x, y).astype(np.float64)
        return products / size - x.sum(axis=1, dtype=np.float64) * y.sum(axis=1, dtype=np.float64) / size**2

    contrast = np.sqrt(covariance(a, a) * covariance(b, b))
    distance = np.sqrt(np.maximum(2 - 2 * covariance(a, b) / contrast, 0))
    return distance, distance * np.sqrt(contrast)
