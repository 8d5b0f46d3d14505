"""Signals: the first asks a run to stop after the step it is in, the second ends the process."""

import os
import signal
from _thread import interrupt_main, start_new_thread
from collections.abc import Callable, Generator
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


class _EvaluationStopped(BaseException):
    """Breaks off what follows training; no code there takes it for a failure of its own, as it might an `Exception`."""


@contextmanager
def stops_on_signals(run: Run) -> Generator[None]:
    """Within this context signals stop the run; outside the main thread it does nothing.

    The first sets `run.interrupted`; if the run has not come to its end within `PATIENCE`, that is taken for a second.
    The second ends the process at once; if it is SIGINT, by a KeyboardInterrupt, since the process may be a notebook's.

    Raises:
        Interrupted: a signal came when training was over.
    """
    process, over = os.getpid(), Event()

    def ask(number: int, _: FrameType | None) -> None:
        code = EXIT_OF[signal.Signals(number)]
        if os.getpid() != process:  # a worker that was forked: it ends with its parent, or alone if it alone is meant
            if number != signal.SIGINT:
                os._exit(code)
        elif not run.interrupted:
            run.interrupted = code
            start_new_thread(_end_after, (PATIENCE, over, number))
            if run.finished:  # evaluating, with everything saved
                raise _EvaluationStopped
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            _end(code, "a second signal")

    with handled(ask):
        try:
            yield
        except _EvaluationStopped:
            raise interruption(run) from None
        finally:
            over.set()


@contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    """Within this context signals that ask for an end go to a handler; outside the main thread nothing is changed."""
    # None is a handler that a program around Python installed: it could not be put back.
    mine = [number for number in EXIT_OF if signal.getsignal(number) is not None]
    try:
        previous = {number: signal.signal(number, handler) for number in mine}
    except ValueError:  # Python allows handlers in the main thread only
        yield
        return
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def _end_after(seconds: float, over: Event, number: int) -> None:
    if over.wait(seconds):
        return
    why = f"to stop in order took longer than {seconds:g} seconds"
    if number == signal.SIGINT:
        _say(why)
        interrupt_main()
    else:
        _end(EXIT_OF[signal.Signals(number)], why)


def _end(code: int, why: str) -> None:
    """Leave without another word to anybody; every file on disk is whole at any moment."""
    _say(why)
    os._exit(code)


def _say(why: str) -> None:
    with suppress(OSError):
        os.write(STDERR, f"stopped at once: {why}; the last checkpoint remains\n".encode())
