"""What is known of files without reading them: content hashes by size and time, and which contents are no pictures."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from netwright.data.decode import UnreadableImage
from netwright.data.facts import content_digest
from netwright.data.listing import Listing, Stamp
from netwright.data.segments import Keys

CHUNK = 4096
DECODER = PIL.__version__.encode()  # another one may read what this one cannot
_JUST_NOW = 2_000_000_000  # nanoseconds; coarser than any file system's clock
_TABLES = """
CREATE TABLE IF NOT EXISTS files (root BLOB, name BLOB, size INT, time INT, key BLOB, PRIMARY KEY (root, name))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreadable (key BLOB PRIMARY KEY, reason TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


class Index:
    """A small database in the cache folder. One that cannot be read or written only costs time.

    Args:
        folder: of the cache; None keeps everything in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.database = _opened(folder)

    def keys(self, listing: Listing) -> tuple[Keys, dict[int, str]]:
        """Content hashes, N 4, and for pictures that cannot be opened their place and the reason (their hash is 0).

        Of files whose size and time did not change since the last time, the content is not read.
        """
        total = len(listing)
        keys, closed = np.zeros((total, 4), np.uint64), dict[int, str]()
        if listing.blobs.in_memory:
            for place, found in enumerate(map(_digest(listing), range(total))):
                if isinstance(found, str):
                    closed[place] = found
                else:
                    keys[place] = np.frombuffer(found, np.uint64)
            return keys, closed
        root = os.fsencode(os.path.realpath(listing.root))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, total, CHUNK):
                places = range(start, min(start + CHUNK, total))
                for place, found in self._chunk(listing, root, places, pool):
                    if isinstance(found, str):
                        closed[place] = found
                    else:
                        keys[place] = np.frombuffer(found, np.uint64)
        return keys, closed

    def unreadable(self, keys: Keys) -> dict[int, str]:
        """Of contents that are known to be no pictures, the place and the reason."""
        with suppress(sqlite3.Error):
            known = dict(self.database.execute("SELECT key, reason FROM unreadable"))
            own = ((place, row.tobytes() + DECODER) for place, row in enumerate(keys)) if known else ()
            return {place: known[key] for place, key in own if key in known}
        return {}

    def note_unreadable(self, reasons: Iterable[tuple[bytes, str]]) -> None:
        """Contents that are no pictures."""
        rows = [(key + DECODER, reason) for key, reason in reasons]
        self._write("INSERT OR REPLACE INTO unreadable VALUES (?, ?)", rows)

    def finding(self, key: str, find: Callable[[], Any]) -> Any:
        """Something found out once about contents that `key` stands for; it must be such that JSON can hold it."""
        with suppress(sqlite3.Error, ValueError):
            for (value,) in self.database.execute("SELECT value FROM findings WHERE key = ?", (key,)):
                return json.loads(value)
        value = find()
        self._write("INSERT OR REPLACE INTO findings VALUES (?, ?)", [(key, json.dumps(value))])
        return json.loads(json.dumps(value))

    def close(self) -> None:
        """Give the database back."""
        self.database.close()

    def _chunk(
        self, listing: Listing, root: bytes, places: range, pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, bytes | str]]:
        known = self._known(listing, root, places)
        stamps = dict(zip(places, pool.map(_stamp(listing), places), strict=True))
        unknown = [place for place in places if not _same(known.get(place), stamps[place])]
        read = dict(zip(unknown, pool.map(_digest(listing), unknown), strict=True))
        for place in places:
            yield place, read[place] if place in read else known[place][2]
        now = time.time_ns()
        fresh = [
            (root, os.fsencode(listing.blobs.names[place]), *stamp, digest)
            for place, digest in read.items()
            # A file written this very moment may be written again without its time changing.
            if isinstance(digest, bytes) and isinstance(stamp := stamps[place], tuple) and now - stamp[1] > _JUST_NOW
        ]
        self._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", fresh)

    def _known(self, listing: Listing, root: bytes, places: range) -> dict[int, tuple[int, int, bytes]]:
        """By place: size, time and key as they were."""
        by_name = {os.fsencode(listing.blobs.names[place]): place for place in places}
        marks = ",".join("?" * len(by_name))
        found: dict[int, tuple[int, int, bytes]] = {}
        with suppress(sqlite3.Error):
            asked = f"SELECT name, size, time, key FROM files WHERE root = ? AND name IN ({marks})"
            for name, size, moment, key in self.database.execute(asked, (root, *by_name)):
                found[by_name[name]] = size, moment, key
        return found

    def _write(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        rows = list(rows)
        if rows:
            with suppress(sqlite3.Error), self.database:
                self.database.executemany(statement, rows)


def _opened(folder: Path | None) -> sqlite3.Connection:
    if folder is not None:
        path = folder / "index.sqlite"
        for _ in range(2):
            try:
                return _connected(str(path))
            except sqlite3.OperationalError:  # another process holds it for long, or the disk is full
                break
            except sqlite3.DatabaseError:
                with suppress(OSError):
                    path.unlink()  # damaged: what it knew is found out again
    return _connected(":memory:")


def _connected(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=30)
    try:
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(_TABLES)
    except sqlite3.Error:
        database.close()
        raise
    return database


def _stamp(listing: Listing) -> Callable[[int], Stamp | str | None]:
    def stamp(place: int) -> Stamp | str | None:
        try:
            return listing.blobs.stamp(place)
        except OSError as error:
            return f"cannot be opened ({error.strerror})"

    return stamp


def _digest(listing: Listing) -> Callable[[int], bytes | str]:
    def digest(place: int) -> bytes | str:
        try:
            return content_digest(listing.blobs.read(place))
        except UnreadableImage as error:
            return error.reason

    return digest


def _same(known: tuple[int, int, bytes] | None, stamp: Stamp | str | None) -> bool:
    return known is not None and known[:2] == stamp
