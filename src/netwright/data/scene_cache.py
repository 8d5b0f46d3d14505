"""Pictures and masks at their own sizes, decoded once: one flat array for a whole data set, in memory or mapped.

A data set's array is a file in the cache that goes by the contents of all its files, so that it is shared by runs and
made anew when one of them changes.
"""

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.assign import leading
from netwright.data.cache import HELD, LIMIT, VARIABLE, cache_folder, limit, make_room, writable
from netwright.data.decode import MOST_WITH_MASK, Pixels, UnreadableImage, decode, flatten
from netwright.data.facts import content_digest, pixel_digest
from netwright.data.listing import Listing
from netwright.data.ragged import Ragged
from netwright.data.segments import Keys
from netwright.data.split import Progress
from netwright.records.atomic import replacing

LAYOUT = 1  # raise it when the same pair would be stored differently
TOGETHER = 256 << 20  # bytes of decoded pairs that wait to be written; a pair that is larger waits alone
CHECKED = 16  # records whose checksums are compared when a file is opened: reading all would cost what it saves
LONGEST_REASON = 240  # bytes

Table = NDArray[np.void]


class Reads(Protocol):
    """Masks as this module wants them: `data.masks.Masks` is one."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        ...

    @property
    def several(self) -> bool:
        """Whether classes overlap: then a mask has a plane for each."""
        ...

    @property
    def salt(self) -> str:
        """What decides on a mask besides its file's content."""
        ...

    def read(self, place: int) -> Pixels:
        """H W class numbers, or K H W of 1 and 0; 255 where ignored."""
        ...


@dataclass(frozen=True, eq=False)
class Stored:
    """The pairs of a listing, decoded.

    Attributes:
        table: a row for each place of the listing; of those that cannot be read the height is 0.
        flat: each picture's values and then its mask's.
        mapped: whether these lie in a file rather than in memory.
        channels: of the pictures.
        planes: of the masks; 0 where a mask is H W.
    """

    table: Table
    flat: Pixels
    mapped: bool
    channels: int
    planes: int

    @property
    def unreadable(self) -> dict[int, str]:
        """Place and reason."""
        bad = np.flatnonzero((self.table["height"] == 0) & (self.table["reason"] != b""))
        return {int(place): self.table["reason"][place].decode("utf-8", "ignore") for place in bad}

    def images(self, places: NDArray[np.int64]) -> Ragged:
        """Pictures, H W C each."""
        shapes = np.concatenate([self._sizes(places), np.full((len(places), 1), self.channels)], 1)
        return Ragged(self.flat, self.table["start"][places], shapes)

    def masks(self, places: NDArray[np.int64]) -> Ragged:
        """Masks, H W each, or K H W."""
        sizes = self._sizes(places)
        starts = self.table["start"][places] + sizes.prod(1) * self.channels
        planes = np.full((len(places), 1), self.planes)
        return Ragged(self.flat, starts, np.concatenate([planes, sizes], 1) if self.planes else sizes)

    def _sizes(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.stack([self.table["height"][places], self.table["width"][places]], 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a listing's N pairs before they are decoded at their own sizes.

    Attributes:
        keys: content hashes of the pictures, N 4.
        mask_keys: those of the masks' files.
        facts: rows of FACT.
        unreadable: pictures that are left out: place and reason.
    """

    keys: Keys
    mask_keys: Keys
    facts: NDArray[np.void]
    unreadable: dict[int, str]

    @property
    def order(self) -> NDArray[np.int64]:
        """Places of the pairs to decode, by content."""
        places = np.array(sorted(set(range(len(self.keys))) - set(self.unreadable)), np.int64)
        return places[np.lexsort((leading(self.mask_keys[places]), leading(self.keys[places])))]


def stored_scenes(
    listing: Listing, masks: Reads, known: Known, channels: int, *, progress: Progress | None = None
) -> Stored:
    """The pairs of a listing at their own sizes, decoded now unless they are cached.

    Args:
        listing: N pictures.
        masks: of these.
        known: what was found out about them.
        channels: of the pictures, 1 or 3.
        progress: called with the pairs done and those to do.

    Raises:
        NetwrightError: the decoded pairs are more than memory and the cache may hold, or a mask is not encoded as the
            others are.
    """
    order, area = known.order, known.facts["width"].astype(np.int64) * known.facts["height"]
    work = _Work(listing, masks, known.keys, channels, len(masks.classes) if masks.several else 0, area, progress)
    needed = int(work.sizes[order].sum())
    path = _file(listing, needed, work, np.concatenate([known.keys[order], known.mask_keys[order]], 1))
    if path is None:
        rows, flat = _in_memory(work, order)
    else:
        found = _opened(path, work)
        rows, flat = _written(path, work, order, needed) if found is None else found
        flat = flat if flat.nbytes > HELD else np.array(flat)
    table = np.zeros(len(listing), _row(work))
    table[order] = rows
    return Stored(table, flat, isinstance(flat, np.memmap), channels, work.planes)


@dataclass(frozen=True, eq=False)
class _Work:
    """What is to be decoded, and how."""

    listing: Listing
    masks: Reads
    keys: Keys
    channels: int
    planes: int
    area: NDArray[np.int64]
    progress: Progress | None

    @property
    def values(self) -> int:
        """Of a pixel, in picture and mask."""
        return self.channels + max(1, self.planes)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Bytes of each pair."""
        return self.area * self.values


def _row(work: _Work) -> np.dtype[Any]:
    """What is kept of a pair besides its values."""
    return np.dtype(
        [
            ("start", "<i8"),  # of the picture in the flat array; the mask follows it
            ("height", "<u4"),
            ("width", "<u4"),
            ("digest", "V32"),  # of the mask's values, whatever its file looks like
            ("pixels", "<i8", (len(work.masks.classes),)),  # that each class has
            ("crc", "<u4"),
            ("lasting", "?"),  # whether reading again cannot help
            ("reason", f"S{LONGEST_REASON}"),  # why it cannot be read
        ]
    )


def _file(listing: Listing, needed: int, work: _Work, contents: NDArray[np.uint64]) -> Path | None:
    """Where the pairs are kept, or None for in memory."""
    folder = cache_folder()
    if not listing.root or not writable(folder):
        if needed > HELD:
            problem = f"the decoded pairs take {_gigabytes(needed)} GB, too much to hold in memory"
            raise NetwrightError(problem, f"set {VARIABLE} to a folder that can be written: {folder} cannot")
        return None
    if needed > limit():
        problem = f"the decoded pairs take {_gigabytes(needed)} GB, more than the cache may hold"
        raise NetwrightError(problem, f"allow it: {LIMIT}={_gigabytes(needed)}")
    described = repr([LAYOUT, PIL.__version__, work.channels, work.planes, work.masks.classes, work.masks.salt])
    name = sha256(described.encode("utf-8", "surrogatepass") + contents.tobytes()).hexdigest()[:32]
    return folder / "scenes" / f"{name}.keys.npy"


def _gigabytes(size: int) -> int:
    return -(-size // 1_000_000_000)


def _opened(path: Path, work: _Work) -> tuple[Table, Pixels] | None:
    """What an earlier run has kept, or None unless everything about it is as expected."""
    try:
        rows = np.load(path, allow_pickle=False)
        # Copy-on-write, so that torch may wrap the array without warning and nothing ever reaches the file.
        flat = np.load(_values_of(path), mmap_mode="c", allow_pickle=False)
    except Exception:  # whatever numpy stumbles on in a damaged header
        return None
    if rows.dtype != _row(work) or flat.ndim != 1 or flat.dtype != np.uint8 or not _sound(rows, flat, work):
        return None
    with suppress(OSError):
        os.utime(path)  # what was used least recently goes first when room is needed
    return rows, flat


def _sound(rows: Table, flat: Pixels, work: _Work) -> bool:
    whole = rows[rows["height"] > 0]
    ends = whole["start"] + whole["height"].astype(np.int64) * whole["width"] * work.values
    if int(ends.max(initial=0)) != len(flat):
        return False
    chosen = range(0, len(whole), max(1, len(whole) // CHECKED))
    return all(zlib.crc32(flat[whole["start"][row] : ends[row]].data) == whole["crc"][row] for row in chosen)


def _values_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(".keys.npy") + ".npy")


def _in_memory(work: _Work, order: NDArray[np.int64]) -> tuple[Table, Pixels]:
    rows = np.zeros(len(order), _row(work))
    parts = [values for _, values in _decoded(work, order, rows)]
    rows["start"] = np.cumsum([0, *map(len, parts)])[:-1]
    return rows, np.concatenate([np.empty(0, np.uint8), *parts])


def _written(path: Path, work: _Work, order: NDArray[np.int64], needed: int) -> tuple[Table, Pixels]:
    """The pairs decoded into a file; its table, which says that it is whole, is written last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_room(path.parent.parent, needed, {path})
    rows, values = np.zeros(len(order), _row(work)), _values_of(path)
    with replacing(values, needed=needed) as temporary, temporary.open("wb") as file:
        length = 0
        _header(file, 0)
        for place, part in _decoded(work, order, rows):
            rows["start"][place] = length
            file.write(part.data)
            length += len(part)
        file.seek(0)
        _header(file, length)
    if bool((rows["lasting"] | (rows["height"] > 0)).all()):  # what only failed today is tried again next time
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, rows, allow_pickle=False)
    return rows, np.load(values, mmap_mode="c", allow_pickle=False)


def _header(file: BinaryIO, length: int) -> None:
    """NumPy leaves room in it for the length to grow."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (length,)})


def _decoded(work: _Work, order: NDArray[np.int64], rows: Table) -> Iterator[tuple[int, Pixels]]:
    """Each pair's values in order, and its row filled in; only some pairs at a time are in memory."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for first, last in _together(work.sizes[order]):
            for row, found in enumerate(pool.map(partial(_pair, work), order[first:last].tolist()), first):
                if isinstance(found, UnreadableImage):
                    rows["reason"][row] = found.reason.encode()[:LONGEST_REASON]
                    rows["lasting"][row] = found.lasting
                    values = np.empty(0, np.uint8)
                else:
                    values = _described(rows[row : row + 1], *found, work)
                if work.progress:
                    work.progress(row + 1, len(order))
                yield row, values


def _together(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where each run of pairs begins and ends that are decoded at once. Sizes: bytes of each."""
    first, room = 0, TOGETHER
    for row, size in enumerate(sizes.tolist()):
        if row > first and size > room:
            yield first, row
            first, room = row, TOGETHER
        room -= size
    if len(sizes):
        yield first, len(sizes)


def _described(row: Table, picture: Pixels, mask: Pixels, work: _Work) -> Pixels:
    """Picture and mask as one flat array, and the row filled in."""
    row["height"], row["width"] = picture.shape[:2]
    row["digest"] = np.void(pixel_digest(mask))
    row["pixels"] = ((mask == 1).sum((1, 2)) if work.planes else _counts(mask))[: len(work.masks.classes)]
    values = np.concatenate([picture.reshape(-1), mask.reshape(-1)])
    row["crc"] = zlib.crc32(values.data)
    return values


def _counts(mask: Pixels) -> NDArray[np.int64]:
    """How often each value is there, 256; in parts, since each is counted as a number of 64 bits."""
    flat, counts = mask.reshape(-1), np.zeros(256, np.int64)
    for first in range(0, flat.size, 1 << 20):
        counts += np.bincount(flat[first : first + (1 << 20)], minlength=256)
    return counts


def _pair(work: _Work, place: int) -> tuple[Pixels, Pixels] | UnreadableImage:
    """A picture H W C and its mask, or what is wrong with them."""
    name = work.listing.blobs.names[place]
    try:
        blob = work.listing.blobs.read(place)
        if content_digest(blob) != work.keys[place].tobytes():
            return UnreadableImage(name, "changed while it was being read", lasting=False)
        picture = _picture(blob, work.channels)
    except UnreadableImage as error:
        return error
    try:
        mask = np.ascontiguousarray(work.masks.read(place))
    except UnreadableImage as error:
        return UnreadableImage(name, f"its mask: {error.reason}", lasting=error.lasting)
    if mask.shape[-2:] != picture.shape[:2]:
        sizes = " and its mask ".join(f"{width}×{height} px" for height, width in (picture.shape[:2], mask.shape[-2:]))
        return UnreadableImage(name, f"the picture is {sizes}")
    return picture, mask


def _picture(blob: Any, channels: int) -> Pixels:
    if isinstance(blob, bytes):
        return decode(blob, channels=channels, most_megapixels=MOST_WITH_MASK)
    array = blob[..., 0] if blob.ndim == 3 and blob.shape[2] == 1 else blob
    flat = np.asarray(flatten(Image.fromarray(np.ascontiguousarray(array)), channels=channels))
    return flat.reshape(*flat.shape[:2], channels)
