"""The one error type users read: what is wrong, and how to mend it."""

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_DONE, EXIT_OUR_FAULT, EXIT_USER, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143


class NetwrightError(Exception):
    """A problem a user can mend. The command line prints it without a traceback and exits with `exit_code`.

    Args:
        problem: what was given and why it cannot be used.
        fix: what to do about it, as an instruction; a computed value where one can be computed.
    """

    exit_code = EXIT_USER

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}" if self.fix else self.problem


class Interrupted(NetwrightError):  # noqa: N818 - nothing went wrong
    """The run was told to stop by a signal; everything is saved and the run can be resumed."""

    exit_code = EXIT_INTERRUPTED


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The allowed word closest to what was given, or None when nothing is close."""
    lowered = {word.lower(): word for word in allowed}
    close = get_close_matches(given.lower(), lowered, n=1, cutoff=0.5)
    return lowered[close[0]] if close else None


def listed(words: Iterable[str], most: int = 24) -> str:
    """Words as one readable line, cut after `most` of them."""
    words = list(words)
    return ", ".join(words[:most]) + (f", … ({len(words) - most} more)" if len(words) > most else "")


def unknown(kind: str, given: str, allowed: Iterable[str], *, see: str = "") -> NetwrightError:
    """The error for a name that does not exist: what was given, the nearest, what is allowed, where to look.

    Args:
        kind: what the name should have named, as "model" or "option of mixup".
        given: the name as the user wrote it.
        allowed: every name that would have done.
        see: a command that lists them.
    """
    allowed = sorted(allowed)
    close = nearest(given, allowed)
    fix = f"did you mean '{close}'? " if close else ""
    fix += f"Allowed: {listed(allowed)}." if allowed else "There is nothing to choose here."
    return NetwrightError(f"unknown {kind} '{given}'", fix + (f" See `{see}`." if see else ""))
