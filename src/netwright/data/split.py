"""Decoded pictures with their labels, in up to three splits, and what a user should know about them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.assign import Digests, Fractions, leading
from netwright.data.decode import Pixels
from netwright.data.facts import Examined
from netwright.data.preprocess import Fit, Preprocess

if TYPE_CHECKING:
    from netwright.data.masks import Masks, MaskWanted
    from netwright.data.scenes import Scenes

Labels = NDArray[np.int64]
Progress = Callable[[int, int], None]
ROWS = 2**13  # picture rows summed at once: their squares, at most 255² each, fit into 32 bits
MEASURED = 20_000  # pictures from which mean and deviation are taken
NO_TEST = "no test split: the validation score is also used for choosing, so it is optimistic"


class Images(Protocol):
    """Decoded pictures, uint8 N S S C: an array, or something that reads or decodes what it is indexed with."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N S S C."""
        ...

    @property
    def nbytes(self) -> int:
        """Of all pictures, decoded."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Any, /) -> Pixels: ...


@dataclass(frozen=True, eq=False)
class Split:
    """One split, decoded. The order of its pictures follows from their contents, whatever they are called.

    Args:
        images: uint8, N S S C.
        labels: N class numbers; or N K of 1, 0 and -1 for several labels a picture.
        ids: N different numbers that follow from the pictures' contents, so they survive renaming and reordering.
        names: N paths relative to the root, or `train[17]`.
    """

    images: Images
    labels: Labels
    ids: Labels
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def taken(self, places: Labels) -> "Split":
        """Some of its pictures, in the order given."""
        names = [self.names[int(place)] for place in places]
        images = np.asarray(self.images[places])
        return replace(self, images=images, labels=self.labels[places], ids=self.ids[places], names=names)


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
        examined: what is known of each picture, for the data gate.
        masks: how the pictures' masks are understood; None for data without. With masks, the splits are
            `data.scenes.Scenes`.
    """

    name: str
    root: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    quarantined: tuple[Quarantined, ...]
    fingerprint: str
    preprocess: Preprocess
    notes: tuple[str, ...]
    examined: Examined | None = None
    masks: "Masks | None" = None

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
            **self._of_masks(),
        }

    def _of_masks(self) -> dict[str, Any]:
        """Of pictures with masks what these mean, and the smallest and the largest height and width."""
        if self.masks is None:
            return {}
        sizes = np.concatenate([cast("Scenes", split).sizes for split in self.splits.values()])
        order = sizes.prod(1).argsort(kind="stable")
        return {"masks": self.masks.encoding, "sizes": sizes[order[[0, -1]]].tolist()}

    def _counts(self, split: Split) -> dict[str, Any]:
        if split.labels.ndim == 2:
            counts = (split.labels == 1).sum(0).tolist()
        else:
            counts = np.bincount(split.labels, minlength=len(self.classes)).tolist()
        return {"n": len(split), "per_class": dict(zip(self.classes, counts, strict=True))}


@dataclass(frozen=True)
class Wanted:
    """What the user asked of the pictures; None where the data shall decide."""

    image_size: int | None = None
    stored_size: int | None = None
    fit: Fit = "crop"
    channels: int | None = None
    fractions: Fractions = (0.8, 0.1, 0.1)
    progress: Progress | None = None
    quarantine: Mapping[str, str] = field(default_factory=dict[str, str])
    group: str | None = None
    masks: "MaskWanted | None" = None


def sample_ids(digests: Digests) -> Labels:
    """A number for each picture from its content hash; of equal contents each after the first takes the next free."""
    ids = (leading(digests) >> np.uint64(1)).astype(np.int64)
    _, first = np.unique(ids, return_index=True)
    if len(first) < len(ids):
        taken, free = set(ids[first].tolist()), dict[int, int]()
        for place in sorted(set(range(len(ids))) - set(first.tolist())):
            content = int(ids[place])
            number = free.get(content, content)
            while number in taken:
                number = (number + 1) % 2**63
            taken.add(number)
            free[content] = ids[place] = number
    return ids


def statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the scale 0 to 1, rounded to 4 digits.

    Of MEASURED pictures, evenly spread, where there are more; else exact.
    """
    if len(images) == 0:
        raise NetwrightError("there are no training pictures", "check the data folder")
    chosen = np.linspace(0, len(images) - 1, min(MEASURED, len(images))).astype(np.int64)
    row, channels = images.shape[2] * images.shape[3], images.shape[3]
    total, squares = np.zeros(row, np.int64), np.zeros(row, np.int64)
    for start in range(0, len(chosen), 64):
        # Adding whole picture rows keeps the inner loop long: five times faster than adding pixels of 3 values.
        chunk = images[chosen[start : start + 64]].reshape(-1, row)
        for first in range(0, len(chunk), ROWS):
            rows = chunk[first : first + ROWS]
            total += rows.sum(0, dtype=np.uint32)
            squares += np.square(rows, dtype=np.uint16).sum(0, dtype=np.uint32)
    count = len(chosen) * images.shape[1] * images.shape[2]
    mean = total.reshape(-1, channels).sum(0) / count
    spread = np.sqrt(np.maximum(squares.reshape(-1, channels).sum(0) / count - mean**2, 0))
    # One flat colour has no spread; dividing by one grey level keeps its values finite.
    return _digits(mean / 255), _digits(np.maximum(spread, 1) / 255)


def _digits(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)
