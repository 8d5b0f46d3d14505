"""The audit of pictures with masks: how the pairs are looked at, every check over them, and what the verdict says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.data.facts import Examined
from netwright.data.gate import _pairs_files, _pairs_shown, _pairs_values
from netwright.data.gate.mask_facts import Pairs, main_masks, mask_counts, mask_facts, mask_keys
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import Finding
from netwright.data.index import Index
from netwright.data.legend import Entry, Legend, found, read_legend
from netwright.data.listing import Listing, taken
from netwright.data.masks import MaskWanted, understood
from netwright.data.segments import Keys

Check = Callable[[Subject], list[Finding]]
# Masks that these leave out say nothing of how the others are to be read.
MISLEADING: tuple[Check, ...] = (
    _pairs_values.photos,
    _pairs_values.encodings,
    _pairs_values.unknown_values,
    _pairs_values.lossy,
    _pairs_files.not_understood,
)


def unclear(subject: Subject) -> list[Finding]:
    """Masks that nobody can make sense of together."""
    problem = subject.pairs.problem if subject.pairs else None
    return [Finding("masks_unclear", "error", problem.problem, "", problem.fix, 1)] if problem else []


def said(subject: Subject) -> list[Finding]:
    """What was noticed while the pairs were listed, but for what `unpaired` tells."""
    listing = subject.examined.listing
    kinds = {fault.kind for fault in listing.masks.faults} if listing.masks else set[str]()
    notes = [note for note in listing.notes if not any(f" × {kind}: " in note for kind in kinds)]
    return [Finding("listing", "note", note) for note in notes]


CHECKS: tuple[Check, ...] = (
    _pairs_files.unpaired,
    _pairs_files.unreadable,
    _pairs_values.photos,
    _pairs_files.sizes,
    _pairs_files.exif,
    _pairs_values.encodings,
    _pairs_values.unknown_values,
    _pairs_values.lossy,
    unclear,
    _pairs_files.not_understood,
    _pairs_shown.contradictions,
    _pairs_shown.ignored,
    _pairs_files.turned,
    _pairs_files.shifted,
    _pairs_files.blank,
    _pairs_shown.copied,
    _pairs_shown.classes,
    _pairs_shown.empty,
    _pairs_shown.full,
    _pairs_shown.shares,
    _pairs_shown.rare,
    said,
)


def known_keys(listing: Listing, wanted: MaskWanted, index: Index) -> tuple[Keys, dict[int, str], list[str]]:
    """Of masks their content hashes, N 4, and reasons why some cannot be opened; and what else decides a verdict."""
    keys, closed = mask_keys(listing, index)
    faults = [(fault.kind, *fault.names) for fault in listing.masks.faults] if listing.masks else []
    return keys, closed, [repr(closed), repr(faults), repr(wanted), repr(_legend(listing, wanted))]


def looked_at_pairs(
    examined: Examined, group: str | None, quarantine: Mapping[str, str], wanted: MaskWanted,
    keys: Keys, closed: Mapping[int, str], index: Index,
) -> Subject:  # fmt: skip
    """Pictures with masks as the checks see them.

    Masks that are encoded otherwise than most are left out before it is concluded what the masks mean: else one stray
    mask would decide what the others are taken for.
    """
    listing = examined.listing
    facts = mask_facts(listing, keys, closed, index)
    legend, problem = _legend(listing, wanted)
    pairs = Pairs(main_masks(listing).names, facts, legend, wanted.ignore, problem=problem)
    subject = Subject(examined, group, quarantine, pairs)
    misleading = {name for check in MISLEADING for finding in check(subject) for name in finding.leave_out}
    good = np.array([place for place in subject.read_pairs if subject.name(place) not in misleading], np.int64)
    if not len(good) or problem:
        return subject
    try:
        masks = understood(taken(listing, good), replace(wanted, kind="auto"))
    except NetwrightError as error:
        return replace(subject, pairs=replace(pairs, problem=error))
    shown = mask_counts(masks, keys[good], index)
    return replace(subject, pairs=replace(pairs, masks=masks, places=good.tolist(), shown=shown))


def _legend(listing: Listing, wanted: MaskWanted) -> tuple[Legend | None, NetwrightError | None]:
    """The legend as `understood` takes it, or why it cannot be read."""
    if wanted.legend is None and listing.classes and listing.masks is not None:
        colours = listing.masks.colours
        entries = [Entry(name, number, colours.get(name)) for number, name in enumerate(listing.classes)]
        return Legend(listing.name, tuple(entries)), None
    beside = found(Path(listing.root)) if listing.root else None
    path = Path(wanted.legend).expanduser() if wanted.legend is not None else beside
    try:
        return (read_legend(path) if path else None), None
    except NetwrightError as error:
        return None, error
