"""Signals where they would be lost: libraries swallow a KeyboardInterrupt, or break, while they start."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from netwright.core.errors import Interrupted
from netwright.engine.signals import EXIT_OF


@contextmanager
def held() -> Generator[list[int]]:
    """Signals that come within are noted in the list, and nothing else; a second Ctrl-C is a KeyboardInterrupt.

    Outside the main thread nothing is changed.
    """
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        if number == signal.SIGINT and len(came) > 1:
            raise KeyboardInterrupt

    mine = [number for number in EXIT_OF if signal.getsignal(number) is not None]
    try:
        previous = {number: signal.signal(number, note) for number in mine}
    except ValueError:  # Python allows handlers in the main thread only
        yield came
        return
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def interrupted(number: int, kept: str) -> Interrupted:
    """What a signal that stopped the lab is told as; `kept` says what is not lost."""
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM or SIGUSR1"
    error = Interrupted(f"stopped by {name}; {kept}", "the same command goes on from there")
    error.exit_code = EXIT_OF[signal.Signals(number)]
    return error
