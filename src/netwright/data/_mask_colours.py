"""Masks of colours: those of a legend, or as many as there are."""

from collections.abc import Sequence

import numpy as np

from netwright.core.errors import NetwrightError, listed
from netwright.data._mask_codes import IGNORED, Colours, hexed, packed, unpacked
from netwright.data._mask_meaning import THING, Meaning, legend_colours, refuse_first
from netwright.data._mask_sample import Seen
from netwright.data.legend import Legend
from netwright.data.listing import Blobs

MOST_COLOURS = 64
BLACK, WHITE = 0, 0xFFFFFF
_NAMED = {
    "#ffffff": "white", "#ff0000": "red", "#00ff00": "green", "#0000ff": "blue",
    "#ffff00": "yellow", "#00ffff": "cyan", "#ff00ff": "magenta", "#808080": "grey", "#800000": "dark red",
    "#008000": "dark green", "#000080": "dark blue", "#808000": "olive", "#008080": "teal", "#800080": "purple",
    "#ffa500": "orange",
}  # fmt: skip


def of_colours(blobs: Blobs, seen: Seen, legend: Legend | None, ignore: int | None) -> Meaning:
    """What masks of colours mean; see `of_masks`.

    Raises:
        NetwrightError: too many colours, such as no legend has, or blurred ones without a legend.
    """
    if legend is not None and legend.coloured:
        return _by_legend(blobs, seen, legend)
    file, keys = blobs.names[seen.busiest[1]], seen.all_keys
    if legend is not None and not (set(keys) <= {BLACK, WHITE} and len(legend.classes) == 2):
        problem = f"masks have colours (as {file}), and {legend.source} says none"
        raise NetwrightError(problem, "write red, green and blue of each class into it, as `road,128,64,128`")
    if seen.lossy:
        problem = (
            f"{len(seen.lossy)} of {len(seen.places)} masks are coloured JPEG or the like "
            f"(as {blobs.names[seen.lossy[0]]}), which blurs colours"
        )
        fix = "save masks as PNG, or give a legend (legend=FILE, lines as `road,128,64,128`): the nearest is then taken"
        raise NetwrightError(problem, fix)
    if len(keys) > MOST_COLOURS:
        problem = f"masks have {len(keys):,} colours (as {file}): they look like photographs, or were resized smoothly"
        fix = f"give masks with one colour a class, up to {MOST_COLOURS} (resize with NEAREST), or a legend of colours"
        raise NetwrightError(problem, fix)
    if set(keys) <= {BLACK, WHITE}:
        return _black_and_white(seen, legend)
    colours, names = unpacked(keys), _names(keys)
    numbers = np.arange(len(keys), dtype=np.uint8)
    notes = [f"no legend: classes are called by their colours, {listed(names, 12)} (legend=FILE names them)"]
    notes += [] if keys[0] == 0 else ["no pixel is black: there is no background"]
    notes += _palettes(seen)
    if ignore is not None:
        notes.append(f"ignore={ignore} is a number, and masks have colours: call a colour void in a legend")
    told = f"{len(keys)} colours: {listed(names, 8)}"
    return Meaning(Colours(colours, numbers), names, told, colours, keys[0] == 0, notes=tuple(notes))


def _black_and_white(seen: Seen, legend: Legend | None) -> Meaning:
    names = tuple(entry.name for entry in legend.classes) if legend else ("background", THING)
    code = Colours(unpacked([BLACK, WHITE]), np.arange(2, dtype=np.uint8))
    return Meaning(code, names, f"black and white: {' and '.join(names)}", notes=tuple(_palettes(seen)))


def _names(keys: Sequence[int]) -> tuple[str, ...]:
    """Black is background; others are called by their colours."""
    written = [hexed(colour) for colour in unpacked(keys)]
    return tuple(
        "background" if key == BLACK else _NAMED.get(word, word) for key, word in zip(keys, written, strict=True)
    )


def _palettes(seen: Seen) -> list[str]:
    if not seen.palettes_differ:
        return []
    return ["the same number has different colours in different files' palettes: colours tell the classes, not numbers"]


def _by_legend(blobs: Blobs, seen: Seen, legend: Legend) -> Meaning:
    colours = np.array([entry.colour for entry in legend.entries], np.uint8)
    place = {entry.name: at for at, entry in enumerate(legend.classes)}
    numbers = np.array([IGNORED if entry.void else place[entry.name] for entry in legend.entries], np.uint8)
    code = Colours(colours, numbers, nearest=True)
    notes = _palettes(seen)
    if seen.lossy:
        notes.append(
            f"{len(seen.lossy)} of {len(seen.places)} masks are JPEG or the like: their pixels take the nearest colour"
        )
    if not set(seen.all_keys) <= set(packed(colours).tolist()):
        refuse_first(blobs, seen, code)
    names = tuple(place)
    void = [entry.name for entry in legend.entries if entry.void]
    told = f"{len(colours)} colours of a legend: {listed(names, 8)}" + (f"; {listed(void)} ignored" if void else "")
    return Meaning(code, names, told, legend_colours(legend), legend.background, notes=tuple(notes))
