"""The sections with pictures: the worst mistakes, and training images as the network saw them."""

import base64
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
    says = note("Wrong, and most sure of it. Look for wrong labels first: they often gather here.")
    shown = (_mistake(reading.folder.samples, entry) for entry in reading.mistakes[:MOST_PICTURES])
    return section("mistakes", "Worst mistakes", says, tag("div", *shown, class_="gallery"))


def augmented(reading: Reading) -> Html:
    """Training images as the network saw them."""
    says = "Training images as the network saw them, augmented."
    source = _data_uri(reading.folder.samples, "augmented.png")
    if source is None:
        return section("augmented", "What the network saw", note("No sample of training images was kept."))
    picture = tag("figure", tag("img", src=source, alt=says, class_="wide"), tag("figcaption", says))
    return section("augmented", "What the network saw", picture)


def _mistake(samples: Path, entry: dict[str, Any]) -> Html:
    name, truth, guess = (str(entry.get(key, "?")) for key in ("name", "truth", "guess"))
    source = _data_uri(samples, str(entry.get("file", "")))
    image = tag("img", src=source, alt=f"{name}: {truth}, taken for {guess}") if source else tag("p", "no picture")
    sure = entry.get("confidence")
    words = (tag("bdi", truth), tag("span", " taken for "), tag("bdi", guess, class_="guess"))
    rest = tag("small", f"{percent(sure)} sure · " if isinstance(sure, float | int) else "", tag("bdi", name))
    return tag("figure", image, tag("figcaption", tag("b", *words), rest))


def _data_uri(samples: Path, file: str) -> str | None:
    """A picture as text, if it lies inside `samples` and is of a kind that browsers show."""
    path, kind = (samples / file).resolve(), PICTURES.get(Path(file).suffix.lower())
    if kind is None or not path.is_relative_to(samples.resolve()) or not path.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
