"""Masks of numbers: class numbers, black and white, or black and white with greys between."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data._mask_codes import CUT, IGNORED, Cut, Numbers, Things, table_of
from netwright.data._mask_meaning import THING, Meaning, legend_colours, refuse_first
from netwright.data._mask_sample import DARK, LIGHT, Likeness, Seen, flat_between, numbered_things
from netwright.data.legend import MOST, Entry, Legend
from netwright.data.listing import Blobs

WHITE = 255
MANY = 64  # different numbers in each mask: more are those of a photograph
MOST_BETWEEN, MOST_FLAT = 0.1, 0.1
STEPS = 16  # of greys that are classes; finer ones are those of a photograph


def of_numbers(blobs: Blobs, seen: Seen, legend: Legend | None, ignore: int | None, kind: str = "auto") -> Meaning:
    """What masks of numbers mean; see `of_masks`.

    Args:
        blobs: the masks.
        seen: what is in them.
        legend: names of classes.
        ignore: the number that the user ignores.
        kind: "semantic" where numbers are classes, not instances; "border" where instances are wanted.

    Raises:
        NetwrightError: more numbers than classes, or such as no legend has, or blurred ones.
    """
    present = [number for number in seen.present if number != ignore]
    if seen.lossy or _blurred(seen):
        _refuse_jpeg(blobs, seen, ignore)
        return _cut(blobs, seen, legend, ignore)
    if legend is not None:
        return _by_legend(blobs, seen, present, legend, ignore)
    if (len(present) < 3 and 0 in present) or len(present) == 1:
        return _binary(seen, present, ignore)
    void = WHITE if ignore is None and WHITE in present and WHITE - 1 not in present else ignore
    likeness: Likeness = "classes" if kind == "semantic" else numbered_things(blobs, seen, void)
    if likeness == "things" or (likeness == "perhaps" and kind == "border"):
        return _things(void)
    found = _counted(blobs, seen, present, ignore)
    if likeness == "classes":
        return found
    note = "masks count from 1, one piece a number: if these are instances, put them into a folder instances/"
    return replace(found, notes=(*found.notes, f"{note}; masks=semantic says that they are classes"))


def _things(ignore: int | None) -> Meaning:
    note = "masks count from 1 in each picture, one connected piece a number: these are instances, not classes"
    told = f"numbered instances: {listed(('background', THING))}"
    return Meaning(
        Things(ignore), ("background", THING), told, notes=(f"{note} (masks=semantic takes them as classes)",)
    )


def _by_legend(blobs: Blobs, seen: Seen, present: Sequence[int], legend: Legend, ignore: int | None) -> Meaning:
    needed = legend.numbered and (0 in present or len(legend.classes) < 2)
    added = needed and 0 not in legend.numbers and not legend.background
    if added:
        legend = Legend(legend.source, (Entry("background", 0), *legend.entries))
    classes = legend.classes
    place = {entry.name: at for at, entry in enumerate(classes)}
    meaning = {
        number: IGNORED if entry.void else place[entry.name]
        for number, entry in zip(legend.numbers, legend.entries, strict=True)
    }
    told = f"numbers {_span(sorted(set(meaning) - {ignore}))}"
    if len(classes) == 2 and set(present) <= {0, WHITE} and set(meaning) == {0, 1} and ignore != WHITE:
        meaning = {0: meaning[0], WHITE: meaning[1]}
        told = f"0 and {WHITE}"
    meaning |= {WHITE: meaning.get(WHITE, IGNORED)} if ignore is None else {ignore: IGNORED}
    code = Numbers(table_of(meaning))
    if not set(present) <= set(meaning):
        refuse_first(blobs, seen, code)
    names = tuple(entry.name for entry in classes)
    absent = [
        name for name in names if not any(seen.numbers[number] for number in meaning if meaning[number] == place[name])
    ]
    notes = [f"in no mask looked at: {listed(absent, 8)}"] if absent else []
    notes += ["the legend has no number 0: it is background"] if added else []
    if legend.coloured and not legend.numbered:
        notes.append(f"the legend has no numbers: its rows are counted from 0, which is {legend.entries[0].name}")
    return Meaning(
        code,
        names,
        f"{told}: {listed(names, 8)}{_ignored(seen, meaning)}",
        legend_colours(legend),
        legend.background,
        notes=tuple(notes),
    )


def _binary(seen: Seen, present: Sequence[int], ignore: int | None) -> Meaning:
    high = max(present)
    notes: list[str] = []
    if high == 0:
        high = 1
        notes.append("the masks looked at are all empty: nothing but 0 is in them")
    elif 0 not in present:
        notes.append(f"the masks looked at hold nothing but {high}: no pixel is background")
    meaning = {0: 0, high: 1} | ({ignore: IGNORED} if ignore is not None else {})
    if ignore is None and high != WHITE:
        meaning[WHITE] = IGNORED
    if notes and high == 1 and ignore is None:
        meaning[WHITE] = 1  # empty masks do not say how the others are written
    names = ("background", THING)
    colours = _palette_colours(seen, [0, high])
    told = f"0 and {high}: {' and '.join(names)}{_ignored(seen, meaning)}"
    return Meaning(Numbers(table_of(meaning)), names, told, colours, notes=tuple(notes))


def _counted(blobs: Blobs, seen: Seen, present: list[int], ignore: int | None) -> Meaning:
    """Class numbers without names: from 0 on, or just those that occur where they leave wide gaps."""
    if ignore is None and WHITE in present and not _even(present):
        _refuse_mixed(blobs, seen)
        present = [number for number in present if number != WHITE]
        ignore = WHITE
    if present == [0, 1] or len(present) < 2:
        return _binary(seen, present, ignore)
    gaps = 0 not in present or max(present) + 1 > 2 * len(present)
    numbers = present if gaps else list(range(max(present) + 1))
    if len(numbers) > MOST:
        problem = f"masks hold {len(numbers):,} different numbers, more than {MOST} classes"
        fix = "if they number instances, put them into a folder instances/; else merge classes, or give a legend"
        raise NetwrightError(f"{problem} (as {blobs.names[seen.busiest[1]]})", fix)
    if seen.different > MANY * len(seen.places):
        each = round(seen.different / len(seen.places))
        problem = f"each mask holds about {each} different numbers (as {blobs.names[seen.busiest[1]]})"
        fix = f"give masks, not pictures; if there are {len(numbers)} classes, give a legend of them (legend=FILE)"
        raise NetwrightError(f"{problem}: they look like photographs", fix)
    meaning = {number: place for place, number in enumerate(numbers)} | (
        {ignore: IGNORED} if ignore is not None else {}
    )
    if ignore is None and WHITE not in meaning:
        meaning[WHITE] = IGNORED
    names = tuple("background" if number == 0 else f"class {number}" for number in numbers)
    notes = [f"numbers that occur are the classes: {_span(numbers)}; a legend names them"] if gaps else []
    absent = [names[place] for place, number in enumerate(numbers) if not seen.numbers[number]]
    notes += [f"in no mask looked at: {listed(absent, 8)}"] if absent else []
    notes += [] if numbers[0] == 0 else ["no pixel is 0: there is no background"]
    told = f"numbers {_span(numbers)}{_ignored(seen, meaning)}"
    colours = _palette_colours(seen, numbers)
    return Meaning(Numbers(table_of(meaning)), names, told, colours, numbers[0] == 0, notes=tuple(notes))


def _refuse_mixed(blobs: Blobs, seen: Seen) -> None:
    """255 is ignored where most masks that have it have classes beside it; else it is itself the foreground.

    Raises:
        NetwrightError: then a mask with another number is the odd one, or where more have others, one with 255.
    """
    lone = seen.white - seen.beside
    if seen.beside > lone:
        return
    if lone >= seen.plain:
        place, number = seen.odd
        problem = f"{blobs.names[place]} has the value {number}, which is no class: most masks hold 0 and 255"
        fix = "correct it; or give ignore=255 if that marks ignored pixels, or a legend (legend=FILE)"
    else:
        others = blobs.names[seen.odd[0]]
        problem = f"{blobs.names[seen.lone]} holds 0 and 255 alone, most masks other numbers (as {others})"
        fix = "save its foreground with the others' number; if 255 marks ignored pixels, give ignore=255"
    raise NetwrightError(problem, fix)


def _even(present: Sequence[int]) -> bool:
    """Whether numbers are greys that divide 0 to 255 into equal steps, as 0, 85, 170, 255."""
    steps = len(present) - 1
    return 1 < steps <= STEPS and all(abs(number - WHITE * at / steps) < 1 for at, number in enumerate(present))


def _span(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if whole else listed(map(str, numbers), 12)


def _ignored(seen: Seen, meaning: dict[int, int]) -> str:
    numbers = [number for number, place in meaning.items() if place == IGNORED and seen.numbers[number]]
    return f", {listed(map(str, sorted(numbers)))} ignored" if numbers else ""


def _palette_colours(seen: Seen, numbers: Sequence[int]) -> NDArray[np.uint8] | None:
    if not all(number in seen.palette for number in numbers):
        return None
    return np.array([seen.palette[number] for number in numbers], np.uint8)


# Black and white with greys between


def _between(seen: Seen) -> float:
    """The share of pixels that are neither nearly black nor nearly white."""
    return float(seen.numbers[DARK + 1 : LIGHT].sum() / max(1, seen.numbers.sum()))


def _blurred(seen: Seen) -> bool:
    """Whether numbers look like black and white that were compressed, resized or smoothed, in most masks."""
    sure = seen.sure
    near_dark, near_light = sure[1 : DARK + 1].any(), sure[LIGHT:WHITE].any()
    ends = bool(sure[0] and sure[LIGHT : WHITE + 1].any())
    soft = len(seen.known) > 8 and 2 * seen.soft > seen.filled
    return bool(near_dark and near_light and ends) and soft and _between(seen) <= MOST_BETWEEN


def _refuse_jpeg(blobs: Blobs, seen: Seen, ignore: int | None) -> None:
    """Among masks of numbers a JPEG has lost its own.

    Raises:
        NetwrightError: it names the JPEG.
    """
    known = set(seen.known) - {0, ignore}
    if not seen.lossy or _blurred(seen) or known <= {WHITE}:
        return
    problem = f"{blobs.names[seen.lossy[0]]} is JPEG or the like, among masks of the numbers"
    fix = "save it as PNG, which keeps each number, or leave it out"
    raise NetwrightError(f"{problem} {listed(map(str, sorted(known)), 8)}, which do not survive that", fix)


def _cut(blobs: Blobs, seen: Seen, legend: Legend | None, ignore: int | None) -> Meaning:
    highest, share = max(seen.present), _between(seen)
    jpeg = f"{len(seen.lossy)} of {len(seen.places)} masks are JPEG or the like"
    what = jpeg if seen.lossy else "masks have blurred edges"
    two = legend is None or len(legend.classes) == 2
    places = seen.lossy or seen.places
    flat = bool(share) and flat_between(blobs, places, DARK + 1, LIGHT - 1) > MOST_FLAT
    if (0 < highest < CUT) or share > 0.5 or flat or not two:
        problem = f"{what} (as {blobs.names[places[0]]}), and numbers from 0 to {highest} do not survive that"
        raise NetwrightError(problem, "save masks as PNG, which keeps each number; or give a legend with colours")
    names = tuple(entry.name for entry in legend.classes) if legend else ("background", THING)
    told = f"grey values cut at {CUT}: below is {names[0]}, the rest is {names[1]}"
    note = f"{what}: greys are cut at {CUT}; {share:.2%} of pixels lie between {DARK + 1} and {LIGHT - 1}"
    notes = (note,) if ignore is None else (note, f"ignore={ignore} is not used: after blurring no number is exact")
    colours = legend_colours(legend) if legend else None
    return Meaning(Cut(), names, told, colours, legend is None or legend.background, notes=notes)
