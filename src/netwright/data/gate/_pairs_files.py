"""Checks of pairs as files: what has no partner, what cannot be read, what lies otherwise than its picture."""

from collections import defaultdict
from dataclasses import dataclass

from netwright.data.gate.duplicates import FLAT
from netwright.data.gate.likeness import TURNS
from netwright.data.gate.mask_facts import MaskFact
from netwright.data.gate.mask_stored import turn_between
from netwright.data.gate.policy import Refusal, refusal
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import MOST_SHOWN, Finding, Item, Severity
from netwright.report.words import plural

SEEN = 3.0  # standard deviations by which the borders of a mask must show, for a dark picture to show something


@dataclass(frozen=True)
class Unpaired:
    """How a fault of pairing is told."""

    kind: str
    severity: Severity
    what: str
    detail: str
    fix: str


UNPAIRED = {
    "no mask": Unpaired(
        "no_mask",
        "warning",
        "pictures without a mask",
        "they are not used",
        "give each a mask of the same name, or remove it; of a picture that shows nothing, the mask is all background",
    ),
    "no picture": Unpaired(
        "no_picture", "warning", "masks without a picture", "they are not used", "find the picture, or remove the mask"
    ),
    "two masks": Unpaired(
        "two_masks",
        "error",
        "pictures with more than one mask",
        "nothing tells which of them is right",
        "keep one mask for each picture, called as the picture is",
    ),
    "two pictures": Unpaired(
        "two_pictures",
        "error",
        "masks that go by the names of several pictures",
        "nothing tells which of them is meant",
        "give each picture a name and a mask of its own",
    ),
    "no file": Unpaired(
        "no_file",
        "warning",
        "rows of the table whose file is not there",
        "they are not used",
        "see that paths are relative to the table's folder, or remove the rows",
    ),
    "no instances": Unpaired(
        "no_instances",
        "note",
        "pictures without instances",
        "so instances are not used; masks of classes are",
        "",
    ),
}
LYING = {  # which file asks to be turned -> the finding's name, and the words for it
    "picture": ("exif_picture", "only the picture is turned by its EXIF data"),
    "mask": ("exif_mask", "only the mask is turned by its EXIF data"),
    "both": ("exif_both", "picture and mask are turned in different ways by their EXIF data"),
}
ALIKE = {
    "picture": "turn these masks as their pictures are, or take the EXIF orientation off the pictures",
    "mask": "take the EXIF orientation off these masks",
    "both": "save both upright and without EXIF orientation, as their pixels lie on one another",
}


def unpaired(subject: Subject) -> list[Finding]:
    """What has no partner, or more than one."""
    masks = subject.examined.listing.masks
    kinds: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for fault in masks.faults if masks else ():
        kinds[fault.kind].append(fault.names)
    return [_unpaired(subject, kind, sets) for kind, sets in kinds.items()]


def unreadable(subject: Subject) -> list[Finding]:
    """Masks that cannot be used, by what is wrong with them."""
    kinds: defaultdict[Refusal, list[int]] = defaultdict(list)
    for place in subject.pair_places:
        if reason := subject.fact(place).reason:
            kinds[refusal(reason)].append(place)
    return [_unreadable(subject, kind, places) for kind, places in kinds.items()]


def not_understood(subject: Subject) -> list[Finding]:
    """Single masks that training would refuse, for a reason that no other check gives."""
    refused = {place: subject.fact(place).refused or subject.shown(place).refused for place in subject.pair_places}
    places = [place for place, why in refused.items() if why]
    says = [refused[place] for place in places]
    fix = "mend these masks, or leave them out (`--fix`)"
    return subject.of_pairs("mask_refused", "error", "masks that training refuses", places, says, fix=fix, leave=True)


def sizes(subject: Subject) -> list[Finding]:
    """Masks of another size than their picture."""
    places = [
        place for place in subject.read_pairs if not _fits(subject.fact(place)) and not _exif_fits(subject, place)
    ]
    lying = [place for place in places if subject.fact(place).size == subject.fact(place).picture[::-1]]
    other = [place for place in places if place not in set(lying)]
    said = [f"{_size(fact.size)}, the picture {_size(fact.picture)}" for fact in map(subject.fact, other)]
    fix = "save each at the size of its picture, resized by nearest neighbour so that no value is mixed"
    detail = "a pixel of the mask does not say which of the picture it is about"
    found = subject.of_pairs(
        "mask_size",
        "error",
        "masks of another size than their picture",
        other,
        said,
        detail=detail,
        fix=fix,
        leave=True,
    )
    says = [_lying(subject.fact(place)) for place in lying]
    return found + subject.of_pairs(
        "mask_on_its_side", "error", "masks that lie on their side", lying, says,
        detail="width and height are exchanged against the picture", fix="turn these masks", leave=True,
    )  # fmt: skip


def exif(subject: Subject) -> list[Finding]:
    """Pairs of which EXIF data turn one and not the other: whether the mask was drawn on the picture as it lies."""
    kinds: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place in subject.read_pairs:
        fact = subject.fact(place)
        if fact.turn != fact.picture_turn and (drawn := _drawn(fact)):
            kinds[_whose(fact), drawn].append(place)
    return [each for (whose, drawn), places in kinds.items() for each in _exif(subject, whose, drawn, places)]


def turned(subject: Subject) -> list[Finding]:
    """Masks whose borders run where the picture changes only after the mask is flipped or rotated."""
    places = [
        place
        for place in subject.read_pairs
        if _fits(fact := subject.fact(place))
        and fact.alignment
        and fact.alignment.turned
        and fact.turn == fact.picture_turn
    ]
    says = [_better(subject.fact(place)) for place in places]
    detail = "their borders run along edges of the picture only after they are turned"
    fix = "look at them, and turn what was flipped or rotated without the other"
    return subject.of_pairs(
        "mask_turned", "warning", "masks that seem to be flipped or rotated", places, says, detail=detail, fix=fix
    )


def shifted(subject: Subject) -> list[Finding]:
    """Masks whose borders run where the picture changes only after the mask is moved."""
    places = [
        place
        for place in subject.read_pairs
        if _fits(fact := subject.fact(place)) and (found := fact.alignment) and not found.turned and found.shifted
    ]
    says = [_moved(*found.shift) for place in places if (found := subject.fact(place).alignment)]
    detail = "their borders run along edges of the picture only after they are moved"
    fix = "look at them: a crop, a pad or a resize may have been done to one of the two alone"
    return subject.of_pairs(
        "mask_shifted", "warning", "masks that seem to be shifted", places, says, detail=detail, fix=fix
    )


def blank(subject: Subject) -> list[Finding]:
    """Pictures that are one flat tone where their masks show something; a small bright thing on black is seen by its
    borders."""
    places = [
        place
        for place in subject.read_pairs
        if subject.readable[place]
        and float(subject.facts["contrast"][place]) < FLAT / 255
        and not (fact := subject.fact(place)).flat
        if fact.alignment is None or (fact.alignment.scores[0] or 0.0) < SEEN
    ]
    fix = "look whether these are the pictures that the masks were drawn on"
    return subject.of_pairs("blank", "warning", "pictures with next to no contrast", places, fix=fix)


def _unpaired(subject: Subject, kind: str, sets: list[tuple[str, ...]]) -> Finding:
    usual = Unpaired(kind.replace(" ", "_"), "warning", f"{kind}, files", "", "")
    told = UNPAIRED.get(kind, usual)
    names = {name: place for place, name in enumerate(subject.names)}
    masks = {name: place for place, name in enumerate(subject.mask_names)}
    examples = tuple(tuple(_file(subject, name, names, masks) for name in each) for each in sorted(sets)[:MOST_SHOWN])
    leave_out = {name: told.what for each in sets for name in each if name in names and told.severity == "error"}
    title = f"{told.what}: {len(sets)}"
    return Finding(told.kind, told.severity, title, told.detail, told.fix, len(sets), examples, leave_out)


def _file(subject: Subject, name: str, pictures: dict[str, int], masks: dict[str, int]) -> Item:
    if name in pictures:
        return subject.item(pictures[name])
    place = masks.get(name, -1)
    return Item(name, place, subject.side(place) if place >= 0 else "", "", mask=place >= 0)


def _unreadable(subject: Subject, kind: Refusal, places: list[int]) -> Finding:
    reasons = [subject.fact(place).reason for place in places]
    title = f"masks that cannot be used, {kind.what}: {plural(len(places), 'file')}"
    leave_out = {subject.name(place): f"its mask: {why}" for place, why in zip(places, reasons, strict=True)}
    examples = tuple(subject.pair(place, why) for place, why in zip(places[:MOST_SHOWN], reasons, strict=False))
    return Finding(f"mask_file_{kind.kind}", "error", title, "", kind.fix, len(places), examples, leave_out)


def _fits(fact: MaskFact) -> bool:
    return fact.size == fact.picture


def _exif_fits(subject: Subject, place: int) -> bool:
    fact = subject.fact(place)
    return fact.turn != fact.picture_turn and _drawn(fact) != ""


def _drawn(fact: MaskFact) -> str:
    """Whether the mask fits the picture "as seen", both turned upright, "as stored", or "unknown"; neither: ''."""
    turn = turn_between(fact.turn, fact.picture_turn)
    stored = fact.size[::-1] if TURNS[turn].exchanged else fact.size
    if not _fits(fact) or stored != fact.picture:
        return "as seen" if _fits(fact) else "as stored" if stored == fact.picture else ""
    if fact.alignment is None:
        return "unknown"
    return "as stored" if fact.alignment.better(turn, 0) else "as seen" if fact.alignment.better(0, turn) else "unknown"


def _whose(fact: MaskFact) -> str:
    return "both" if fact.turn and fact.picture_turn else "picture" if fact.picture_turn else "mask"


def _exif(subject: Subject, whose: str, drawn: str, places: list[int]) -> list[Finding]:
    kind, what = LYING[whose]
    if drawn == "as seen":
        detail = (
            "the mask was drawn on the picture upright, and fits it so" if whose == "picture" else "the masks fit so"
        )
        return subject.of_pairs(f"{kind}_fits", "note", what, places, detail=detail)
    if drawn == "unknown":
        detail = "neither size nor borders tell whether the mask was drawn on the picture upright or as it lies"
        return subject.of_pairs(
            f"{kind}_unclear", "warning", what, places, detail=detail, fix=f"look at them; {ALIKE[whose]}"
        )
    says = [_stored(subject.fact(place)) for place in places]
    detail = "the mask was drawn on the picture as it lies: " + "read upright, the two do not fit"
    return subject.of_pairs(kind, "error", what, places, says, detail=detail, fix=ALIKE[whose], leave=True)


def _stored(fact: MaskFact) -> str:
    """How it is known that the mask fits the picture as it lies."""
    if not _fits(fact):
        return f"{_size(fact.size)}, the picture upright {_size(fact.picture)}"
    turn = turn_between(fact.turn, fact.picture_turn)
    return f"fits {TURNS[turn].name}"


def _lying(fact: MaskFact) -> str:
    turn = fact.alignment.turned if fact.alignment else None
    return f"{_size(fact.size)}, the picture {_size(fact.picture)}" + (f"; fits {TURNS[turn].name}" if turn else "")


def _better(fact: MaskFact) -> str:
    found = fact.alignment
    if found is None or found.turned is None:
        return ""
    return f"fits {TURNS[found.turned].name}: {found.scores[found.turned]:.1f} σ, as it lies {found.scores[0]:.1f} σ"


def _moved(down: float, right: float) -> str:
    ways = ((down, "down", "up"), (right, "to the right", "to the left"))
    moves = [f"{abs(far):.0f} px {forth if far > 0 else back}" for far, forth, back in ways if round(far)]
    return f"fits {' and '.join(moves)}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]} px"
