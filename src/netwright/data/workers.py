"""Processes that read a user's dataset: they end with the process they work for, and the death of one is explained."""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar, cast

import torch
from torch.utils.data import get_worker_info

from netwright.core.errors import NetwrightError

LOOK_SECONDS = 1.0
# What torch says of a worker that is gone; of an error in the dataset it says "Caught … in DataLoader worker process".
GONE = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
Item = TypeVar("Item")


class Workers:
    """Some worker processes and what each of them is reading, in memory that they share."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.process = torch.zeros(count, dtype=torch.long).share_memory_()
        self.sample = torch.full((count,), -1).share_memory_()

    def begin(self, worker: int) -> None:
        """First thing in a worker: leave Ctrl-C to the main process, and make sure to end when that has ended."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.process[worker] = os.getpid()
        threading.Thread(target=_end_after_parent, daemon=True).start()

    def batches(self, loader: Iterable[Item]) -> Iterator[Item]:
        """What torch's DataLoader gives.

        Raises:
            NetwrightError: a worker is gone; names the sample that it was reading.
        """
        handler = signal.getsignal(signal.SIGCHLD) if sys.platform != "win32" else None
        try:
            made = iter(loader)
            _handle_deaths(signal.SIG_DFL if _is_torchs(handler) else handler)
            yield from made
        except RuntimeError as error:
            gone = GONE.search(str(error))
            if gone is None:
                raise
            raise self._death({int(process) for process in gone[1].split(",")}) from None
        finally:
            _handle_deaths(handler)

    def _death(self, gone: set[int]) -> NetwrightError:
        reading = zip(self.process.tolist(), self.sample.tolist(), strict=True)
        samples = [sample for process, sample in reading if process in gone and sample >= 0]
        where = f" while it read sample {samples[0]}" if samples else ""
        return NetwrightError(
            f"a worker process that reads your dataset died{where}",
            f"it crashed, or was killed, most often for want of memory: take fewer workers than {self.count}; with "
            "none, what the dataset does is done in the main process and shows its error. The run can be resumed",
        )


class Noted:
    """A dataset whose workers note which sample they read."""

    def __init__(self, dataset: Any, workers: Workers) -> None:
        self.dataset = dataset
        self.workers = workers

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        self.workers.sample[cast(Any, get_worker_info()).id] = position
        return self.dataset[position]


def _end_after_parent() -> None:
    """Torch's workers look for their parent too, but not while their last batch waits for somebody to fetch it."""
    parent = cast(Any, multiprocessing.parent_process())
    while os.getppid() == parent.pid:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def _is_torchs(handler: Any) -> bool:
    return getattr(handler, "__module__", "").startswith("torch.utils.data")


def _handle_deaths(handler: Any) -> None:
    """Put a handler of SIGCHLD in the place of torch's.

    Torch's raises wherever the main thread happens to be, amid an update too. When the dead worker's batch is asked
    for, torch says the same.
    """
    if sys.platform != "win32":
        with suppress(ValueError, TypeError):  # another thread than the main one; a handler from outside Python
            signal.signal(signal.SIGCHLD, handler)
