"""Groups of pictures that belong together, as those of one patient: found in their names by a regular expression."""

import re
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.data.assign import Digests


def pattern_of(given: str) -> re.Pattern[str]:
    """The expression that a user gave; its first bracket finds the group's name.

    Raises:
        NetwrightError: it is no expression, or has no bracket.
    """
    try:
        pattern = re.compile(given)
    except re.error as error:
        raise NetwrightError(f"group '{given}' is no regular expression: {error}", "as '(patient\\d+)'") from None
    if not pattern.groups:
        raise NetwrightError(f"group '{given}' names no group", f"put round brackets where the name is: '({given})'")
    return pattern


def group_of(name: str, pattern: re.Pattern[str]) -> str:
    """The group in a picture's name; empty where there is none."""
    found = pattern.search(name)
    return found[1] or "" if found else ""


def placing(names: Sequence[str], digests: Digests, group: str) -> Digests:
    """What decides on the side of each picture: its group's name, or its content where it is in none. N 4.

    Raises:
        NetwrightError: the expression cannot be used, or finds nothing in any name.
    """
    pattern, placed, found = pattern_of(group), digests.copy(), False
    for place, name in enumerate(names):
        if own := group_of(name, pattern):
            placed[place] = np.frombuffer(sha256(own.encode("utf-8", "surrogatepass")).digest(), np.uint64)
            found = True
    if not found and len(names):
        raise NetwrightError(f"group '{group}' matches no name", f"it is searched in names like '{names[0]}'")
    return placed
