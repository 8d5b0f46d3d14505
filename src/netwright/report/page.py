"""`report.html`: one file that holds everything, asks nobody for anything, and runs no script."""

from collections.abc import Callable
from pathlib import Path

from netwright.records.atomic import write_atomic
from netwright.records.folder import RunFolder
from netwright.report.background import data, machine, recipe
from netwright.report.codes import code_map, codes, new_pictures, traversals
from netwright.report.headline import headline
from netwright.report.html import Html, join, note, section, tag
from netwright.report.pictures import augmented, mistakes
from netwright.report.reading import Reading
from netwright.report.reconstruction import limits, rates, reconstructions
from netwright.report.sections import calibration, classes, curves, matrix
from netwright.report.seeing import seeing, surest
from netwright.report.segmentation import confused_pixels, mask_classes, outlines, shown_masks
from netwright.report.words import UNKNOWN, duration, moment

SECTIONS = (
    headline, curves, matrix, classes, calibration, mistakes, surest, seeing, augmented, data, recipe, machine,
)  # fmt: skip
MASK_SECTIONS = (
    headline, curves, mask_classes, confused_pixels, outlines, shown_masks, seeing, augmented, data, recipe, machine,
)  # fmt: skip
CODE_SECTIONS = (
    headline, curves, reconstructions, rates, codes, code_map, new_pictures, traversals, limits, seeing, augmented,
    data, recipe, machine,
)  # fmt: skip
CONTENTS = {
    "curves": "Training",
    "confusion": "Confusion",
    "classes": "Classes",
    "calibration": "Calibration",
    "mistakes": "Mistakes",
    "seeing": "Seeing",
    "data": "Data",
    "recipe": "Recipe",
    "machine": "Machine",
}
MASK_CONTENTS = {
    "curves": "Training",
    "classes": "Classes",
    "outlines": "Outlines",
    "masks": "Worst images",
    "seeing": "Seeing",
    "data": "Data",
    "recipe": "Recipe",
    "machine": "Machine",
}
CODE_CONTENTS = {
    "curves": "Training",
    "reconstructions": "Reconstructions",
    "rates": "Rate",
    "codes": "Codes",
    "map": "Map",
    "samples": "New pictures",
    "traversals": "Traversals",
    "limits": "Limits",
    "seeing": "Seeing",
    "data": "Data",
    "recipe": "Recipe",
    "machine": "Machine",
}
# The browser itself refuses whatever is not in the file, should markup ever slip through.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write(run_folder: Path) -> Path:
    """Write the page of a run into its folder; see `netwright.report.write_report`."""
    folder = RunFolder.open(run_folder)
    write_atomic(folder.report_file, page(Reading.of(folder)))
    return folder.report_file


def page(reading: Reading) -> str:
    """The whole page."""
    sections, _ = _kind(reading)
    main = tag("main", *(_drawn(make, reading) for make in sections))
    return document(reading.name, _top(reading), main, _end(reading))


def _kind(reading: Reading) -> tuple[tuple[Callable[[Reading], Html | None], ...], dict[str, str]]:
    """The sections of a page and its contents, by what the network gives."""
    if reading.decodes:
        return CODE_SECTIONS, CODE_CONTENTS
    return (MASK_SECTIONS, MASK_CONTENTS) if reading.masked else (SECTIONS, CONTENTS)


def document(title: str, *children: Html) -> str:
    """A page that needs nothing beside itself."""
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} – netwright"),
        tag("style", Html(style)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', *children), lang='en')}\n"


def _drawn(make: Callable[[Reading], Html | None], reading: Reading) -> Html | None:
    try:
        return make(reading)
    except Exception as error:
        # Hours of training lie behind this page: one value that is not what it should be must not cost the others.
        says = note(f"This section could not be drawn: {type(error).__name__}: {error}")
        return section(make.__name__, make.__name__.capitalize(), says)


def _top(reading: Reading) -> Html:
    model, trained = reading.at("model", "name"), reading.at("data", "name")
    what = f"{model} on {trained}" if model and trained else model or trained
    words = (what, reading.at("status"), moment(reading.at("created")), duration(reading.at("seconds")))
    below = " · ".join(str(word) for word in words if word not in (None, "", UNKNOWN))
    _, titles = _kind(reading)
    links = (tag("a", title, href=f"#{identity}") for identity, title in titles.items())
    contents = tag("nav", *links, aria_label="Contents")
    return tag("header", tag("h1", reading.name), tag("p", below, class_="note"), contents)


def _end(reading: Reading) -> Html:
    version = reading.at("netwright")
    return tag("footer", join("Written by netwright", f" {version}" if version else None, "."))
