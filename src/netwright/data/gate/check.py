"""The data gate: every check over one data set, and its verdict, which is kept until something changes."""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256

import numpy as np

from netwright.data.cache import opened_index
from netwright.data.facts import Examined
from netwright.data.gate import classes, files, groups, leaks, pairs, shift
from netwright.data.gate._pairs_shown import pictures_by_class, summary
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import SEVERITIES, Finding, Verdict
from netwright.data.index import Index
from netwright.data.masks import MaskWanted
from netwright.records.plain import json_text, plain

VERSION = 4  # raise it when the same data would get another verdict
CHECKS: tuple[Callable[[Subject], list[Finding]], ...] = (
    files.refused,
    leaks.exact_across,
    leaks.contradictions,
    groups.groups,
    classes.too_few_classes,
    classes.unknown_to_training,
    classes.empty,
    leaks.near_across,
    leaks.near_contradictions,
    groups.shared_stems,
    shift.shifts,
    shift.class_shares,
    classes.uneven,
    classes.few,
    classes.twins,
    leaks.copies,
    leaks.near_copies,
    files.tiny,
    files.long,
    files.blank,
    files.deep,
    files.odd,
    files.misnamed_files,
    files.left_out,
    classes.unlabelled,
    classes.said,
)
NOT_OF_PAIRS = (
    leaks.contradictions,
    classes.too_few_classes,
    classes.unknown_to_training,
    classes.empty,
    leaks.near_contradictions,
    shift.class_shares,
    classes.uneven,
    classes.few,
    classes.twins,
    classes.unlabelled,
    classes.said,
    files.blank,
)  # about labels, which pictures with masks do not have; or told better there


def check(
    examined: Examined,
    group: str | None = None,
    *,
    quarantine: Mapping[str, str] | None = None,
    masks: MaskWanted | None = None,
    cached: bool = True,
) -> Verdict:
    """Every check's findings, the worst first.

    Args:
        examined: the pictures, looked at once.
        group: a regular expression whose first group names what a picture belongs to, as a patient or a video.
        quarantine: the names that were left out of `examined`, each with the reason.
        masks: how masks are to be read, for pictures that have some.
        cached: whether a verdict on just these data is taken from the cache, and kept there.

    Raises:
        NetwrightError: `group` is no regular expression, or cannot find anything.
    """
    if cached:
        with opened_index() as index:
            return _checked(examined, group, quarantine or {}, masks or MaskWanted(), index)
    index = Index(None)
    try:
        return _checked(examined, group, quarantine or {}, masks or MaskWanted(), index)
    finally:
        index.close()


def _checked(
    examined: Examined, group: str | None, quarantine: Mapping[str, str], wanted: MaskWanted, index: Index
) -> Verdict:
    subject, of_masks = Subject(examined, group, quarantine), b""
    look: Callable[[], Subject] = partial(Subject, examined, group, quarantine)
    if examined.listing.masks is not None:
        known = pairs.known(examined.listing, wanted, index)
        of_masks = pairs.salt_of(examined.listing, wanted, known)
        look = partial(pairs.looked_at_pairs, examined, group, quarantine, wanted, known, index)
    kept = index.finding(f"verdict-{_key(subject, of_masks)}", lambda: plain(_judged(look()).to_json()))
    return Verdict.from_json(kept)


def _judged(subject: Subject) -> Verdict:
    checks = (
        CHECKS if subject.pairs is None else (*pairs.CHECKS, *(each for each in CHECKS if each not in NOT_OF_PAIRS))
    )
    findings = [finding for made in checks for finding in made(subject)]
    listing = subject.examined.listing
    counts = {side: dict(zip(subject.classes, each.tolist(), strict=True)) for side, each in subject.per_class.items()}
    return Verdict(
        name=listing.name,
        root=listing.root,
        pictures=len(listing),
        splits={side or "all": len(places) for side, places in subject.sides.items()},
        per_class=counts if subject.pairs is None else pictures_by_class(subject),
        findings=tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity))),
        masks=summary(subject),
    )


def _key(subject: Subject, of_masks: bytes) -> str:
    """A hash of all that the checks look at."""
    examined, listing = subject.examined, subject.examined.listing
    data = [listing.name, listing.root, listing.classes, listing.notes, examined.unreadable]
    said = [VERSION, subject.group, subject.quarantine, *data]
    total = sha256(json_text(said).encode("utf-8", "surrogatepass") + of_masks)
    for array in (examined.facts, examined.sides, listing.labels):
        total.update(np.ascontiguousarray(array).view(np.uint8).data)
    total.update("\0".join(listing.blobs.names).encode("utf-8", "surrogatepass"))
    return total.hexdigest()[:32]
