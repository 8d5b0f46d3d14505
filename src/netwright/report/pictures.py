"""The sections with pictures: the worst mistakes, and training images as the network saw them."""

import base64
from itertools import zip_longest
from pathlib import Path
from typing import Any

from netwright.report.html import Html, note, section, tag
from netwright.report.reading import Reading
from netwright.report.words import percent

PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MOST_PICTURES = 24


def mistakes(reading: Reading) -> Html:
    """The wrong guesses that the network was most sure of."""
    if not reading.mistakes:
        seen = reading.evaluation
        none = seen is not None and seen.correct.all()
        says = "Not one image was classified wrongly." if none else "No pictures of mistakes were kept."
        return section("mistakes", "Worst mistakes", note(says))
    heats = [str(each) for each in reading.seeing.get("heats") or []]
    words = "Wrong, and most sure of it. Look for wrong labels first: they often gather here."
    which = "each" if len(heats) >= len(reading.mistakes) else f"the first {len(heats)}"
    hot = f" Beside {which}, where the network saw the class that it guessed (Grad-CAM)." if heats else None
    entries = reading.mistakes[:MOST_PICTURES]
    shown = (
        _mistake(reading.folder.samples, entry, heat)
        for entry, heat in zip_longest(entries, heats[: len(entries)], fillvalue="" if heats else None)
    )
    gallery = tag("div", *shown, class_="gallery pairs" if heats else "gallery")
    return section("mistakes", "Worst mistakes", note(words, hot), gallery)


def augmented(reading: Reading) -> Html:
    """Training images as the network saw them."""
    says = "Training images as the network saw them, augmented."
    source = data_uri(reading.folder.samples, "augmented.png")
    if source is None:
        return section("augmented", "What the network saw", note("No sample of training images was kept."))
    picture = tag("figure", tag("img", src=source, alt=says, class_="wide"), tag("figcaption", says))
    return section("augmented", "What the network saw", picture)


def pair(samples: Path, file: Any, heat: Any, says: str, *, found: bool = True) -> Html:
    """A picture, and beside it its heat map; `says` names it to those who cannot see it.

    Where `heat` is None the picture stands alone; where it is empty, the place beside it stays free.
    """
    sources = [data_uri(samples, str(each)) if each else None for each in (file, heat)]
    first = tag("img", src=sources[0], alt=says) if sources[0] else tag("p", "no picture")
    looked = "where the network looked" if found else "nothing here spoke for the guess"
    second = tag("img", src=sources[1], alt=f"{says}: {looked}") if sources[1] else None
    return first if heat is None else tag("div", first, second, class_="pair")


def _mistake(samples: Path, entry: Any, heat: str | None) -> Html:
    name, truth, guess = (str(entry.get(key, "?")) for key in ("name", "truth", "guess"))
    image = pair(samples, entry.get("file"), heat, f"{name}: {truth}, taken for {guess}")
    sure = entry.get("confidence")
    words = (tag("bdi", truth), tag("span", " taken for "), tag("bdi", guess, class_="guess"))
    rest = tag("small", f"{percent(sure)} sure · " if isinstance(sure, float | int) else "", tag("bdi", name))
    return tag("figure", image, tag("figcaption", tag("b", *words), rest))


def data_uri(samples: Path, file: str) -> str | None:
    """A picture as text, if it lies inside `samples` and is of a kind that browsers show."""
    path, kind = (samples / file).resolve(), PICTURES.get(Path(file).suffix.lower())
    if kind is None or not path.is_relative_to(samples.resolve()) or not path.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
