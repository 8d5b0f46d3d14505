"""Checks of what masks show: nothing, everything, the same on many pictures, and classes that are rare or absent."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data.decode import UnreadableImage
from netwright.data.gate.mask_facts import Pairs
from netwright.data.gate.shift import LEAST_DISTANCE, SURE, Measure, compared
from netwright.data.gate.subject import Places, Subject
from netwright.data.gate.verdict import MOST_SHOWN, Finding, Severity
from netwright.report.words import count, percent, plural, split_name

MOSTLY = 0.5  # share of masks that show nothing, above which it is to be looked at
RARE_PIXELS, RARE_PICTURES = 0.01, 0.1
TOLERATED = 0.02  # of a class's share of a picture's pixels
UNLIKE = 0.999  # IoU of two masks above which they are the same but for a pixel


def empty(subject: Subject) -> list[Finding]:
    """Masks with nothing but background."""
    counts = pixel_counts(subject)
    if counts is None:
        return []
    none = counts[0][_nothing(subject, *counts)].tolist()
    share = len(none) / len(counts[0])
    severity: Severity = "error" if share == 1 else "warning" if share > MOSTLY else "note"
    fix = {"error": "see that the masks are what they should be", "warning": "leave some out if little is learnt"}
    detail = f"{percent(share)} of all: nothing is to be found on them"
    what = "masks with nothing but background"
    return subject.of_pairs("mask_empty", severity, what, none, detail=detail, fix=fix.get(severity, ""))


def full(subject: Subject) -> list[Finding]:
    """Masks that are one class all over."""
    counts = pixel_counts(subject)
    if counts is None or subject.several_masks:
        return []
    places, table = counts
    first = int(_background(subject))
    valid = table.sum(1)
    whole = (table[:, first:] == valid[:, None]).any(1) & (valid > 0)
    names = class_names(subject)
    says = [names[first + int(row.argmax())] for row in table[whole, first:]]
    severity: Severity = "warning" if first else "note"
    fix = "look whether background is missing" if first else ""
    return subject.of_pairs(
        "mask_full", severity, "masks that are one class all over", places[whole].tolist(), says, fix=fix
    )


def ignored(subject: Subject) -> list[Finding]:
    """Masks in which every pixel is left out."""
    places = [place for place in subject.understood_pairs if subject.shown(place).ignored == subject.fact(place).pixels]
    fix = "see that the value to ignore is right (`--ignore`), or leave these out"
    return subject.of_pairs(
        "mask_ignored",
        "error",
        "masks in which every pixel is ignored",
        places,
        detail="nothing is learnt from them",
        fix=fix,
        leave=True,
    )


def classes(subject: Subject) -> list[Finding]:
    """Classes in no mask; in masks of validation or test and not of training; and the other way."""
    having, names = pictures_with(subject), class_names(subject)
    if not having:
        return []
    everywhere = np.stack([*having.values()]).sum(0)
    trained = {"train": everywhere, **having}["train"]
    found = _absent(
        names,
        everywhere == 0,
        "mask_unused_class",
        "warning",
        "classes that no mask shows",
        "draw them, or take them from the legend",
    )
    for side, counts in having.items():
        if side in ("", "train"):
            continue
        title = f"classes that masks of {split_name(side)} show and none of training"
        fix = "move some of these pictures to training: what it never sees it cannot find"
        found += _absent(names, (counts > 0) & (trained == 0), "mask_unknown_class", "error", title, fix)
        title, fix = (
            f"classes that no mask of {split_name(side)} shows",
            "move some there: nothing tells how well they are learnt",
        )
        found += _absent(names, (counts == 0) & (trained > 0), "mask_unmeasured_class", "warning", title, fix)
    return found


def rare(subject: Subject) -> list[Finding]:
    """Classes with few pixels in few pictures."""
    counts = pixel_counts(subject)
    if counts is None or not counts[1].sum():
        return []
    table, names = counts[1], class_names(subject)
    shares, having = table.sum(0) / table.sum(), (table > 0).sum(0)
    few = np.flatnonzero((shares > 0) & (shares < RARE_PIXELS) & (having < RARE_PICTURES * len(table)))
    if not len(few):
        return []
    told = (f"{names[k]} {100 * shares[k]:.2g} % of the pixels, in {plural(int(having[k]), 'picture')}" for k in few)
    fix = "crops are drawn so that they appear; `--with class_weights` may help"
    return [Finding("mask_rare_class", "note", f"rare classes: {count(len(few))}", listed(told), fix, len(few))]


def contradictions(subject: Subject) -> list[Finding]:
    """The same picture with different masks."""
    sets: list[tuple[Places, str]] = []
    for places in subject.copies:
        known = [place for place in places.tolist() if subject.fact(place).content]
        if len({subject.fact(place).content for place in known}) > 1:
            said = _agreement(subject, known)
            sets += [(np.array(known), said)] if said else []
    if not sets:
        return []
    title = f"different masks on the same picture: {plural(len(sets), 'picture')}"
    fix = "keep the copy with the right mask; `--fix` leaves out all, since nothing tells which one that is"
    examples = tuple(
        tuple(part for k, place in enumerate(places.tolist()[:3]) for part in subject.pair(place, said if k else ""))
        for places, said in sets[:MOST_SHOWN]
    )
    leave_out = {
        subject.name(place): f"the same picture has different masks ({said})"
        for places, said in sets
        for place in places.tolist()
    }
    return [Finding("mask_contradiction", "error", title, "", fix, len(sets), examples, leave_out)]


def copied(subject: Subject) -> list[Finding]:
    """One mask on pictures that are not the same, nor alike."""
    same: dict[str, list[int]] = {}
    for place in subject.read_pairs:
        if (content := subject.fact(place).content) and not subject.fact(place).flat:
            same.setdefault(content, []).append(place)
    alike = {frozenset((pair.first, pair.second)) for pair in subject.near.pairs}
    digests = subject.facts["digest"]
    sets = [
        places
        for places in same.values()
        if any(digests[a] != digests[b] and frozenset((a, b)) not in alike for a, b in combinations(places[:20], 2))
    ]
    if not sets:
        return []
    masks = sum(map(len, sets))
    title = f"one mask on different pictures: {plural(masks, 'picture')}"
    detail = f"{plural(len(sets), 'mask')}, the same to the last pixel on pictures that do not look alike"
    examples = tuple(
        tuple(part for place in places[:3] for part in subject.pair(place)) for places in sets[:MOST_SHOWN]
    )
    return [
        Finding(
            "mask_copied",
            "warning",
            title,
            detail,
            "look which picture each belongs to, and draw the others",
            len(sets),
            examples,
        )
    ]


def shares(subject: Subject) -> list[Finding]:
    """Classes that cover another share of the pictures of one side than of another."""
    counts = pixel_counts(subject)
    if counts is None:
        return []
    places, table = counts
    part = table / np.maximum(1, table.sum(1, keepdims=True))
    if subject.several_masks:
        part = table / np.array([[subject.fact(place).pixels] for place in places.tolist()])
    sides = {side: part[np.isin(places, own)] for side, own in subject.sides.items()}
    pairs = [pair for pair in combinations(sides, 2) if all(len(sides[side]) for side in pair)]
    first = int(_background(subject))
    tests = max(1, len(pairs) * (table.shape[1] - first))
    found: list[Finding] = []
    for one, other in pairs:
        clear: list[str] = []
        for k in range(first, table.shape[1]):
            measure = Measure(class_names(subject)[k], _as_given, TOLERATED, "")
            made = compared(measure, sides[one][:, k], sides[other][:, k])
            if made.distance >= LEAST_DISTANCE and made.p * tests < SURE:
                means = sides[one][:, k].mean(), sides[other][:, k].mean()
                clear.append(f"{measure.name} {percent(means[0])} and {percent(means[1])} of the pixels")
        if clear:
            title = f"{split_name(one)} and {split_name(other)} hold the classes in other shares"
            found.append(
                Finding(
                    "mask_shares",
                    "note",
                    title,
                    listed(clear, 10),
                    "read the figures of each class, not only their mean",
                    len(clear),
                )
            )
    return found


def class_names(subject: Subject) -> tuple[str, ...]:
    """What the masks' classes are called; none where they could not be understood."""
    return subject.pairs.masks.classes if subject.pairs and subject.pairs.masks else ()


def pixel_counts(subject: Subject) -> tuple[Places, NDArray[np.int64]] | None:
    """The pairs that are understood, N, and the pixels of each class on them, N K."""
    places = np.array(subject.understood_pairs, np.int64)
    if not len(places):
        return None
    return places, np.array([subject.shown(place).counts for place in places.tolist()], np.int64)


def pictures_with(subject: Subject) -> dict[str, NDArray[np.int64]]:
    """For each side the pictures with each class, K."""
    counts = pixel_counts(subject)
    if counts is None:
        return {}
    return {side: (counts[1][np.isin(counts[0], own)] > 0).sum(0) for side, own in subject.sides.items()}


def pictures_by_class(subject: Subject) -> dict[str, dict[str, int]]:
    """The same by the classes' names."""
    having = pictures_with(subject)
    return {side: dict(zip(class_names(subject), counts.tolist(), strict=True)) for side, counts in having.items()}


def summary(subject: Subject) -> dict[str, Any]:
    """For the verdict: how masks are encoded, pixels and pictures of each class, masks that show nothing."""
    counts, names = pixel_counts(subject), class_names(subject)
    pairs = subject.pairs
    if counts is None or pairs is None or pairs.masks is None:
        return {}
    places, table = counts
    none = _nothing(subject, places, table)
    own = {side: np.isin(places, members) for side, members in subject.sides.items()}
    pixels = np.array([subject.fact(place).pixels for place in places.tolist()])
    left = np.array([subject.shown(place).ignored for place in places.tolist()])

    def by_class(values: NDArray[Any]) -> dict[str, Any]:
        return dict(zip(names, values.tolist(), strict=True))

    def share(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = (pixels - left)[rows].sum() if subject.several_masks else table[rows].sum()
        return np.round(table[rows].sum(0) / max(1, total), 6)

    return {
        "encoding": pairs.masks.encoding,
        "classes": list(names),
        "background": pairs.masks.background,
        "pixels": {side or "all": by_class(share(rows)) for side, rows in own.items()},
        "pictures": {side or "all": by_class((table[rows] > 0).sum(0)) for side, rows in own.items()},
        "empty": {side or "all": int(none[rows].sum()) for side, rows in own.items()},
        "ignored": {
            side or "all": round(float(left[rows].sum() / max(1, pixels[rows].sum())), 6) for side, rows in own.items()
        },
    }


def _as_given(values: NDArray[Any]) -> NDArray[np.float64]:
    return values


def _nothing(subject: Subject, places: Places, table: NDArray[np.int64]) -> NDArray[np.bool_]:
    shown = table[:, 1:] if _background(subject) else table
    return (shown.sum(1) == 0) & ~_all_ignored(subject, places)


def _background(subject: Subject) -> bool:
    return bool(subject.pairs and subject.pairs.masks and subject.pairs.masks.background)


def _all_ignored(subject: Subject, places: Places) -> NDArray[np.bool_]:
    return np.array([subject.shown(place).ignored == subject.fact(place).pixels for place in places.tolist()], bool)


def _absent(
    names: tuple[str, ...], which: NDArray[np.bool_], kind: str, severity: Severity, what: str, fix: str
) -> list[Finding]:
    absent = [name for name, one in zip(names, which.tolist(), strict=True) if one]
    return (
        [Finding(kind, severity, f"{what}: {count(len(absent))}", listed(absent), fix, len(absent))] if absent else []
    )


def _agreement(subject: Subject, places: list[int]) -> str:
    """How far the masks of some pictures agree: 'IoU 0.43' of the two that agree least; '' where they are the same."""
    pairs: Pairs | None = subject.pairs
    if pairs is None or pairs.masks is None:
        return "their pixels differ"
    try:
        own = {place: number for number, place in enumerate(pairs.places)}
        read = [np.asarray(pairs.masks.read(own[place])) for place in places[:6] if place in own]
    except (UnreadableImage, NetwrightError):
        return "their pixels differ"
    values = [overlap(a, b, background=pairs.masks.background) for a, b in combinations(read, 2)]
    least = min(values, default=1.0)
    return f"IoU {least:.2f}" if least < UNLIKE else ""


def overlap(one: NDArray[np.uint8], other: NDArray[np.uint8], *, background: bool) -> float:
    """Mean IoU of two masks over the classes that either shows, background not counted; 1 where neither shows any."""
    if one.shape != other.shape:
        return 0.0
    if one.ndim == 3:
        pairs = [(a == 1, b == 1) for a, b in zip(one, other, strict=True)]
    else:
        first = int(background)
        pairs = [(one == k, other == k) for k in range(first, 255) if (one == k).any() or (other == k).any()]
    values = [(a & b).sum() / (a | b).sum() for a, b in pairs if (a | b).any()]
    return float(np.mean(values)) if values else 1.0
