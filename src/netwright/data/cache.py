"""The decode-once cache: every picture is decoded, turned and resized once, into memory-mapped uint8 arrays.

Records go by the content of the files alone, so that data sets and runs share them, and a file that changes is decoded
anew.
"""

import errno
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.decode import Pixels, UnreadableImage
from netwright.data.facts import FACT, complete
from netwright.data.index import Index
from netwright.data.listing import Arrays, Listing
from netwright.data.live import Live, Looked, look
from netwright.data.preprocess import Preprocess
from netwright.data.segments import ABSENT, Keys, Segments, as_rows, remove, stored_in
from netwright.data.split import Images, Progress

LAYOUT = 3  # raise it when the same picture would be stored differently
VARIABLE, LIMIT = "NETWRIGHT_CACHE", "NETWRIGHT_CACHE_GB"
USUAL_LIMIT = 50  # GB
HELD = 2 << 30  # bytes of decoded pictures that are held in memory where the cache cannot have them
_CHUNK = 256
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ABANDONED = 24 * 3600.0  # seconds


@dataclass(frozen=True, eq=False)
class Decoded:
    """The pictures of a listing.

    Attributes:
        images: N S S C, to be indexed by place; rows of unreadable pictures must not be asked for.
        facts: N rows of FACT; zeros where unreadable.
        unreadable: place and reason.
        notes: sentences for the user.
    """

    images: Images
    facts: NDArray[np.void]
    unreadable: dict[int, str]
    notes: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Where decoded pictures are kept: NETWRIGHT_CACHE, or the platform's place for such things."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "netwright" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "netwright"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "netwright"


def limit() -> int:
    """How many bytes the cache may take: NETWRIGHT_CACHE_GB.

    Raises:
        NetwrightError: it is not a number.
    """
    given = os.environ.get(LIMIT, USUAL_LIMIT)
    try:
        return int(float(given) * 1e9)
    except ValueError:
        raise NetwrightError(f"{LIMIT} is '{given}'", f"give gigabytes, as in {LIMIT}={USUAL_LIMIT}") from None


@contextmanager
def opened_index() -> Generator[Index]:
    """The index of the cache folder, or one in memory where that cannot be written."""
    folder = cache_folder()
    index = Index(folder if writable(folder) else None)
    try:
        yield index
    finally:
        index.close()


def decoded(
    listing: Listing,
    keys: Keys,
    closed: dict[int, str],
    geometry: Preprocess,
    index: Index,
    *,
    progress: Progress | None = None,
) -> Decoded:
    """The pictures of a listing as `geometry` stores them, and what is known of each; decoded now unless cached.

    Args:
        listing: N pictures.
        keys: their content hashes, N 4.
        closed: those that cannot be opened.
        geometry: `image_size`, mean and std do not matter.
        index: knows contents that are no pictures.
        progress: called with the pictures done and those to do.

    Raises:
        NetwrightError: the disk is full.
    """
    folder: Path | None = cache_folder()
    notes: list[str] = []
    if not writable(folder):
        notes.append(
            f"the cache folder {folder} cannot be written, so pictures are decoded anew in every run; "
            f"set {VARIABLE} to a folder that can"
        )
        folder = None
    # Arrays from Python may never be seen again.
    facts = Segments(folder and folder / "facts" / _name("facts") if listing.root else None, FACT)
    kind = _name(geometry.shape, geometry.fit)
    pixels = Segments(folder and folder / "pixels" / kind, np.uint8, geometry.shape)
    lost = closed | index.unreadable(keys)
    keeps, note = _what_to_keep(listing, keys, lost, facts, pixels, folder)
    notes += [note] if note else []
    lost |= _filled(listing, keys, lost, facts, keeps, geometry, index, progress)
    places = facts.find(keys)
    known = np.zeros(len(listing), FACT)
    good = _good(len(listing), lost)
    if (places[good] == ABSENT).any() or (keeps is not None and (keeps.find(keys[good]) == ABSENT).any()):
        raise NetwrightError(f"the cache {facts.folder} cannot be read back", f"point {VARIABLE} at another disk")
    known[good] = facts.rows(places[good])[:]
    return Decoded(_images(listing, keys, lost, geometry, keeps), known, lost, tuple(notes))


def _what_to_keep(
    listing: Listing, keys: Keys, lost: dict[int, str], facts: Segments, pixels: Segments, folder: Path | None
) -> tuple[Segments | None, str]:
    """Where decoded pictures go, or None where they are not kept; and what to tell the user."""
    if listing.blobs.in_memory:
        return None, ""
    good = keys[_good(len(listing), lost)]
    missing = (pixels.find(good) == ABSENT).sum()
    needed, all_ = missing * pixels.row_bytes, len(good) * pixels.row_bytes
    if not missing or (folder is None and all_ <= HELD):
        return pixels, ""
    if folder is None or all_ > limit():
        gigabytes = -(-all_ // 1_000_000_000)
        return None, (
            f"the decoded pictures would take {gigabytes} GB, more than the cache may hold, so they are decoded anew "
            f"whenever they are needed" + (f"; {LIMIT}={gigabytes} would keep them" if folder else "")
        )
    make_room(folder, needed, pixels.used(good) | facts.used(good))
    return pixels, ""


def _images(listing: Listing, keys: Keys, lost: dict[int, str], geometry: Preprocess, kept: Segments | None) -> Images:
    if kept is not None:
        return kept.rows(kept.find(keys))
    if listing.blobs.in_memory:
        arrays = listing.blobs.arrays if isinstance(listing.blobs, Arrays) else []
        shaped = [array[..., None] if array.ndim == 3 else array for array in arrays]
        if shaped and all(array.shape[1:] == geometry.shape for array in shaped):
            return as_rows(shaped)
        if len(listing) * math.prod(geometry.shape) <= HELD:
            return _converted(listing, lost, geometry)
    return Live(listing, keys, np.arange(len(listing)), geometry)


def _converted(listing: Listing, lost: dict[int, str], geometry: Preprocess) -> Pixels:
    """Arrays of another size than is kept."""
    images = np.zeros((len(listing), *geometry.shape), np.uint8)
    for place in _good(len(listing), lost).tolist():
        images[place] = geometry.from_array(np.asarray(listing.blobs.read(place)))
    return images


def _filled(
    listing: Listing,
    keys: Keys,
    lost: dict[int, str],
    facts: Segments,
    pixels: Segments | None,
    geometry: Preprocess,
    index: Index,
    progress: Progress | None,
) -> dict[int, str]:
    """Decode what is not there yet, each content once; returns what cannot be read."""
    good = _good(len(listing), lost)
    unknown, unkept = np.zeros((2, len(listing)), bool)
    unknown[good] = facts.find(keys[good]) == ABSENT
    unkept[good] = pixels is not None and pixels.find(keys[good]) == ABSENT
    todo = np.flatnonzero(unknown | unkept)
    _, first = np.unique(keys[todo, 0], return_index=True)
    reasons: dict[int, UnreadableImage] = {}
    with _room_errors(facts, pixels), ExitStack() as stack:
        to_facts = stack.enter_context(facts.writing())
        to_pixels = None if pixels is None else stack.enter_context(pixels.writing())
        for looked in _looked(listing, keys, todo[np.sort(first)], geometry, progress):
            reasons |= {place: found for place, found in looked if isinstance(found, UnreadableImage)}
            seen = [(place, *found) for place, found in looked if not isinstance(found, UnreadableImage)]
            learnt = np.array([fact for _, _, fact in seen], FACT)
            complete(learnt)
            for row, (place, image, _) in enumerate(seen):
                if unknown[place]:
                    to_facts.add(keys[place], learnt[row : row + 1])
                if to_pixels is not None and unkept[place]:
                    to_pixels.add(keys[place], image)
    # What only failed today is tried again next time.
    index.note_unreadable((keys[place].tobytes(), bad.reason) for place, bad in reasons.items() if bad.lasting)
    return _of_equal_content(reasons, keys, good)


def _looked(
    listing: Listing, keys: Keys, places: NDArray[np.int64], geometry: Preprocess, progress: Progress | None
) -> Iterator[list[tuple[int, Looked]]]:
    """Pictures with their places, some hundreds at a time, so that no more than these are in memory."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(places), _CHUNK):
            chosen = places[start : start + _CHUNK].tolist()
            found: list[tuple[int, Looked]] = []
            for each in pool.map(look, repeat(listing), chosen, keys[chosen], repeat(geometry)):
                found.append((chosen[len(found)], each))
                if progress:
                    progress(start + len(found), len(places))
            yield found


def _of_equal_content(reasons: dict[int, UnreadableImage], keys: Keys, good: NDArray[np.int64]) -> dict[int, str]:
    """The reasons for every picture whose content is that of one that failed."""
    by_key = {keys[place].tobytes(): error.reason for place, error in reasons.items()}
    if not by_key:
        return {}
    return {int(place): by_key[key] for place in good if (key := keys[place].tobytes()) in by_key}


def _good(count: int, lost: dict[int, str]) -> NDArray[np.int64]:
    whole = np.ones(count, bool)
    whole[list(lost)] = False
    return np.flatnonzero(whole)


def _name(*described: Any) -> str:
    """Of a folder of segments; another layout or another decoder has others."""
    return sha256(json.dumps([LAYOUT, PIL.__version__, *described]).encode()).hexdigest()[:16]


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder; a full disk counts as writable, since room can be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        return error.errno in _FULL


def make_room(folder: Path, needed: int, spared: set[Path | None]) -> None:
    """Remove what killed runs left half written, then what was used least recently until the cache keeps its limit."""
    for leftover in folder.rglob(".*.npy.*"):
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED:
                leftover.unlink()
    stored = stored_in(folder)
    over = sum(size for _, size, _ in stored) + needed - limit()
    for _, size, keys in stored:
        if over > 0 and keys not in spared:
            remove(keys)
            over -= size
    if shutil.disk_usage(folder).free < needed:
        raise _no_room(folder, needed)


@contextmanager
def _room_errors(facts: Segments, pixels: Segments | None) -> Generator[None]:
    """A disk that fills up while pictures are decoded, told with what would help."""
    try:
        yield
    except NetwrightError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _FULL and facts.folder is not None:
            raise _no_room(facts.folder.parent, (facts if pixels is None else pixels).row_bytes) from None
        raise


def _no_room(folder: Path, needed: int) -> NetwrightError:
    megabytes = -(-needed // 1_000_000)
    fix = f"free {megabytes} MB there, or set {VARIABLE} to a folder on a disk that has them"
    return NetwrightError(f"the disk is full: the decoded pictures need {megabytes} MB in {folder}", fix)
