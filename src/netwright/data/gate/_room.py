"""Work in threads within a bound: what is large waits until there is room for it."""

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import Any

PIXELS = 1 << 24  # looked at by all threads together; a pair that has more is looked at alone


class Room:
    """Threads that share a number of pixels.

    Args:
        pixels: of what is looked at at once; something larger waits until nothing else is.
        threads: that do the work; by default one for each core.
    """

    def __init__(self, pixels: int = PIXELS, threads: int | None = None) -> None:
        self.pixels, self.taken, self.most = pixels, 0, 0
        self._changed = Condition()
        self._pool = ThreadPoolExecutor(threads or os.cpu_count())

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def map(self, find: Callable[[int], Any], places: Sequence[int], areas: Sequence[int]) -> list[Any]:
        """What `find` says of each place; areas: the pixels of each."""

        def one(place: int, area: int) -> Any:
            with self._held(area):
                return find(place)

        return [*self._pool.map(one, places, areas)]

    @contextmanager
    def _held(self, area: int) -> Generator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self.taken or self.taken + area <= self.pixels)
            self.taken += area
            self.most = max(self.most, self.taken)
        try:
            yield
        finally:
            with self._changed:
                self.taken -= area
                self._changed.notify_all()
