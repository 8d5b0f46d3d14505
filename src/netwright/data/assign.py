"""Which pictures are for training, validation and testing: decided by each picture's own content."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from netwright.core.errors import NetwrightError

SPLITS = ("train", "val", "test")
Fractions = tuple[float, float, float]


def check_fractions(fractions: Fractions) -> Fractions:
    """Shares of train, val and test.

    Raises:
        NetwrightError: they do not add up to 1, or leave nothing to train or to validate on.
    """
    fix = "give shares of train, val and test that add up to 1, as (0.8, 0.1, 0.1); test may be 0"
    if len(fractions) != 3 or abs(sum(fractions) - 1) > 1e-6 or min(fractions) < 0 or min(fractions[:2]) <= 0:
        raise NetwrightError(f"fractions cannot be {fractions}", fix)
    return fractions


def position(digest: bytes) -> float:
    """A content hash as a number in [0, 1)."""
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def split_of(digest: bytes, fractions: Fractions) -> str:
    """The side of one picture: a pure function of its content, so other files cannot move it."""
    where = position(digest)
    if where < fractions[2]:
        return "test"
    return "val" if where < fractions[2] + fractions[1] else "train"


def assign(digests: Sequence[bytes], labels: Sequence[int], fractions: Fractions) -> list[str]:
    """The side of every picture; equal contents always share one.

    `split_of` decides, with one exception. Where it leaves a class of three or more different pictures without one
    on some side, the picture of that class with the lowest hash (the highest, for train) moves there from the
    fullest side. Only in such a class, a few dozen pictures at most, can adding a file move another: when the new
    file fills the gap by itself, or has the lower hash. Contents found in two classes never move.
    """
    check_fractions(fractions)
    sides = {digest: split_of(digest, fractions) for digest in digests}
    wanted = [side for side, fraction in zip(SPLITS, fractions, strict=True) if fraction > 0]
    for own in _own_contents(digests, labels).values():
        if len(own) >= 3:
            _fill(sides, own, wanted)
    return [sides[digest] for digest in digests]


def _own_contents(digests: Sequence[bytes], labels: Sequence[int]) -> dict[int, list[bytes]]:
    """For each class, the different contents that no other class has, by rising hash."""
    classes: defaultdict[bytes, set[int]] = defaultdict(set)
    for digest, label in zip(digests, labels, strict=True):
        classes[digest].add(label)
    own: defaultdict[int, list[bytes]] = defaultdict(list)
    for digest in sorted(classes):
        if len(classes[digest]) == 1:
            own[next(iter(classes[digest]))].append(digest)
    return own


def _fill(sides: dict[bytes, str], own: list[bytes], wanted: list[str]) -> None:
    for side in wanted:
        counts = Counter(sides[digest] for digest in own)
        if counts[side] == 0:
            fullest = max(SPLITS, key=lambda name: counts[name])
            movable = [digest for digest in own if sides[digest] == fullest]
            sides[movable[-1] if side == "train" else movable[0]] = side
