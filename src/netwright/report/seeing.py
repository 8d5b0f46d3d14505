"""The sections about what the network looks at: kernels, maps of each stage, heat maps, mistakes class by class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netwright.records.intervals import wilson
from netwright.report.html import Html, join, note, section, tag, with_code
from netwright.report.pictures import data_uri, pair
from netwright.report.reading import Reading
from netwright.report.tables import table
from netwright.report.words import UNKNOWN, count, measured, percent, plural

TITLE = "What the network looks at"
HOT = "The brighter, the more a place speaks for the class that was guessed (Grad-CAM). "
PAINT = "`netwright explain RUN --method dream --class NAME` takes its time."
ASK = "`netwright explain` draws the same for any image, and says whether a map is better than one at a random place."


def seeing(reading: Reading) -> Html:
    """Where the network looked, what covering costs it, its kernels and maps, and what classes look like to it."""
    found = reading.seeing
    if not found:
        return section("seeing", TITLE, note("No pictures of what the network sees were kept."))
    drawn = (_right, _covered, _kernels, _stages, _dreams)
    parts = [make(reading, found) for make in drawn] + [_left_out(found)]
    return section("seeing", TITLE, *(part for part in parts if part is not None))


def surest(reading: Reading) -> Html:
    """For each class the wrong guesses that the network was most sure of."""
    title = "Most confident mistakes, class by class"
    if not reading.by_class:
        seen = reading.evaluation
        none = seen is not None and seen.correct.all()
        says = "Not one image was classified wrongly." if none else "No pictures of mistakes were kept by class."
        return section("surest", title, note(says))
    rows = [_class_row(reading.folder.samples, entry) for entry in reading.by_class]
    wrong_classes = plural(len(rows), "class", "classes")
    caption = f"{wrong_classes}, those with the most mistakes first; 95 % intervals"
    says = note("Which look-alikes cost a class most. A class whose mistakes all look right has a problem of labels.")
    return section("surest", title, says, table(("truth", "wrong#", "share", "surest mistakes"), rows, caption=caption))


def _class_row(samples: Path, entry: Mapping[str, Any]) -> Sequence[object]:
    wrong, n = entry.get("wrong"), entry.get("n")
    shown = [_small(samples, each) for each in entry.get("mistakes") or [] if isinstance(each, dict)]
    many, share = UNKNOWN, join(UNKNOWN)
    if isinstance(wrong, int) and isinstance(n, int) and 0 <= wrong <= n:
        many, share = f"{count(wrong)} of {count(n)}", measured("accuracy", wilson(wrong, n))
    return tag("bdi", entry.get("class", "?")), many, share, tag("div", *shown, class_="row")


def _small(samples: Path, entry: Mapping[str, Any]) -> Html:
    source, name = data_uri(samples, str(entry.get("file", ""))), entry.get("name", "?")
    guess, sure = entry.get("guess", "?"), entry.get("confidence")
    says = f"{name}: {entry.get('truth', '?')}, taken for {guess}"
    image = tag("img", src=source, alt=says, title=name, loading="lazy") if source else tag("p", "no picture")
    level = tag("small", percent(sure)) if isinstance(sure, float | int) else None
    return tag("figure", image, tag("figcaption", tag("bdi", guess, class_="guess"), level))


def _right(reading: Reading, found: Mapping[str, Any]) -> Html | None:
    rows = [entry for entry in found.get("right") or [] if isinstance(entry, dict)]
    if not rows:
        return None
    classes = found.get("right_classes")
    more = isinstance(classes, int) and classes > len(rows)
    cut = f"{len(rows)} of {classes} classes are shown. " if more else None
    says = note(join(HOT, "Of each class the right image it was surest of. ", cut, with_code(ASK)))
    shown = (_right_figure(reading.folder.samples, entry) for entry in rows)
    gallery = tag("div", *shown, class_="gallery pairs")
    return join(tag("h3", "Where it looked when it was right"), says, _tested(found), gallery)


def _right_figure(samples: Path, entry: Mapping[str, Any]) -> Html:
    name, truth, sure = entry.get("name", "?"), entry.get("truth", "?"), entry.get("confidence")
    found = bool(entry.get("found", True))
    images = pair(samples, entry.get("file"), entry.get("heat") or "", f"{name}: {truth}", found=found)
    level = f"{percent(sure)} sure · " if isinstance(sure, float | int) else ""
    return tag("figure", images, tag("figcaption", tag("b", tag("bdi", truth)), tag("small", level, tag("bdi", name))))


def _tested(found: Mapping[str, Any]) -> Html | None:
    """Whether one of the maps can be believed."""
    tested = found.get("faithful")
    if not isinstance(tested, dict) or not tested.get("verdict"):
        return None
    which = (tag("bdi", tested.get("truth", "?")), " (", tag("bdi", tested.get("name", "?")), ")")
    says = f": {tested['verdict']}. One picture was tested, so this says nothing of the others."
    return note(join("Can a map be believed? Of the image it was surest of, ", *which, says))


def _covered(reading: Reading, found: Mapping[str, Any]) -> Html | None:
    seen = found.get("occlusion")
    rows = [row for row in (seen.get("rows") or []) if isinstance(row, dict)] if isinstance(seen, dict) else []
    if not isinstance(seen, dict) or not rows:
        return None
    which = "its worst mistakes" if seen.get("wrong") else "right images, for it made no mistake"
    grid = (
        f"A square of {seen.get('size', '?')} pixels was slid over what the network saw, {seen.get('side', '?')} wide"
    )
    mean = "the brighter a place, the more probability the guess lost on average while it was covered (occlusion)"
    says = note(f"In {which}. {grid}; {mean}. It needs nothing from inside the network.")
    shown = (_covered_figure(reading.folder.samples, row) for row in rows)
    return join(tag("h3", "What covering a place costs"), says, tag("div", *shown, class_="gallery pairs"))


def _covered_figure(samples: Path, entry: Mapping[str, Any]) -> Html:
    name, truth, guess = (str(entry.get(key, "?")) for key in ("name", "truth", "guess"))
    images = pair(samples, entry.get("file"), entry.get("heat") or "", f"{name}: {truth}, taken for {guess}")
    words = (tag("bdi", truth),)
    if truth != guess:
        words = (tag("bdi", truth), tag("span", " taken for "), tag("bdi", guess, class_="guess"))
    sure, fall = entry.get("confidence"), entry.get("fall")
    level = f"{percent(sure)} sure" if isinstance(sure, float | int) else ""
    lost = f", {100 * max(0, fall):.1f} points less at the worst place" if isinstance(fall, float | int) else ""
    below = tag("small", f"{level}{lost} · ", tag("bdi", name))
    return tag("figure", images, tag("figcaption", tag("b", *words), below))


def _dreams(reading: Reading, found: Mapping[str, Any]) -> Html | None:
    seen = found.get("dreams")
    rows = [row for row in (seen.get("rows") or []) if isinstance(row, dict)] if isinstance(seen, dict) else []
    if not isinstance(seen, dict) or not rows:
        return None
    order = ", those with the most mistakes first" if seen.get("wrong") else ""
    many = f"{plural(len(rows), 'class', 'classes')} of {seen.get('classes', '?')}{order}"
    how = "Each was painted from noise in a few steps so that the score of its class rises: a sketch, from one seed."
    shown = (_dream_figure(reading.folder.samples, row) for row in rows)
    gallery = tag("div", *shown, class_="gallery")
    return join(tag("h3", "What it looks for"), note(with_code(f"{many}. {how} {PAINT}")), gallery)


def _dream_figure(samples: Path, entry: Mapping[str, Any]) -> Html:
    source, name = data_uri(samples, str(entry.get("file", ""))), entry.get("class", "?")
    image = tag("img", src=source, alt=f"what {name} looks like to the network") if source else tag("p", "no picture")
    return tag(
        "figure", image, tag("figcaption", tag("b", tag("bdi", name)), tag("small", str(entry.get("note") or "")))
    )


def _kernels(reading: Reading, found: Mapping[str, Any]) -> Html | None:
    shown = _sheet(reading.folder.samples, found.get("kernels"))
    return None if shown is None else join(tag("h3", "Kernels of the first layer"), shown)


def _stages(reading: Reading, found: Mapping[str, Any]) -> Html | None:
    samples, stages, example = reading.folder.samples, found.get("stages") or [], found.get("example") or {}
    shown = [sheet for entry in stages if (sheet := _sheet(samples, entry)) is not None]
    if not shown:
        return None
    name, source = example.get("name", "?"), data_uri(samples, str(example.get("file", "")))
    picture = tag("img", src=source, alt=f"{name}", class_="example") if source else None
    caption = tag("figcaption", tag("bdi", name))
    says = note("One image by stage: the mean over all channels, then the channels that answer it most strongly.")
    head = tag("h3", "What each stage makes of an image")
    return join(head, says, tag("figure", picture, caption, class_="seen"), *shown)


def _sheet(samples: Path, entry: Any) -> Html | None:
    if not isinstance(entry, dict):
        return None
    source, title = data_uri(samples, str(entry.get("file", ""))), str(entry.get("title", ""))
    if source is None:
        return None
    captions = [str(each) for each in entry.get("captions") or [] if each]
    below = ": ".join(part for part in (title, ", ".join(captions)) if part)
    words = (f"{below}. ", str(entry.get("note") or ""))
    return tag(
        "figure", tag("img", src=source, alt=title, class_="wide crisp"), tag("figcaption", *words), class_="seen"
    )


def _left_out(found: Mapping[str, Any]) -> Html | None:
    rows = [entry for entry in found.get("left_out") or [] if isinstance(entry, dict)]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(str(row.get("why", "?")), []).append(str(row.get("what", "?")))
    words = [tag("li", f"{_together(names)} left out: {why}.") for why, names in reasons.items()]
    return tag("ul", *words, class_="notes") if words else None


def _together(names: Sequence[str]) -> str:
    """`Grad-CAM was`, `Grad-CAM and occlusion were`."""
    before, last = ", ".join(names[:-1]), names[-1]
    return _capital(f"{before} and {last} were" if before else f"{last} was")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
