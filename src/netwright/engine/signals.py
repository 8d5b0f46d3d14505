"""Signals: the first asks a run to stop after the step it is in, the second ends the process."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from netwright.core.errors import EXIT_INTERRUPTED, EXIT_TERMINATED
from netwright.engine.run import Run

EXIT_OF = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}


@contextmanager
def stops_on_signals(run: Run) -> Generator[None]:
    """Within this context SIGINT and SIGTERM set `run.interrupted`; outside the main thread it does nothing."""

    def ask(number: int, _: FrameType | None) -> None:
        if run.interrupted:
            raise KeyboardInterrupt
        run.interrupted = EXIT_OF[signal.Signals(number)]

    try:
        previous = {number: signal.signal(number, ask) for number in EXIT_OF}
    except ValueError:  # Python allows handlers in the main thread only
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
