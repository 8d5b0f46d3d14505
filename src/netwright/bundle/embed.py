"""Pictures wherever they are, with labels or without, as vectors."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.bundle.embedder import BATCH, Embedder
from netwright.core.errors import NetwrightError, listed
from netwright.data.assign import SPLITS
from netwright.data.cache import Decoded
from netwright.data.files import EXTENSIONS, located, pictures_in
from netwright.data.folder import IGNORED, UNKNOWN, unlabelled
from netwright.data.kinds import listing_of
from netwright.data.listing import NOBODY, Blobs, Files, Listing
from netwright.data.preprocess import Preprocess
from netwright.data.ready import digests_of, looked_at, split_of
from netwright.data.split import Wanted
from netwright.records.vectors import Vectors, separator_for


def embed(
    embedder: Embedder,
    paths: Sequence[str],
    *,
    plain: bool = False,
    batch_size: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Vectors, list[str]]:
    """Every picture of some data as a vector, and what a user should know.

    Splits are those that the data has; none is drawn, as it would be for training.

    Args:
        embedder: the network.
        paths: one that `open_data` takes, also without labels; or pictures.
        plain: whether the folders inside it are no classes.
        batch_size: pictures at a time.
        progress: called with the pictures done and their total.

    Raises:
        NetwrightError: no pictures, none that can be read, or pictures that the network cannot take.
    """
    listing = listed_pictures(paths, plain=plain)
    found, good, notes = readable(listing, embedder.preprocess)
    digests = digests_of(found.facts)
    split = split_of(listing, found.images, good, digests)
    rows = embedder.of_split(split, batch_size, progress)
    places = {name: place for place, name in enumerate(listing.blobs.names)}
    order = np.argsort([places[name] for name in split.names])
    ids = np.ascontiguousarray(digests[good]).view(np.uint8).reshape(len(good), -1)
    mark = separator_for(listing.classes) if listing.labels.ndim == 2 else ""
    vectors = Vectors(
        [listing.blobs.names[int(place)] for place in good],
        rows[order],
        [SPLITS[side] if side != NOBODY else "" for side in listing.sides[good].tolist()],
        [_label(listing, place, mark) for place in good.tolist()],
        [row.tobytes().hex() for row in ids],
        {**embedder.meta, **_described(paths, listing), **({"separator": mark} if mark else {})},
    )
    return vectors, notes


def readable(
    listing: Listing, preprocess: Preprocess, progress: Callable[[int, int], None] | None = None
) -> tuple[Decoded, NDArray[np.int64], list[str]]:
    """Pictures decoded as for training, the places of those that can be read, and what a user should know.

    Args:
        listing: the pictures; what it says of classes divides nothing.
        preprocess: how they are prepared.
        progress: called with the pictures decoded and their total.

    Raises:
        NetwrightError: none can be read.
    """
    wanted = Wanted(preprocess.image_size, preprocess.stored_size, preprocess.fit, preprocess.channels)
    _, found, _, told = looked_at(replace(listing, classes=()), replace(wanted, progress=progress))
    bad = [f"{listing.blobs.names[place]}: {reason}" for place, reason in sorted(found.unreadable.items())]
    good = np.array([place for place in range(len(listing)) if place not in found.unreadable], np.int64)
    if not len(good):
        problem = f"none of the {len(listing)} pictures in {listing.root} can be read ({listed(bad, 3)})"
        raise NetwrightError(problem, "replace them with good copies")
    return found, good, [*listing.notes, *told, *found.notes, *(f"left out: {each}" for each in bad)]


def listed_pictures(paths: Sequence[str], *, plain: bool = False) -> Listing:
    """Pictures before they are decoded: of one data set, or one by one.

    Raises:
        NetwrightError: a path that is not there, or no pictures.
    """
    if not paths:
        raise NetwrightError("no pictures are named", "give a folder, a table or pictures")
    if len(paths) == 1 and not _is_picture(paths[0]):
        _refuse_empty(located(paths[0]))
        return unlabelled(paths[0]) if plain else listing_of(paths[0], "any")
    files = sorted({file.absolute() for file in pictures_in(located(path) for path in paths)})
    root = Path(os.path.commonpath([file.parent for file in files]))
    names = [file.relative_to(root).as_posix() for file in files]
    labels, sides = np.full(len(names), UNKNOWN, np.int64), np.full(len(names), NOBODY, np.int8)
    return Listing(root.name, str(root), (), Files(root, names), labels, sides)


def _refuse_empty(folder: Path) -> None:
    if folder.is_dir() and all(entry.name.startswith(".") or entry.name in IGNORED for entry in folder.iterdir()):
        raise NetwrightError(f"{folder} is empty", f"put pictures in it: they end in {' '.join(EXTENSIONS)}")


def blobs_of(vectors: Vectors, pictures: str | None) -> tuple[Blobs, dict[str, int]] | None:
    """The pictures behind some vectors and the place of each by name; None where nobody knows where they are.

    Args:
        vectors: as read from a file.
        pictures: where they lie now, if not where the file says.

    Raises:
        NetwrightError: `pictures` holds none of them.
    """
    said = vectors.meta.get("data")
    source = said.get("source") if isinstance(said, dict) else None
    # A file from elsewhere may name anything; only what lies here is looked at without being asked to.
    here = isinstance(source, str) and bool(source) and (source == "digits" or _exists(source))
    if pictures is None and not here:
        return None
    plain = isinstance(said, dict) and said.get("classes") == []
    listing = listed_pictures([pictures or str(source)], plain=plain and Path(pictures or str(source)).is_dir())
    places = {name: place for place, name in enumerate(listing.blobs.names)}
    if not any(name in places for name in vectors.names):
        if pictures is None:
            return None
        problem = f"{pictures} has none of the pictures that were embedded, as {listed(vectors.names[:2])}"
        raise NetwrightError(problem, "give the folder or table that `netwright embed` was given")
    return listing.blobs, places


def _exists(source: str) -> bool:
    try:
        return Path(source).exists()
    except OSError:  # longer than any path
        return False


def _label(listing: Listing, place: int, mark: str) -> str:
    """A class, or several with a mark between them; empty where nobody says."""
    label = listing.labels[place]
    if listing.labels.ndim == 2:
        return mark.join(name for name, has in zip(listing.classes, label.tolist(), strict=True) if has == 1)
    return listing.classes[int(label)] if 0 <= label < len(listing.classes) else ""


def _described(paths: Sequence[str], listing: Listing) -> dict[str, object]:
    source = paths[0] if len(paths) == 1 and not _is_picture(paths[0]) else listing.root
    where = str(Path(source).expanduser().absolute()) if Path(source).expanduser().exists() else source
    data = {"name": listing.name, "source": where, "classes": list(listing.classes)}
    return {"data": data, "classes": list(listing.classes)}


def _is_picture(path: str) -> bool:
    return Path(path).suffix.lower() in EXTENSIONS and Path(path).is_file()
