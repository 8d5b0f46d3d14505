"""The audit of pictures with masks: how the pairs are looked at, every check over them, and what the verdict says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.data.facts import Examined
from netwright.data.gate import _pairs_files, _pairs_shown, _pairs_things, _pairs_values
from netwright.data.gate._pairs_things import looked_at_things
from netwright.data.gate.mask_facts import Pairs, main_masks, mask_counts, mask_facts, mask_keys
from netwright.data.gate.subject import Places, Subject
from netwright.data.gate.verdict import Finding
from netwright.data.index import Index
from netwright.data.legend import Entry, Legend, found, read_legend
from netwright.data.listing import Blobs, Listing, taken
from netwright.data.masks import MaskWanted, understood
from netwright.data.segments import Keys
from netwright.records.plain import json_text
from netwright.report.words import plural, split_name

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


def too_few(subject: Subject) -> list[Finding]:
    """Too few pairs to train and to validate on; data without a side for training is refused elsewhere."""
    counts = {side: len(places) for side, places in subject.sides.items()}
    divided = "" not in counts and (counts or subject.names) and subject.examined.listing.masks is not None
    for side in ("train", "val") if divided else ():
        mine = subject.examined.listing.having("train") or not subject.examined.listing.having("val")
        if side not in counts and mine:
            title = (
                f"no pair of picture and mask is left for {split_name(side)}, of {plural(len(subject.names), 'pair')}"
            )
            fix = f"give more pairs, or a {side} split; three pairs are the least"
            return [Finding("too_few_pairs", "error", title, "training refuses these data", fix, 1)]
    return []


CHECKS: tuple[Check, ...] = (
    too_few,
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
    _pairs_things.instances,
    said,
)


@dataclass(frozen=True, eq=False)
class Known:
    """What masks are known by before any is looked at.

    Attributes:
        blobs: the masks that are looked at.
        keys: their content hashes, N 4.
        closed: places of those that cannot be opened, with the reason.
        things: the instances beside them, if there are some; with their hashes and reasons.
        thing_keys: N 4.
        closed_things: by place.
    """

    blobs: Blobs
    keys: Keys
    closed: dict[int, str]
    things: Blobs | None
    thing_keys: Keys
    closed_things: dict[int, str]

    @property
    def salt(self) -> bytes:
        """A verdict holds while this stays."""
        return repr((self.closed, self.closed_things)).encode() + self.keys.tobytes() + self.thing_keys.tobytes()


def known(listing: Listing, wanted: MaskWanted, index: Index) -> Known:
    """The masks of a listing that are looked at, and what they are known by."""
    blobs = main_masks(listing, wanted.kind)
    keys, closed = mask_keys(listing, blobs, index)
    things = listing.masks.instances if listing.masks and blobs is listing.masks.semantic else None
    if things is None:
        return Known(blobs, keys, closed, None, np.zeros((0, 4), np.uint64), {})
    return Known(blobs, keys, closed, things, *mask_keys(listing, things, index))


def salt_of(listing: Listing, wanted: MaskWanted, known: Known) -> bytes:
    """All that decides a verdict on masks besides their pictures."""
    faults = [(fault.kind, *fault.names) for fault in listing.masks.faults] if listing.masks else []
    said = json_text([repr(faults), repr(wanted), repr(_legend(listing, wanted))])
    return said.encode("utf-8", "surrogatepass") + known.salt


def looked_at_pairs(
    examined: Examined, group: str | None, quarantine: Mapping[str, str], wanted: MaskWanted, known: Known,
    index: Index,
) -> Subject:  # fmt: skip
    """Pictures with masks as the checks see them.

    Masks that are encoded otherwise than most are left out before it is concluded what the masks mean: else one stray
    mask would decide what the others are taken for.
    """
    listing, areas = examined.listing, areas_of(examined)
    facts = mask_facts(listing, known.blobs, known.keys, known.closed, areas, index)
    legend, problem = _legend(listing, wanted)
    pairs = Pairs(known.blobs.names, facts, legend, wanted.ignore, problem=problem)
    subject = Subject(examined, group, quarantine, pairs)
    misleading = {name for check in MISLEADING for finding in check(subject) for name in finding.leave_out}
    good = np.array([place for place in subject.read_pairs if subject.name(place) not in misleading], np.int64)
    if len(good) and not problem:
        pairs = _understood(listing, pairs, good, wanted, known, areas, index)
    if known.things is not None:
        both = np.concatenate([known.keys, known.thing_keys], 1)
        things = looked_at_things(pairs, known.things, both, known.closed_things, areas, index)
        pairs = replace(pairs, things=things)
    return replace(subject, pairs=pairs)


def _understood(
    listing: Listing, pairs: Pairs, good: Places, wanted: MaskWanted, known: Known, areas: list[int], index: Index
) -> Pairs:
    """With what the masks at some places mean and show."""
    try:
        masks = understood(taken(listing, good), wanted)
    except NetwrightError as error:
        return replace(pairs, problem=error)
    shown = mask_counts(masks, known.keys[good], [areas[place] for place in good.tolist()], index)
    return replace(pairs, masks=masks, places=good.tolist(), shown=shown)


def areas_of(examined: Examined) -> list[int]:
    """Pixels of each picture; 0 where it cannot be read."""
    return (examined.facts["width"].astype(np.int64) * examined.facts["height"]).tolist()


def left_out(examined: Examined, quarantine: Mapping[str, str], wanted: MaskWanted, index: Index) -> dict[str, str]:
    """The pictures that training leaves out for their masks, each with the reason: unreadable, or of another size."""
    listing = examined.listing
    found = known(listing, wanted, index)
    facts = mask_facts(listing, found.blobs, found.keys, found.closed, areas_of(examined), index)
    names, gone = listing.blobs.names, set(examined.unreadable)
    bad: dict[str, str] = {}
    for place, fact in enumerate(facts):
        if place in gone or names[place] in quarantine:
            continue
        if fact.reason:
            bad[names[place]] = f"its mask: {fact.reason}"
        elif fact.content and fact.size != fact.picture:
            bad[names[place]] = "the picture is {}×{} px and its mask {}×{} px".format(*fact.picture, *fact.size)
    return bad


def _legend(listing: Listing, wanted: MaskWanted) -> tuple[Legend | None, NetwrightError | None]:
    """The legend as `understood` takes it, or why it cannot be read."""
    given = wanted.legend if isinstance(wanted.legend, str) else None
    if given is None and listing.classes and listing.masks is not None:
        colours = listing.masks.colours
        entries = [Entry(name, number, colours.get(name)) for number, name in enumerate(listing.classes)]
        return Legend(listing.name, tuple(entries)), None
    beside = found(Path(listing.root)) if listing.root else None
    path = beside if given is None else Path(given).expanduser()
    try:
        return (read_legend(path) if path else None), None
    except NetwrightError as error:
        return None, error
