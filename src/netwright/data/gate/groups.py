"""Groups on two sides: the slices of one patient, the frames of one video. Whoever has seen one knows the others."""

import re
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.folder import SIDES
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import Finding
from netwright.data.group import group_of, pattern_of
from netwright.report.words import count, plural, split_name

# Of `patient12_slice3.png` the part before the last separator: something with a number, that is then numbered again.
STEM = r"(?:^|/)([^/]*\d[^/]*)[_\-. ][^/_\-. ]*\d[^/_\-. ]*\.\w+$"
FEWEST, SHARED, LARGEST, PER_CLASS = 5, 0.5, 0.1, 2


def groups(subject: Subject) -> list[Finding]:
    """Groups that the user named and that are on two sides."""
    if subject.group is None or not subject.readable.any():
        return []
    members = _grouped(subject, pattern_of(subject.group))
    _refuse_vacuous(subject, members)
    found = [_group_note(subject, members)]
    torn = _torn(subject, members)
    if torn:
        title = f"groups on more than one side: {count(len(torn))} of {count(len(members))}"
        detail = _sides_of(subject, torn)
        fix = "put each group on one side: move its pictures to the folder of the side where most of them are"
        examples = subject.together(_one_a_side(subject, places) for places in torn.values())
        found.append(Finding("group_leak", "error", title, detail, fix, len(torn), examples))
    return found


def shared_stems(subject: Subject) -> list[Finding]:
    """Names that look as if pictures belonged together, and are not on one side."""
    if subject.group is not None or len(subject.sides) < 2:
        return []
    members = {name: places for name, places in _grouped(subject, re.compile(STEM)).items() if len(places) > 1}
    if not _like_groups(subject, members):
        return []
    torn = _torn(subject, members)
    if not torn:
        return []
    title = f"names that begin alike on more than one side: {plural(len(torn), 'group')}"
    detail = f"as '{next(iter(torn))}'; {_sides_of(subject, torn)}"
    fix = f"if they show one patient, scene or video: `--group '{STEM}'`, and put each group on one side"
    examples = subject.together(_one_a_side(subject, places) for places in torn.values())
    return [Finding("shared_stems", "warning", title, detail, fix, len(torn), examples)]


def _grouped(subject: Subject, pattern: re.Pattern[str]) -> dict[str, list[int]]:
    """The places of each group's pictures; pictures whose name does not match are in none."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for place in np.flatnonzero(subject.readable).tolist():
        if group := group_of(subject.name(place), pattern):
            members[group].append(place)
    return dict(members)


def _refuse_vacuous(subject: Subject, members: dict[str, list[int]]) -> None:
    """An expression that cannot find anything must not pass for a check."""
    if not members:
        name = subject.name(int(np.flatnonzero(subject.readable)[0]))
        problem = f"group '{subject.group}' matches no name"
        raise NetwrightError(problem, f"it is searched in names like '{name}'")
    sided = next((name for name in members if "/" in name and name.split("/")[0].lower() in SIDES), None)
    if sided:
        problem = f"group '{subject.group}' takes the side into the group's name: '{sided}'"
        raise NetwrightError(problem, "bracket only what names the group, as '/(patient\\d+)_[^/]*$'")


def _group_note(subject: Subject, members: dict[str, list[int]]) -> Finding:
    inside = sum(map(len, members.values()))
    outside = int(subject.readable.sum()) - inside
    title = f"{plural(len(members), 'group')} of {inside / len(members):.1f} pictures on average"
    return Finding("groups", "note", title, f"{plural(outside, 'name')} did not match" if outside else "")


def _torn(subject: Subject, members: dict[str, list[int]]) -> dict[str, list[int]]:
    """The groups on more than one side, the largest first."""
    sides = subject.examined.sides
    torn = {name: places for name, places in members.items() if len(set(sides[places].tolist())) > 1}
    return dict(sorted(torn.items(), key=lambda each: (-len(each[1]), each[0])))


def _one_a_side(subject: Subject, places: list[int]) -> list[int]:
    """The first picture of a group on each side."""
    sides: NDArray[np.int8] = subject.examined.sides[places]
    return [places[first] for first in np.unique(sides, return_index=True)[1]]


def _sides_of(subject: Subject, torn: dict[str, list[int]]) -> str:
    """How many pictures of each side have companions on another."""
    places = np.concatenate([np.asarray(each) for each in torn.values()])
    numbers = {side: int(np.isin(places, own).sum()) for side, own in subject.sides.items()}
    return ", ".join(f"{count(n)} pictures of {split_name(side)}" for side, n in numbers.items() if n) + " are in them"


def _like_groups(subject: Subject, members: dict[str, list[int]]) -> bool:
    """Whether names that begin alike are likely to mean one thing: many small groups, more than there are classes."""
    if len(members) < max(FEWEST, PER_CLASS * len(subject.classes)):
        return False
    sizes = list(map(len, members.values()))
    readable = int(subject.readable.sum())
    return sum(sizes) >= SHARED * readable and max(sizes) <= max(LARGEST * readable, FEWEST)
