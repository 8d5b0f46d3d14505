"""Checks of single files: what cannot be read, what is odd, what hardly shows anything."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from netwright.core.errors import listed
from netwright.data.facts import Odd
from netwright.data.gate.duplicates import FLAT
from netwright.data.gate.policy import ODDITIES, OF_FORMAT, Oddity, Refusal, misnamed, refusal
from netwright.data.gate.subject import Places, Subject
from netwright.data.gate.verdict import Finding, Severity
from netwright.report.words import plural

SMALLEST, OUTLYING = 8, 8  # a short side in pixels, and its share of the usual one, below which a picture is tiny
LONGEST = 4  # times as long as wide


def refused(subject: Subject) -> list[Finding]:
    """Files that cannot be used, by what is wrong with them."""
    kinds: defaultdict[Refusal, list[int]] = defaultdict(list)
    for place, reason in sorted(subject.examined.unreadable.items()):
        if subject.name(place) not in subject.quarantine and place not in subject.mask_at_fault:
            kinds[refusal(reason)].append(place)
    return [_refused(subject, kind, kinds[kind]) for kind in sorted(kinds, key=lambda each: -len(kinds[each]))]


def left_out(subject: Subject) -> list[Finding]:
    """Pictures that the user left out, and names among them that the data do not have."""
    if not subject.quarantine:
        return []
    absent = sorted(set(subject.quarantine) - set(subject.names))
    found = [
        Finding("left_out", "note", f"left out by you: {plural(len(subject.quarantine) - len(absent), 'picture')}")
    ]
    if absent:
        title, fix = (
            f"left out by you, but not there: {plural(len(absent), 'name')}",
            "see that the list is for these data",
        )
        found.append(Finding("unknown_names", "warning", title, listed(absent, 10), fix))
    return found


def odd(subject: Subject) -> list[Finding]:
    """Files that are used in a way one may want to know."""
    found = ((each, _having(subject, each.odd)) for each in ODDITIES if each.odd != Odd.DEEP)
    return [_odd(subject, each, places, each.severity) for each, places in found if len(places)]


def deep(subject: Subject) -> list[Finding]:
    """Pictures of more than 8 bits, which may be brighter or darker than others of 8."""
    oddity = next(each for each in ODDITIES if each.odd == Odd.DEEP)
    places = _having(subject, Odd.DEEP)
    if not len(places):
        return []
    if len(places) == subject.readable.sum():
        return [_odd(subject, oddity, places, "note")]
    return [
        _odd(subject, oddity, places, "warning", "the others have 8: see that black and white mean the same in both")
    ]


def misnamed_files(subject: Subject) -> list[Finding]:
    """Files whose extension is that of another format."""
    formats = subject.facts["format"]
    places = [
        place
        for format_ in OF_FORMAT
        for place in np.flatnonzero(formats == format_.encode()).tolist()
        if misnamed(subject.name(place), format_)
    ]
    words = [f"is {formats[place].decode()}" for place in places]
    return _found(subject, "misnamed", "note", "extension of another format", places, words, "read as what they are")


def tiny(subject: Subject) -> list[Finding]:
    """Pictures with too few pixels to show anything."""
    if not subject.readable.any():
        return []
    short = np.minimum(subject.facts["width"], subject.facts["height"])
    usual = float(np.median(short[subject.readable]))
    limit = min(usual, max(SMALLEST, usual / OUTLYING))
    places = np.flatnonzero(subject.readable & (short < limit))
    detail = f"half of all have at least {usual:.0f} px on their short side"
    return _sized(subject, "tiny", "tiny", places, detail)


def long(subject: Subject) -> list[Finding]:
    """Pictures of which a square crop shows little."""
    sides = subject.facts["width"].astype(float), subject.facts["height"].astype(float)
    places = np.flatnonzero(subject.readable & (np.maximum(*sides) > LONGEST * np.minimum(*sides)))
    detail = f"more than {LONGEST} times as long as wide: a square crop shows less than a quarter"
    return _sized(subject, "long", "very long or very wide", places, detail)


def blank(subject: Subject) -> list[Finding]:
    """Pictures that are blank, as far as their thumbnails tell."""
    places = np.flatnonzero(subject.readable & (subject.facts["contrast"] < FLAT / 255)).tolist()
    detail = "one flat tone; no near duplicates were looked for among them"
    return _found(subject, "blank", "warning", "next to no contrast", places, [], detail, "remove what shows nothing")


def _refused(subject: Subject, kind: Refusal, places: list[int]) -> Finding:
    reasons = [subject.examined.unreadable[place] for place in places]
    title = f"{kind.what}: {plural(len(places), 'file')}"
    leave_out = {subject.name(place): reason for place, reason in zip(places, reasons, strict=True)}
    examples = subject.singly(places, reasons)
    return Finding(kind.kind, "error", title, "", kind.fix, len(places), examples, leave_out)


def _having(subject: Subject, flag: Odd) -> Places:
    return np.flatnonzero(subject.readable & (subject.facts["odd"] & int(flag) > 0))


def _odd(subject: Subject, oddity: Oddity, places: Places, severity: Severity, more: str = "") -> Finding:
    title, detail = f"{oddity.what}: {plural(len(places), 'picture')}", "; ".join(filter(None, (oddity.use, more)))
    examples = subject.singly(places.tolist())
    return Finding(oddity.kind, severity, title, detail, oddity.fix, len(places), examples)


def _sized(subject: Subject, kind: str, what: str, places: Places, detail: str) -> list[Finding]:
    words = [f"{fact['width']}×{fact['height']} px" for fact in subject.facts[places]]
    return _found(subject, kind, "warning", what, places.tolist(), words, detail, "remove what shows nothing")


def _found(
    subject: Subject,
    kind: str,
    severity: Severity,
    what: str,
    places: list[int],
    words: Iterable[str],
    detail: str,
    fix: str = "",
) -> list[Finding]:
    if not places:
        return []
    title, examples = f"{what}: {plural(len(places), 'picture')}", subject.singly(places, words)
    return [Finding(kind, severity, title, detail, fix, len(places), examples)]
