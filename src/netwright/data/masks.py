"""Masks: how their files say what each pixel shows is found out once, and then every mask is read the same way."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data._mask_border import WIDTH
from netwright.data._mask_codes import (
    IGNORED,
    Bordered,
    Code,
    Colours,
    Cut,
    Ids,
    Numbers,
    Things,
    identity,
    table_of,
)
from netwright.data._mask_colours import of_colours
from netwright.data._mask_layers import of_layers
from netwright.data._mask_meaning import THING, Meaning
from netwright.data._mask_numbers import of_numbers
from netwright.data._mask_raw import raw
from netwright.data._mask_sample import Seen, looked_at
from netwright.data._mask_saved import Rows, meaning_of, rows_of
from netwright.data.decode import UnreadableImage
from netwright.data.legend import Entry, Legend, found, read_legend
from netwright.data.listing import Blobs, Listing, MaskFiles
from netwright.report.overlay import palette

__all__ = ["IGNORED", "MaskWanted", "Masks", "palette", "understood"]

BORDERED = ("background", "interior", "border")  # classes of masks in which one interior is one thing
VERSION = 2  # part of the salt: raised when the same masks are read differently


@dataclass(frozen=True)
class MaskWanted:
    """What the user asked of masks; None where the data shall decide.

    Attributes:
        kind: "semantic" for classes: numbers in masks are never taken for those of instances; "auto" for the same
            where they do not look like it; "border" for background, interior and border of instances.
        legend: a file that names classes, with their numbers or colours; or what `Masks.legend` gave, to read other
            masks as those.
        ignore: the stored number whose pixels count for nothing; by default 255 where it is no class.
        border: width of the border class inside each instance, in pixels.
    """

    kind: Literal["auto", "semantic", "border"] = "auto"
    legend: str | Sequence[Mapping[str, Any]] | None = None
    ignore: int | None = None
    border: int = WIDTH


@dataclass(frozen=True, eq=False)
class Masks:
    """Masks whose encoding is understood.

    Attributes:
        blobs: the files that are read, place by place those of the pictures.
        things: masks of numbered instances; None where there are none.
        classes: their names.
        colours: for drawing, uint8 K 3.
        background: whether class 0 is what is left when nothing else is there.
        several: whether a pixel may be of several classes.
        encoding: what was found out, in one sentence.
        notes: what a user should know besides.
        salt: what decides the result besides the content of `blobs`.
        code: what stored values stand for.
    """

    blobs: Blobs
    things: Blobs | None
    classes: tuple[str, ...]
    colours: NDArray[np.uint8]
    background: bool
    several: bool
    encoding: str
    notes: tuple[str, ...]
    salt: str
    code: Code

    def read(self, place: int) -> Ids:
        """A mask upright: class numbers H W, or where pixels may be of several classes 0 and 1, K H W. IGNORED is 255.

        Raises:
            UnreadableImage: the file cannot be read.
            NetwrightError: it is not encoded as the others are.
        """
        name = self.blobs.names[place]
        return self.code(raw(self.blobs.read(place), name), name)

    def instances(self, place: int) -> NDArray[np.int32] | None:
        """The number of the instance that each pixel is of, 0 for none, H W upright; None where nothing numbers them.

        Raises:
            UnreadableImage: the file cannot be read.
        """
        if self.things is None:
            return None
        name = self.things.names[place]
        mask = raw(self.things.read(place), name)
        return (self.code if isinstance(self.code, Things) else Things()).numbers(mask, name)

    def legend(self) -> list[dict[str, Any]]:
        """Which stored value or colour is which class, as rows for JSON; `MaskWanted(legend=...)` takes them.

        A row has a class's `name`, or None where pixels are ignored, and its `number`, `colour` or `layer`; or, of
        blurred masks, the greys `below` or `from` which it is; `instances` where each number is a thing; or the
        `width` of a border. The `colour` beside another of these is that in which the class is drawn.
        """
        return rows_of(self.code, self.classes, self.colours, background=self.background)


def understood(listing: Listing, wanted: MaskWanted | None = None) -> Masks:
    """How a data set's masks are encoded, from all of them or a sample, and how to read them.

    Args:
        listing: pictures with masks.
        wanted: what the user asked.

    Raises:
        NetwrightError: the encoding is unknown or contradicts itself; the message names a file and says what to do.
    """
    wanted = wanted or MaskWanted()
    if listing.masks is None:
        fix = "put masks beside the pictures, as images/ and masks/ with the same names"
        raise NetwrightError(f"{listing.name} has no masks", fix)
    _check(wanted)
    files = listing.masks
    if wanted.legend is not None and not isinstance(wanted.legend, str):
        return _as_saved(listing, files, wanted.legend, wanted)
    legend, notes = _legend(listing, wanted)
    if files.instances is not None and (files.semantic is None or wanted.kind == "border"):
        blobs, meaning = files.instances, _of_things(files.instances, legend, wanted)
    elif files.semantic is not None:
        blobs, meaning = files.semantic, _of_masks(files.semantic, legend, wanted)
        meaning = _bordered(meaning, wanted) if wanted.kind == "border" else meaning
    else:
        raise NetwrightError(f"{listing.name} has no masks", "put them into a folder masks/ beside images/")
    things = files.instances or (blobs if isinstance(meaning.code, Things) else None)
    return _masks(blobs, things, meaning, notes)


def _of_masks(blobs: Blobs, legend: Legend | None, wanted: MaskWanted) -> Meaning:
    """What masks of classes mean, by what occurs in them."""
    seen, ignore = looked_at(blobs), wanted.ignore
    if seen.kinds.get("stack"):
        meaning = of_layers(blobs, seen, legend, ignore)
    elif _by_colour(seen, legend, ignore):
        meaning = of_colours(blobs, seen, legend, ignore)
    else:
        meaning = of_numbers(blobs, seen, legend, ignore, wanted.kind)
    notes = list(meaning.notes)
    if ignore is not None and not seen.numbers[ignore] and not isinstance(meaning.code, Colours | Cut):
        notes.append(f"the ignored number {ignore} is in no mask looked at")
    if legend is not None and not (meaning.background or meaning.several):
        notes.append("no class of the legend is called background: all classes count in means")
    return replace(meaning, notes=tuple(notes))


def _by_colour(seen: Seen, legend: Legend | None, ignore: int | None) -> bool:
    """Whether colours tell the classes, not numbers: then palettes, too, are but a way to write colours."""
    if legend is not None and legend.coloured and not legend.numbered and _has_greys(seen, legend, ignore):
        return True
    if seen.keys is not None:
        return not (seen.lossy and seen.like_grey)
    if not seen.kinds.get("palette"):
        return False
    coloured = legend is not None and legend.coloured and not legend.numbered
    # Who saves black and white as a GIF may find white at index 0.
    turned = seen.palette.get(0) == (255, 255, 255) and set(seen.palette.values()) <= {(0, 0, 0), (255, 255, 255)}
    return coloured or seen.palettes_differ or turned


def _has_greys(seen: Seen, legend: Legend, ignore: int | None) -> bool:
    """Whether grey masks hold the greys among a legend's colours: no others, or some beyond the numbers of its rows."""
    colours = [entry.colour for entry in legend.entries if entry.colour is not None]
    greys = {red for red, green, blue in colours if red == green == blue}
    if seen.kinds.get("palette"):
        return False
    if seen.lossy and seen.like_grey and not any(seen.sure[1:]):
        return len(greys) > 1  # each pixel takes the nearest
    held = set(seen.known) - {0, ignore}
    return bool(greys) and (held <= greys or (bool(held & greys) and max(held) >= len(colours)))


def _as_saved(listing: Listing, files: MaskFiles, rows: Rows, wanted: MaskWanted) -> Masks:
    """Masks as a saved legend says. Instances are read where there are some and the legend knows them or a border."""
    blobs = files.semantic or files.instances
    if blobs is None:
        raise NetwrightError(f"{listing.name} has no masks", "put them into a folder masks/ beside images/")
    meaning = meaning_of(rows, _layers(listing, blobs), wanted.ignore)
    if wanted.kind == "border" and not isinstance(meaning.code, Things | Bordered):
        meaning = _bordered(meaning, wanted)
    width = meaning.code.width if isinstance(meaning.code, Things | Bordered) else 0
    if files.instances is not None and (files.semantic is None or width):
        if len(meaning.classes) != 2 + bool(width) or meaning.several:
            problem = f"{listing.name} has instances alone, and the saved legend {len(meaning.classes)} classes"
            raise NetwrightError(problem, "give masks of classes, in a folder masks/")
        blobs, ignore = files.instances, meaning.code.ignore if isinstance(meaning.code, Things) else wanted.ignore
        meaning = replace(meaning, code=Things(ignore, width))
    elif isinstance(meaning.code, Things) and width:
        meaning = replace(meaning, code=_parts(blobs, meaning.code))
    things = files.instances or (blobs if isinstance(meaning.code, Things) else None)
    return _masks(blobs, things, meaning, [])


def _layers(listing: Listing, blobs: Blobs) -> tuple[str, ...]:
    """What layers are called: as the folders that they come from, or the arrays in a file."""
    if listing.classes:
        return listing.classes
    for place in range(len(blobs.names)):
        with suppress(UnreadableImage, NetwrightError):
            return raw(blobs.read(place), blobs.names[place]).layers
    return ()


def _parts(blobs: Blobs, code: Things) -> Code:
    """Masks of instances that number none: of black and white, connected parts are the instances."""
    seen = looked_at(blobs)
    held = sorted(set(seen.present) - {0, code.ignore})
    if seen.lossy:
        return Bordered(Cut(), code.width)
    if len(held) > 1:
        return code
    meaning = {0: 0} | dict.fromkeys(held or [1, 255], 1)
    return Bordered(Numbers(table_of(meaning | ({} if code.ignore is None else {code.ignore: IGNORED}))), code.width)


def _masks(blobs: Blobs, things: Blobs | None, meaning: Meaning, notes: Sequence[str]) -> Masks:
    names = "\0".join(meaning.classes).encode("utf-8", "surrogatepass")
    salt = sha256(f"masks {VERSION}\0{meaning.background}\0".encode() + identity(meaning.code) + names).hexdigest()[:32]
    return Masks(
        blobs=blobs,
        things=things,
        classes=meaning.classes,
        colours=_colours(meaning),
        background=meaning.background,
        several=meaning.several,
        encoding=meaning.encoding,
        notes=(*notes, *meaning.notes),
        salt=salt,
        code=meaning.code,
    )


def _check(wanted: MaskWanted) -> None:
    if wanted.ignore is not None and not 0 <= wanted.ignore <= 65_535:
        fix = "give a number that masks have, as ignore=255"
        raise NetwrightError(f"ignore={wanted.ignore} is no value of a mask", fix)
    if wanted.border < 1:
        raise NetwrightError(f"a border of {wanted.border} pixels", "give at least 1; masks=semantic has no border")


def _legend(listing: Listing, wanted: MaskWanted) -> tuple[Legend | None, list[str]]:
    """The legend that was given, or lies in the data's folder, or comes with the listing."""
    if isinstance(wanted.legend, str):
        return read_legend(Path(wanted.legend).expanduser()), []
    if listing.classes and listing.masks is not None:
        colours = listing.masks.colours
        entries = [Entry(name, number, colours.get(name)) for number, name in enumerate(listing.classes)]
        return Legend(listing.name, tuple(entries)), []
    path = found(Path(listing.root)) if listing.root else None
    return (read_legend(path), [f"classes are named by {path.name}"]) if path else (None, [])


def _of_things(blobs: Blobs, legend: Legend | None, wanted: MaskWanted) -> Meaning:
    seen = looked_at(blobs)
    if seen.kinds.get("stack") or seen.kinds.get("colour"):
        what = "layers" if seen.kinds.get("stack") else "colours"
        fix = "save 16-bit PNG: 0 for background, and a number for each instance"
        raise NetwrightError(f"the masks of instances, as {blobs.names[seen.places[0]]}, have {what}", fix)
    width = wanted.border if wanted.kind == "border" else 0
    notes = [] if seen.numbers[1:].any() else ["no mask looked at has any instance in it"]
    if wanted.ignore is not None and not seen.numbers[wanted.ignore]:
        notes.append(f"the ignored number {wanted.ignore} is in no mask looked at")
    thing = next((entry.name for entry in legend.classes[1:]), THING) if legend and len(legend.classes) == 2 else THING
    classes = BORDERED if width else ("background", thing)
    encoding = f"numbered instances: {listed(classes)}"
    encoding += f" (within {width} px of another instance or of background)" if width else ""
    return Meaning(Things(wanted.ignore, width), classes, encoding, notes=tuple(notes))


def _bordered(meaning: Meaning, wanted: MaskWanted) -> Meaning:
    """Two classes with a border between them."""
    if isinstance(meaning.code, Things):
        code: Code = replace(meaning.code, width=wanted.border)
        told = f"numbered instances: background, interior, border ({wanted.border} px)"
        return replace(meaning, code=code, classes=BORDERED, colours=None, encoding=told)
    if meaning.several or len(meaning.classes) != 2 or not meaning.background:
        problem = f"masks=border takes instances, or background and foreground; these masks have {len(meaning.classes)}"
        problem += f" classes: {listed(meaning.classes, 8)}"
        fix = "leave out masks=border, or add a folder instances/ beside masks/"
        raise NetwrightError(problem, fix if meaning.background else f"{fix}; a legend calls one of two background")
    note = "nothing numbers the instances: connected parts of the foreground are taken, so touching ones are one"
    return replace(
        meaning,
        code=Bordered(meaning.code, wanted.border),
        classes=BORDERED,
        colours=None,
        encoding=f"{meaning.encoding}; with a border of {wanted.border} px",
        notes=(*meaning.notes, note),
    )


def _colours(meaning: Meaning) -> NDArray[np.uint8]:
    """Those that the data has if they differ, or else ours."""
    count = len(meaning.classes)
    if meaning.colours is not None and len(np.unique(meaning.colours, axis=0)) == count:
        return meaning.colours
    return palette(count, background=meaning.background)
