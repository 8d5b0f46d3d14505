"""Decoded pictures with their labels, in up to three splits, and what a user should know about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.assign import Fractions
from netwright.data.decode import Pixels
from netwright.data.preprocess import Fit, Preprocess

Labels = NDArray[np.int64]
Progress = Callable[[int, int], None]
ROWS = 2**13  # picture rows summed at once: their squares, at most 255² each, fit into 32 bits
NO_TEST = "no test {part}: the validation score is also used for choosing, so it is optimistic"


@dataclass(frozen=True, eq=False)
class Split:
    """One split, decoded.

    Args:
        images: uint8, N S S C; an array, or a memory map whose changes never reach the file.
        labels: N class numbers.
        ids: N different numbers that follow from the pictures' contents, so they survive renaming and reordering.
        names: N paths relative to the root, or `train[17]`.
    """

    images: Pixels
    labels: Labels
    ids: Labels
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Quarantined:
    """A file that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its splits (`train`, `val`, perhaps `test`), its class names, and how its pictures were prepared.

    Args:
        fingerprint: a hash of names, contents, labels and sides; equal fingerprints are equal data.
        notes: plain sentences that a user should see.
    """

    name: str
    root: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    quarantined: tuple[Quarantined, ...]
    fingerprint: str
    preprocess: Preprocess
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Counts and facts, ready for JSON."""
        return {
            "name": self.name,
            "root": self.root,
            "classes": list(self.classes),
            "splits": {side: self._counts(split) for side, split in self.splits.items()},
            "quarantined": [{"name": bad.name, "reason": bad.reason} for bad in self.quarantined],
            "fingerprint": self.fingerprint,
            "preprocess": self.preprocess.to_json(),
            "notes": list(self.notes),
        }

    def _counts(self, split: Split) -> dict[str, Any]:
        counts = np.bincount(split.labels, minlength=len(self.classes)).tolist()
        return {"n": len(split), "per_class": dict(zip(self.classes, counts, strict=True))}


@dataclass(frozen=True, eq=False)
class Part:
    """A split as a loader knows it: pictures, labels, content hashes and names, row by row."""

    images: Pixels
    labels: Sequence[int]
    digests: Sequence[bytes]
    names: Sequence[str]

    @cached_property
    def split(self) -> Split:
        """The same, as users see it."""
        return Split(self.images, np.asarray(self.labels, np.int64), sample_ids(self.digests), self.names)


@dataclass(frozen=True)
class Wanted:
    """What the user asked of the pictures; None where the data shall decide."""

    image_size: int | None = None
    stored_size: int | None = None
    fit: Fit = "crop"
    channels: int | None = None
    fractions: Fractions = (0.8, 0.1, 0.1)
    progress: Progress | None = None

    def geometry(self, image_size: int, channels: int, *, margin: float = 1.0) -> Preprocess:
        """The wishes, completed: the size and channels given here stand in for those not wished for."""
        size = image_size if self.image_size is None else self.image_size
        stored = round(size * margin) if self.stored_size is None else self.stored_size
        return Preprocess.plain(size, stored, self.fit, channels if self.channels is None else self.channels)


def assemble(
    name: str,
    root: str,
    classes: Sequence[str],
    parts: Mapping[str, Part],
    geometry: Preprocess,
    *,
    quarantined: Sequence[Quarantined] = (),
    notes: Sequence[str] = (),
) -> Data:
    """The data set made of these parts, normalised by its own training split."""
    mean, std = statistics(parts["train"].images)
    return Data(
        name=name,
        root=root,
        classes=tuple(classes),
        splits={side: part.split for side, part in parts.items()},
        quarantined=tuple(quarantined),
        fingerprint=fingerprint(classes, parts),
        preprocess=replace(geometry, mean=mean, std=std),
        notes=tuple(notes),
    )


def sample_ids(digests: Sequence[bytes]) -> Labels:
    """A number for each picture from its content hash; of equal contents each after the first takes the next free."""
    taken: dict[int, None] = {}
    for digest in digests:
        number = int.from_bytes(digest[:8], "big") >> 1
        while number in taken:
            number = (number + 1) % 2**63
        taken[number] = None
    return np.fromiter(taken, np.int64, len(digests))


def fingerprint(classes: Sequence[str], parts: Mapping[str, Part]) -> str:
    """A hash of everything that makes the data what it is."""
    total = sha256("\0".join(classes).encode("utf-8", "surrogateescape"))
    for side, part in parts.items():
        for name, digest, label in zip(part.names, part.digests, part.labels, strict=True):
            total.update(f"\n{side}\0{name}\0{int(label)}\0".encode("utf-8", "surrogateescape") + digest)
    return total.hexdigest()


def statistics(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, exact, rounded to 4 digits."""
    if len(images) == 0:
        raise NetwrightError("there are no training pictures", "check the data folder")
    row, channels = images.shape[2] * images.shape[3], images.shape[3]
    total, squares = np.zeros(row, np.int64), np.zeros(row, np.int64)
    for start in range(0, len(images), 64):
        # Adding whole picture rows keeps the inner loop long: five times faster than adding pixels of 3 values.
        chunk = images[start : start + 64].reshape(-1, row)
        for first in range(0, len(chunk), ROWS):
            rows = chunk[first : first + ROWS]
            total += rows.sum(0, dtype=np.uint32)
            squares += np.square(rows, dtype=np.uint16).sum(0, dtype=np.uint32)
    count = images.size // channels
    mean = total.reshape(-1, channels).sum(0) / count
    spread = np.sqrt(np.maximum(squares.reshape(-1, channels).sum(0) / count - mean**2, 0))
    # One flat colour has no spread; dividing by one grey level keeps its values finite.
    return _digits(mean / 255), _digits(np.maximum(spread, 1) / 255)


def _digits(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
