"""Signals: the first asks a run to stop after the step it is in, the second ends the process."""

import os
import signal
from _thread import start_new_thread
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Event
from types import FrameType

from netwright.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from netwright.engine.loop import interruption
from netwright.engine.run import Run

PATIENCE = 30.0  # seconds for the step that a signal comes in and for saving; schedulers kill soon after they ask
STDERR = 2  # a handler may come amid a write to sys.stderr, and then must not use it
EXIT_OF = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}
if hasattr(signal, "SIGUSR1"):  # how SLURM says that time is nearly up; Windows has none
    EXIT_OF[signal.SIGUSR1] = EXIT_TERMINATED


@contextmanager
def stops_on_signals(run: Run) -> Generator[None]:
    """Within this context signals stop the run; outside the main thread it does nothing.

    The first sets `run.interrupted`, and ends the process if the run has not come to its end within `PATIENCE`. The
    second ends the process at once; if it is SIGINT, by a KeyboardInterrupt, since the process may be a notebook's.
    """
    process, over = os.getpid(), Event()

    def ask(number: int, _: FrameType | None) -> None:
        code = EXIT_OF[signal.Signals(number)]
        if os.getpid() != process:  # a worker that was forked: it ends with its parent, or alone if it alone is meant
            if number != signal.SIGINT:
                os._exit(code)
        elif not run.interrupted:
            run.interrupted = code
            if run.finished:  # evaluating, with everything saved
                raise interruption(run)
            start_new_thread(_end_after, (PATIENCE, over, code))
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            _end(code, "a second signal")

    try:
        previous = {number: signal.signal(number, ask) for number in EXIT_OF}
    except ValueError:  # Python allows handlers in the main thread only
        yield
        return
    try:
        yield
    finally:
        over.set()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end_after(seconds: float, over: Event, code: int) -> None:
    if not over.wait(seconds):
        _end(code, f"the step and its checkpoint took longer than {seconds:g} seconds")


def _end(code: int, why: str) -> None:
    """Leave without another word to anybody; every file on disk is whole at any moment."""
    with suppress(OSError):
        os.write(STDERR, f"stopped at once: {why}; the last checkpoint remains\n".encode())
    os._exit(code)
