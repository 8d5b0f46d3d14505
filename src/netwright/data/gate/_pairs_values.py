"""Checks of what masks hold as files: encodings that differ, values that no class has, values that compression made."""

from collections import Counter, defaultdict

from netwright.core.errors import listed
from netwright.data.gate.mask_facts import MaskFact, Value
from netwright.data.gate.mask_stored import COLOUR, GREY
from netwright.data.gate.subject import Subject
from netwright.data.gate.verdict import Finding
from netwright.data.masks import IGNORED
from netwright.report.words import count

BLURRED, DISTINCT = 0.2, 8  # share of ramps, and values, above which a mask was resized or compressed
PHOTO_VALUES, PHOTO_BUSY, SAME = 32, 0.5, 0.3  # values, share of busy pixels, and deviations from the picture
RARE, ENOUGH = 0.02, 8  # share of the masks that have a value nobody meant, and masks from which that can be told
CONTIGUOUS = 0.8  # share of the ids from 0 up that are in use where they were given by counting
LOSSY = ("JPEG", "MPO")
TWO_VALUES, IDS, FULL_SCALE = "0 and 1", "ids", "0 and 255"


def photos(subject: Subject) -> list[Finding]:
    """Pictures that lie where masks should."""
    places = [place for place in subject.read_pairs if is_photo(subject.fact(place))]
    says = ["the picture itself" if _is_own(subject.fact(place)) else "a photo" for place in places]
    fix = "put the masks where these pictures are"
    return subject.of_pairs("mask_is_picture", "error", "masks that are pictures", places, says, fix=fix, leave=True)


def lossy(subject: Subject) -> list[Finding]:
    """Masks that were saved as JPEG, and others with grey values between those of the classes."""
    clear = [place for place in subject.read_pairs if not is_photo(subject.fact(place))]
    jpeg = [place for place in clear if subject.fact(place).format in LOSSY]
    blurred = [place for place in clear if place not in set(jpeg) and _is_blurred(subject.fact(place))]
    detail = "compression makes values between those of the classes, so borders are uncertain"
    fix = "save them anew as PNG from where they were drawn"
    says = [f"{count(subject.fact(place).distinct)} values" for place in (*jpeg, *blurred)]
    found = subject.of_pairs(
        "mask_jpeg", "warning", "masks saved as JPEG", jpeg, says[: len(jpeg)], detail=detail, fix=fix
    )
    detail = (
        "there are values between those of the classes along their borders, as resizing by bilinear or cubic makes them"
    )
    fix = "resize masks by nearest neighbour, from where they were drawn"
    return found + subject.of_pairs(
        "mask_blurred",
        "error",
        "masks with values between the classes",
        blurred,
        says[len(jpeg) :],
        detail=detail,
        fix=fix,
        leave=True,
    )


def encodings(subject: Subject) -> list[Finding]:
    """Masks that are encoded in another way than most."""
    forms = encodings_of(subject)
    usual, others = _usual(forms)
    kinds = Counter(forms[place] for place in others)
    says = [forms[place] for place in others]
    detail = f"most are {usual}; others {listed(kinds)}: one number may mean two things"
    fix = f"save all alike, as {usual}; `--fix` leaves out the fewer"
    found = subject.of_pairs(
        "mask_encodings",
        "error",
        "masks encoded in another way than most",
        others,
        says,
        detail=detail,
        fix=fix,
        leave=True,
    )
    plain = [place for place in forms if subject.fact(place).form in ("grey", "deep")]
    tripled = [place for place in forms if subject.fact(place).form == "grey as colour"]
    fewer = min(plain, tripled, key=len)
    says = ["3 channels of grey" if fewer is tripled else "1 channel"] * len(fewer)
    return found + subject.of_pairs(
        "mask_channels", "note", "grey masks with another number of channels than most", fewer, says
    )


def unknown_values(subject: Subject) -> list[Finding]:
    """Values that are in no legend, or stand apart from those that most masks have."""
    forms = encodings_of(subject)
    _, others = _usual(forms)
    masks = subject.examined.listing.masks
    numbering = masks is None or masks.semantic is None  # of instances: each mask has as many numbers as it needs
    places = [] if numbering else [each for each in sorted({*forms} - {*others}) if subject.fact(each).form != "stack"]
    strange = _outside_legend(subject, places) or _apart(subject, places)
    says = [f"{_named(values)}: {count(sum(each.pixels for each in values))} px" for values in strange.values()]
    legend = subject.legend is not None
    detail = "the legend has no class of this colour or number" if legend else "hardly any other mask has these values"
    fix = (
        "add them to the legend, or paint over them"
        if legend
        else "paint over them, or name what is to be ignored with `--ignore`"
    )
    return subject.of_pairs(
        "mask_values",
        "error",
        "masks with values that no class has",
        [*strange],
        says,
        detail=detail,
        fix=fix,
        leave=True,
    )


def encodings_of(subject: Subject) -> dict[int, str]:
    """How each mask is encoded, of those that tell: photos, JPEG and masks that are all 0 do not."""
    told: dict[int, str] = {}
    for place in subject.read_pairs:
        fact = subject.fact(place)
        if not (is_photo(fact) or fact.format in LOSSY or _is_blurred(fact)) and (form := _encoding(fact)):
            told[place] = form
    ids = [place for place, form in told.items() if form == IDS]
    if 0 < len(ids) <= max(1, RARE * len(told)) and list(told.values()).count(FULL_SCALE) > len(told) / 2:
        return told | dict.fromkeys(ids, FULL_SCALE)  # with a stray value or two, which `unknown_values` names
    ignoring = any(IGNORED in _numbers(subject.fact(place)) for place in ids)
    if ids:  # where others count higher, 0 and 1 are ids as well, and 255 is what they ignore
        alike = (TWO_VALUES, FULL_SCALE) if ignoring else (TWO_VALUES,)
        told = {place: IDS if form in alike else form for place, form in told.items()}
    return told


def is_photo(fact: MaskFact) -> bool:
    """Whether a mask shows what a camera sees."""
    busy = fact.busy > PHOTO_BUSY and fact.distinct > PHOTO_VALUES
    return fact.form in (*GREY, COLOUR) and (busy or _is_own(fact))


def _is_own(fact: MaskFact) -> bool:
    return fact.apart is not None and fact.apart < SAME and fact.distinct > PHOTO_VALUES


def _is_blurred(fact: MaskFact) -> bool:
    return fact.ramps > BLURRED and fact.distinct > DISTINCT


def _encoding(fact: MaskFact) -> str:
    if fact.form == "stack":
        return "stacks of one mask for each class"
    if fact.form == COLOUR:
        return "colours"
    numbers = _numbers(fact)
    if numbers <= {0}:
        return ""
    if fact.form == "palette":
        return "colours from a palette"
    return TWO_VALUES if numbers <= {0, 1} else FULL_SCALE if numbers <= {0, 255} else IDS


def _numbers(fact: MaskFact) -> set[int]:
    return {each.value for each in fact.values}


def _usual(forms: dict[int, str]) -> tuple[str, list[int]]:
    """What most are, and the others."""
    if not forms:
        return "", []
    usual = Counter(forms.values()).most_common(1)[0][0]
    return usual, [place for place, form in forms.items() if form != usual]


def _outside_legend(subject: Subject, places: list[int]) -> dict[int, list[Value]]:
    """By place the values for which the legend has no class."""
    legend, ignore = subject.legend, subject.pairs.ignore if subject.pairs else None
    if legend is None:
        return {}
    colours = {
        (red * 256 + green) * 256 + blue for red, green, blue in (each.colour for each in legend.entries if each.colour)
    }
    numbers = {*legend.numbers, 0, IGNORED} if ignore is None else {*legend.numbers, 0, IGNORED, ignore}
    strange: dict[int, list[Value]] = {}
    for place in places:
        fact = subject.fact(place)
        known = [each.colour in colours or (fact.form != COLOUR and each.value in numbers) for each in fact.values]
        if odd := [each for each, one in zip(fact.values, known, strict=True) if not one]:
            strange[place] = odd
    return strange


def _apart(subject: Subject, places: list[int]) -> dict[int, list[Value]]:
    """By place the values that next to no other mask has, where those that most have leave no room for them."""
    of_form: defaultdict[str, list[int]] = defaultdict(list)
    for place in places if subject.legend is None else []:
        of_form["colours" if subject.fact(place).form == COLOUR else "numbers"].append(place)
    strange: dict[int, list[Value]] = {}
    for form, same in of_form.items():
        having = Counter(number for place in same for number in _numbers(subject.fact(place)))
        least = max(1, int(RARE * len(same)))
        usual = {number for number, n in having.items() if n > least}
        rare = _not_counted(set(having) - usual, usual, subject) if form == "numbers" else set(having) - usual
        if len(same) >= ENOUGH and len(usual) > 1:
            strange |= {
                place: odd
                for place in same
                if not _counts_on(_numbers(subject.fact(place)))
                if (odd := [each for each in subject.fact(place).values if each.value in rare])
            }
    return strange


def _counts_on(numbers: set[int]) -> bool:
    """Whether all numbers up to the highest are there, as where things are numbered: then none of them strays."""
    return len(numbers) > 2 and numbers == set(range(max(numbers) + 1))


def _not_counted(rare: set[int], usual: set[int], subject: Subject) -> set[int]:
    """Of rare numbers those that do not follow on the usual ones."""
    ids = usual - {IGNORED}
    known = len(subject.examined.listing.classes)
    if known:
        return {number for number in rare if number >= known and number != IGNORED}
    if not ids or usual <= {0, IGNORED}:
        return rare
    if len(ids) < CONTIGUOUS * (max(ids) + 1):
        return set()
    return {number for number in rare if number > max(ids) + 1 and number != IGNORED}


def _named(values: list[Value]) -> str:
    return listed(
        [
            f"#{each.colour:06x}" if each.value > 255 or each.value == each.colour > 0 else str(each.value)
            for each in values
        ],
        6,
    )
