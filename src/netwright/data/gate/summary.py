"""The verdict in a few lines, for a run's record and for whoever starts one."""

import shlex

from netwright.data.gate.verdict import Verdict

MOST_NOTES = 5


def notes(verdict: Verdict, source: str) -> list[str]:
    """Errors and warnings as one line each, the worst first, and the command that tells more; none for clean data.

    Args:
        verdict: on the data.
        source: the data, as whoever starts the run named them.
    """
    told = [*verdict.of("error"), *verdict.of("warning")]
    lines = [f"data check: {each.title}" for each in told[:MOST_NOTES]]
    if not told:
        return []
    rest = len(told) - len(lines)
    more = f"{rest} more findings, and what to do" if rest else "what to do"
    return [*lines, f"data check: {more}: netwright check {shlex.quote(source)}"]
