"""Pictures that are there twice: on two sides, with two labels, or simply counted double."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from netwright.data.gate.duplicates import Pair
from netwright.data.gate.subject import SIDES, Places, Subject
from netwright.data.gate.verdict import Finding, Severity
from netwright.report.words import count, percent, plural, split_name

TOLERATED = 0.001  # share of the smaller side that may be on the other as well
MANY = 0.01  # share of copies on the same side that is more than an accident


@dataclass(frozen=True, eq=False)
class Leak:
    """Pictures of one side that are on another as well.

    Attributes:
        sides: the one that comes first in `SPLITS`, and the other.
        places: the pictures on each of the two that have a twin on the other.
    """

    sides: tuple[str, str]
    places: tuple[Places, Places]

    def told(self, subject: Subject, what: str) -> tuple[str, float]:
        """What the smaller side is, and how many of it, as a title; and their share."""
        sizes = [len(subject.sides[side]) for side in self.sides]
        small = int(sizes[1] <= sizes[0])
        one, other = split_name(self.sides[small]), split_name(self.sides[1 - small])
        n = len(self.places[small])
        return f"{one} pictures that {what} {other}: {count(n)} of {count(sizes[small])}", n / sizes[small]


def exact_across(subject: Subject) -> list[Finding]:
    """The same picture on two sides."""
    found: list[Finding] = []
    for sides in combinations(subject.sides, 2):
        sets = [parts for places in subject.copies if all(map(len, parts := _parts(subject, places, sides)))]
        if sets:
            found.append(_exact_leak(subject, sides, sets))
    return found


def near_across(subject: Subject) -> list[Finding]:
    """The same picture on two sides but for a turn, another size or another compression."""
    found: list[Finding] = []
    for sides in combinations(subject.sides, 2):
        pairs = [
            pair for pair in subject.near.pairs if {subject.side(pair.first), subject.side(pair.second)} == {*sides}
        ]
        if pairs:
            found.append(_near_leak(subject, sides, pairs))
    return found


def contradictions(subject: Subject) -> list[Finding]:
    """The same picture with different labels."""
    sets = [places for places in subject.copies if subject.disagree(places)] if subject.classes else []
    if not sets:
        return []
    title = f"different labels on the same picture: {plural(len(sets), 'picture')}"
    fix = "keep the copy with the right label; `--fix` leaves out all, since nothing tells which one that is"
    leave_out = {subject.name(place): _labels(subject, places) for places in sets for place in places.tolist()}
    return [Finding("contradiction", "error", title, "", fix, len(sets), subject.together(sets), leave_out)]


def near_contradictions(subject: Subject) -> list[Finding]:
    """Pictures that look alike and have different labels."""
    if not subject.classes:
        return []
    pairs = [pair for pair in subject.near.pairs if subject.disagree(np.array([pair.first, pair.second]))]
    if not pairs:
        return []
    title = f"different labels on pictures that look alike: {plural(len(pairs), 'pair')}"
    fix = "look which label is right"
    return [Finding("near_contradiction", "warning", title, "", fix, len(pairs), subject.beside(pairs))]


def copies(subject: Subject) -> list[Finding]:
    """Pictures that are on one side more than once."""
    sides = subject.examined.sides
    same = [places[sides[places] == side] for places in subject.copies for side in np.unique(sides[places])]
    sets = [places for places in same if len(places) > 1]
    if not sets:
        return []
    extra = sum(len(places) - 1 for places in sets)
    title = f"copies of another on the same side: {plural(extra, 'picture')}"
    severity: Severity = "warning" if extra > MANY * subject.readable.sum() else "note"
    fix = "remove all but one of each"
    return [Finding("copies", severity, title, "each counts double", fix, len(sets), subject.together(sets))]


def near_copies(subject: Subject) -> list[Finding]:
    """Pictures that look alike on one side, and how far the search for them went."""
    pairs = [pair for pair in subject.near.pairs if subject.side(pair.first) == subject.side(pair.second)]
    found: list[Finding] = []
    if pairs:
        title = f"alike on the same side: {plural(len(pairs), 'pair')}"
        found.append(Finding("near_copies", "note", title, "", "", len(pairs), subject.beside(pairs)))
    if subject.near.crowded:
        title = f"too many alike to compare all with all: {plural(subject.near.crowded, 'picture')}"
        found.append(Finding("crowded", "note", title, "some near duplicates among them may not have been found"))
    return found


def _near_leak(subject: Subject, sides: tuple[str, str], pairs: Sequence[Pair]) -> Finding:
    places = np.unique([(pair.first, pair.second) for pair in pairs])
    given = subject.examined.sides[places]
    leak = Leak(sides, (places[given == SIDES.index(sides[0])], places[given == SIDES.index(sides[1])]))
    detail = "the same picture turned, resized or compressed anew, or one that was taken right after it"
    fix = "look at them side by side; what is one scene belongs on one side"
    title, _ = leak.told(subject, "look like one in")
    return Finding("near_across", "warning", title, detail, fix, len(pairs), subject.beside(pairs))


def _parts(subject: Subject, places: Places, sides: tuple[str, str]) -> tuple[Places, Places]:
    """The pictures of a set that are on each of two sides."""
    given = subject.examined.sides[places]
    return places[given == SIDES.index(sides[0])], places[given == SIDES.index(sides[1])]


def _exact_leak(subject: Subject, sides: tuple[str, str], sets: Sequence[tuple[Places, Places]]) -> Finding:
    leak = Leak(sides, (np.concatenate([own for own, _ in sets]), np.concatenate([others for _, others in sets])))
    title, share = leak.told(subject, "are also in")
    detail = f"{percent(share)} of them: what was seen in training is remembered, not recognised"
    fix = f"remove them from one side; `--fix` leaves out those in {split_name(sides[0])}"
    leave_out = {
        subject.name(place): f"the same picture as {subject.name(int(others[0]))} ({sides[1]})"
        for own, others in sets
        for place in own.tolist()
    }
    examples = subject.together([own[0], others[0]] for own, others in sets)
    severity: Severity = "error" if share > TOLERATED else "warning"
    return Finding("exact_across", severity, title, detail, fix, len(sets), examples, leave_out)


def _labels(subject: Subject, places: Places) -> str:
    labels = dict.fromkeys(subject.label(place) for place in places.tolist())
    return f"the same picture is labelled {' and '.join(labels)}"
