"""Pictures to score, and normal ones that nothing was trained on: wherever they are, as an autoencoder wants them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.bundle.bundle import find_bundle
from netwright.bundle.embed import listed_pictures, readable
from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.spec import Spec
from netwright.data.assign import SPLITS
from netwright.data.listing import Listing, taken
from netwright.data.preprocess import Preprocess
from netwright.data.ready import digests_of, split_of
from netwright.data.split import Split
from netwright.lab.trial import data_of
from netwright.recipes._recipe import read_recipe
from netwright.records.folder import RunFolder

SCORED = ("test", "val", "train")  # of data that has splits, the first that it has is scored
NORMAL = "name normal pictures that it was not trained on: --normal DATA"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded pictures and what is known of them.

    Attributes:
        split: in the order of their contents; its own labels mean nothing here.
        labels: the class of each, "" where nobody says. N.
        says: where they come from.
        notes: what a user should know.
        trained: ids of pictures that the network was trained on, where that is known.
    """

    split: Split
    labels: NDArray[np.str_]
    says: str
    notes: tuple[str, ...] = ()
    trained: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.split)

    def taken(self, places: NDArray[np.int64]) -> "Pictures":
        """Some of them."""
        return replace(self, split=self.split.taken(places), labels=self.labels[places])


def scored_pictures(paths: Sequence[str], preprocess: Preprocess, *, plain: bool = False) -> Pictures:
    """The pictures of some data: its test split where it has one, else val, else all.

    Args:
        paths: a folder, flat or of classes, or other data, or pictures one by one.
        preprocess: the network's.
        plain: whether the folders inside are no classes.

    Raises:
        NetwrightError: no pictures, or none that can be read.
    """
    listing = listed_pictures(paths, plain=plain)
    side = next((side for side in SCORED if listing.having(side)), None)
    return _decoded(listing, side, preprocess, paths)


def normal_pictures(path: str, preprocess: Preprocess) -> Pictures:
    """The pictures that a user calls normal: of data with splits those of val.

    Raises:
        NetwrightError: no pictures, or splits without val, of which one was trained on and one has the anomalies.
    """
    listing = listed_pictures([path])
    sides = [side for side in SPLITS if listing.having(side)]
    if sides and "val" not in sides:
        problem = f"{path} has {' and '.join(sides)} pictures, and nothing says which are normal and new to the network"
        raise NetwrightError(problem, "name a folder of such pictures alone: --normal FOLDER")
    return _decoded(listing, "val" if sides else None, preprocess, [path])


def held_out(run: str) -> Pictures:
    """The pictures that a run validated on, opened again from where they were.

    Args:
        run: a run folder, or the bundle inside it.

    Raises:
        NetwrightError: there is no record of the run, its data were objects, or they are not as they were.
    """
    bundle = find_bundle(Path(run))
    where = next((each for each in (Path(run), bundle.resolve().parent) if (each / "record.json").is_file()), None)
    if where is None:
        raise NetwrightError(f"{run} is a bundle away from its run, and does not say what it was trained on", NORMAL)
    record = RunFolder.open(where).record()
    if "data" in (record.get("own") or {}):
        raise NetwrightError(f"{run} was trained on data of your own program, which cannot be opened again", NORMAL)
    recipe = read_recipe(where / "record.json")
    try:
        data = data_of(recipe, classes=False)
    except NetwrightError as error:
        problem = f"the data of {run} cannot be opened again: {error.problem}"
        raise NetwrightError(problem, f"put {recipe.data} back, or {NORMAL}") from None
    if data.fingerprint != record["data"].get("fingerprint"):
        raise NetwrightError(f"the pictures in {recipe.data} are not those that {run} was trained on", NORMAL)
    if "val" not in data.splits or not len(data.splits["val"]):
        raise NetwrightError(f"{run} had no validation pictures", NORMAL)
    val = data.splits["val"]
    labels = _names(val.labels, data.classes)
    notes = ()
    if any(Spec.parse(trick).name == "early_stopping" for trick in recipe.tricks):
        notes = ("early_stopping chose the weights by these validation pictures: the threshold is a little low",)
    return Pictures(val, labels, f"validation pictures of {data.name}", notes, data.splits["train"].ids)


def of_classes(pictures: Pictures, wanted: Sequence[str], scored: Sequence[str]) -> Pictures:
    """Those of normal classes, with a note of which they are; all, where classes have other names than scored ones.

    Args:
        pictures: to set a threshold on.
        wanted: the classes that are normal.
        scored: all classes of the pictures that are scored.

    Raises:
        NetwrightError: some are of scored classes, and none of a normal one.
    """
    there = classes_of(pictures.labels)
    own = [name for name in there if name in wanted]
    if not own and (odd := [name for name in there if name in scored]):
        problem = f"{pictures.says} have no {listed(wanted)}, only {listed(there, 6)}"
        raise NetwrightError(f"{problem}, and you do not call {listed(odd, 6)} normal", NORMAL)
    taken = pictures.taken(np.flatnonzero(np.isin(pictures.labels, own))) if own else pictures
    if own:
        note = f"the threshold is from pictures of {listed(own, 6)}"
    else:
        names = f"pictures of {listed(there, 6)}" if there else "pictures without classes"
        note = f"the threshold is from {len(taken)} {names}, none called {listed(wanted)}: are all of them normal?"
    return replace(taken, notes=(*taken.notes, note))


def classes_of(labels: NDArray[np.str_]) -> list[str]:
    """The classes that some pictures have, in order."""
    return sorted({str(label) for label in labels[labels != ""]})


def class_named(name: str, classes: Sequence[str]) -> str:
    """The class of this name, or the only one that begins so: `1` of `0 - zero, 1 - one`.

    Raises:
        NetwrightError: there is none, or several.
    """
    fitting = [name] if name in classes else [each for each in classes if each.startswith(name)]
    if len(fitting) != 1:
        raise unknown("class", name, classes)
    return fitting[0]


def shared(pictures: Pictures, ids: NDArray[np.int64]) -> int:
    """How many of them are among others, by content."""
    return int(np.isin(pictures.split.ids, ids).sum())


def _decoded(listing: Listing, side: str | None, preprocess: Preprocess, paths: Sequence[str]) -> Pictures:
    if side is not None:
        listing = taken(listing, np.flatnonzero(listing.sides == SPLITS.index(side)))
    found, good, notes = readable(listing, preprocess)
    split = split_of(listing, found.images, good, digests_of(found.facts))
    what = paths[0] if len(paths) == 1 else f"{len(paths)} files"
    says = f"{what}, {side} pictures" if side else what
    return Pictures(split, _names(split.labels, listing.classes), says, tuple(notes))


def _names(labels: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.str_]:
    """Class numbers as names; of several labels a picture none, since nothing says which makes it normal."""
    if labels.ndim != 1:
        return np.full(len(labels), "", dtype=np.str_)
    table = np.array([*classes, ""], dtype=np.str_)
    return table[np.where((labels >= 0) & (labels < len(classes)), labels, len(classes))]
