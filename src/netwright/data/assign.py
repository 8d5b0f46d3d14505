"""Which pictures are for training, validation and testing: decided by each picture's own content."""

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError

SPLITS = ("train", "val", "test")
Fractions = tuple[float, float, float]
Digests = NDArray[np.uint64]  # N 4: SHA-256


def check_fractions(fractions: Fractions) -> Fractions:
    """Shares of train, val and test.

    Raises:
        NetwrightError: they do not add up to 1, or leave nothing to train or to validate on.
    """
    fix = "give shares of train, val and test that add up to 1, as (0.8, 0.1, 0.1); test may be 0"
    if len(fractions) != 3 or abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0 or min(fractions[:2]) <= 0:
        raise NetwrightError(f"fractions cannot be {fractions}", fix)
    return fractions


def leading(digests: Digests) -> NDArray[np.uint64]:
    """The first eight bytes of each content hash as a number that orders as the bytes do. N 4 -> N."""
    return np.ascontiguousarray(digests[:, 0]).byteswap()


def positions(digests: Digests) -> NDArray[np.float64]:
    """Content hashes as numbers in [0, 1). N 4 -> N."""
    return (leading(digests) >> np.uint64(11)) / 2**53


def assign(digests: Digests, labels: NDArray[np.int64], fractions: Fractions) -> NDArray[np.int8]:
    """The side of every picture, as an index in SPLITS; equal contents always share one.

    Each goes where its own content hash says, so other files cannot move it, with one exception. Where that leaves a
    class of three or more different pictures without one on some side, the picture of that class with the lowest
    hash (the highest, for train) moves there from the fullest side; of a class with fewer, all are for training. Only
    in such a class, a few dozen pictures at most, can adding a file move another: when the new file fills the gap by
    itself, or has the lower hash. Contents found in two classes never move.

    Args:
        digests: content hashes, N 4.
        labels: class numbers, N; or several for each picture, N K, for which no class is filled up.
        fractions: of train, val and test.
    """
    train, val, test = check_fractions(fractions)
    where = positions(digests)
    sides = np.select([where < test, where < test + val], [2, 1], 0).astype(np.int8)
    if labels.ndim == 1:
        lead = leading(digests)
        own = ~_in_two_classes(lead, labels)
        wanted = [side for side, share in enumerate((train, val, test)) if share > 0]
        for label in _incomplete(sides, labels, wanted):
            _fill(sides, np.flatnonzero(own & (labels == label)), lead, wanted)
    return sides


def _in_two_classes(lead: NDArray[np.uint64], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures have contents that another class has too. N."""
    order = np.lexsort((labels, lead))
    differ = (lead[order][1:] == lead[order][:-1]) & (labels[order][1:] != labels[order][:-1])
    return np.isin(lead, lead[order][1:][differ])


def _incomplete(sides: NDArray[np.int8], labels: NDArray[np.int64], wanted: list[int]) -> list[int]:
    """Classes that lack pictures on some side."""
    count = int(labels.max(initial=-1)) + 1
    table = np.bincount(labels * 3 + sides, minlength=3 * count).reshape(count, 3)
    return [label for label, row in enumerate(table) if row.any() and not row[wanted].all()]


def _fill(sides: NDArray[np.int8], places: NDArray[np.int64], lead: NDArray[np.uint64], wanted: list[int]) -> None:
    """Move single contents of a class to the sides where it has none."""
    contents, first = np.unique(lead[places], return_index=True)
    if len(contents) < len(SPLITS):
        sides[places] = 0
        return
    for side in wanted:
        held = sides[places[first]]
        counts = np.bincount(held, minlength=3)
        if counts[side] == 0:
            movable = contents[held == counts.argmax()]
            sides[places[lead[places] == (movable[-1] if side == 0 else movable[0])]] = side
