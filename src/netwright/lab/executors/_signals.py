"""Signals where they would be lost: libraries swallow a KeyboardInterrupt, or break, while they start."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from netwright.core.errors import Interrupted
from netwright.engine.signals import EXIT_OF, handled


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

    with handled(note):
        yield came


def interrupted(number: int, kept: str) -> Interrupted:
    """What a signal that stopped the lab is told as; `kept` says what is not lost."""
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM or SIGUSR1"
    error = Interrupted(f"stopped by {name}; {kept}", "the same command goes on from there")
    error.exit_code = EXIT_OF[signal.Signals(number)]
    return error
