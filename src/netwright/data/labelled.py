"""Labelled pictures for measuring a model that exists: its classes and its preprocessing decide, not the folder's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data import folder, open_data
from netwright.data.cache import Index, cache_folder, cached
from netwright.data.preprocess import Preprocess
from netwright.data.split import Part, Split

SEEN = "every picture here was measured: if the model was trained on some of them, the result is too good"
ORDER = ("test", "val", "train")


@dataclass(frozen=True)
class Labelled:
    """A split whose labels are a model's class numbers, its name, and what a user should know of it."""

    split: Split
    name: str
    notes: tuple[str, ...]


def labelled(source: str, preprocess: Preprocess, classes: Sequence[str]) -> Labelled:
    """Labelled pictures prepared as a model wants them: test where there is one, else validation, else everything.

    Args:
        source: what `open_data` takes, or a folder with one folder a class.
        preprocess: the model's.
        classes: the model's class names.

    Raises:
        NetwrightError: no pictures, or a class the model does not know.
    """
    root = Path(source).expanduser()
    if root.is_dir() and not any(root.glob("*.npz")):
        return _from_folder(root, preprocess, classes)
    data = open_data(
        source,
        image_size=preprocess.image_size,
        stored_size=preprocess.stored_size,
        fit=preprocess.fit,
        channels=preprocess.channels,
    )
    name = next(side for side in ORDER if side in data.splits)
    numbers = np.array([_number(known, classes) for known in data.classes])
    split = data.splits[name]
    return Labelled(Split(split.images, numbers[split.labels], split.ids, split.names), name, data.notes)


def _from_folder(root: Path, preprocess: Preprocess, classes: Sequence[str]) -> Labelled:
    sides = folder.side_folders(root)
    if not any(folder.folders_in(side) for side in sides.values()):
        sides = {}  # classes that happen to be called as sides are: their pictures lie directly in them
    name = next((side for side in ORDER if side in sides), "all")
    others: Counter[str] = Counter()
    found = folder.pictures_by_class(sides.get(name, root), others)
    files = [(path, _number(label, classes)) for label, paths in found.items() for path in paths]
    if not files:
        raise NetwrightError(f"no labelled pictures in {root}", f"make a folder for each class, as {root / classes[0]}")
    index = Index(root, cache_folder())
    digests, closed = index.digests([path for path, _ in files])
    index.save()
    known = [(path, label) for path, label in files if path in digests]
    stored = cached([path for path, _ in known], [digests[path] for path, _ in known], preprocess)
    good = [item for place, item in enumerate(known) if place not in stored.unreadable]
    bad = closed | {known[place][0]: reason for place, reason in stored.unreadable.items()}
    if not good:
        raise _nothing_readable(root, bad)
    notes = [SEEN] if name in ("all", "train") else []
    notes += [f"left out: {path.relative_to(root)}: {reason}" for path, reason in sorted(bad.items())]
    part = Part(
        stored.images,
        [label for _, label in good],
        [digests[path] for path, _ in good],
        [path.relative_to(root).as_posix() for path, _ in good],
    )
    return Labelled(part.split, name, (*notes, *stored.notes))


def _nothing_readable(root: Path, bad: Mapping[Path, str]) -> NetwrightError:
    reasons = listed((f"{path.relative_to(root)}: {reason}" for path, reason in sorted(bad.items())), 3)
    problem = f"none of the {len(bad)} pictures in {root} can be read ({reasons})"
    return NetwrightError(problem, "replace them with good copies")


def _number(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise unknown("class for this model", name, classes)
    return list(classes).index(name)
