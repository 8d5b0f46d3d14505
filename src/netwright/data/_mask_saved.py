"""What masks mean as rows of JSON: kept beside a model, they read other masks as those it was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data._mask_codes import (
    CUT,
    IGNORED,
    UNEXPECTED,
    Bordered,
    Code,
    Colours,
    Cut,
    Ids,
    Layered,
    Numbers,
    Things,
    table_of,
)
from netwright.data._mask_meaning import Meaning

Row = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]


def rows_of(code: Code, classes: Sequence[str], colours: NDArray[np.uint8], *, background: bool) -> list[Row]:
    """A row for each stored value that means something, in the order of the classes; `meaning_of` reads them back.

    A row has the `name` of a class, or None where pixels are ignored, and what masks hold for it: a `number`; a
    `colour`, `nearest` where files that change colours take the nearest; a `layer` with the values that are `one` and
    `ignored` in it; `below` or `from` a grey; `instances`, any number; `width` of the border inside each instance.
    Rows without a colour of their own have that in which the class is drawn.
    """
    width = code.width if isinstance(code, Things | Bordered) else 0
    inner = code.code if isinstance(code, Bordered) else code
    rows = [_named(row, classes) for row in _rows(inner)]
    rows += [{"name": classes[-1], "width": width}] if width else []
    drawn = dict(zip(classes, colours.tolist(), strict=True))
    rows = [row if "colour" in row or row["name"] is None else row | {"colour": drawn[row["name"]]} for row in rows]
    rows[0] |= {"background": background}
    return rows


def _named(row: Row, classes: Sequence[str]) -> Row:
    return row | {"name": None if row["name"] == IGNORED else classes[row["name"]]}


def _rows(code: Code) -> list[Row]:
    """With the number of the class as its name, IGNORED behind all."""
    if isinstance(code, Numbers):
        known = np.flatnonzero(code.table != UNEXPECTED).tolist()
        rows = [{"name": int(code.table[number]), "number": number} for number in known]
    elif isinstance(code, Cut):
        rows = [{"name": 0, "below": CUT}, {"name": 1, "from": CUT}]
    elif isinstance(code, Colours):
        more = {"nearest": True} if code.nearest else {}
        pairs = zip(code.numbers.tolist(), code.colours.tolist(), strict=True)
        rows = [{"name": number, "colour": colour} | more for number, colour in pairs]
    elif isinstance(code, Layered):
        rows = [_layer_row(code, at, table) for at, table in enumerate(code.tables)]
    elif isinstance(code, Things):
        rows = [{"name": 0, "number": 0}, {"name": 1, "instances": True}]
        rows += [] if code.ignore is None else [{"name": IGNORED, "number": code.ignore}]
    else:
        raise TypeError(f"masks of {type(code).__name__} have no legend of their own")
    return sorted(rows, key=lambda row: row["name"])


def _layer_row(code: Layered, at: int, table: Ids) -> Row:
    values = {word: np.flatnonzero(table == value).tolist() for word, value in (("one", 1), ("ignored", IGNORED))}
    flags = {"last": code.last, "exclusive": code.exclusive}
    return {"name": code.places[at] if code.places else at, "layer": at, **values, **flags}


def meaning_of(rows: Rows, layers: Sequence[str] = (), ignore: int | None = None) -> Meaning:
    """What rows say.

    Args:
        rows: as `rows_of` made them.
        layers: the names of the masks' layers, where they have some.
        ignore: a number that is ignored besides.

    Raises:
        NetwrightError: the rows are damaged, or masks have layers of which they say nothing.
    """
    try:
        return _meaning(rows, layers, ignore)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        problem = f"the saved legend of masks cannot be used ({type(error).__name__}: {error})"
        raise NetwrightError(problem, "give a legend as a file (legend=FILE), or the model's bundle anew") from None


def _meaning(rows: Rows, layers: Sequence[str], ignore: int | None) -> Meaning:
    width = next((int(row["width"]) for row in rows if "width" in row), 0)
    names = tuple(dict.fromkeys(str(row["name"]) for row in rows if row["name"] is not None))
    place = {name: at for at, name in enumerate(names)}
    plain = [row for row in rows if "width" not in row]
    stored = [{**row, "at": IGNORED if row["name"] is None else place[row["name"]]} for row in plain]
    code = _code(stored, width, layers, ignore)
    code = Bordered(code, width) if width and not isinstance(code, Things) else code
    colours = {row["name"]: row["colour"] for row in reversed(rows) if "colour" in row}
    drawn = np.array([colours[name] for name in names], np.uint8)
    notes = () if ignore is None or not isinstance(code, Cut | Colours) else (f"ignore={ignore} is not used here",)
    several = isinstance(code, Layered) and not code.exclusive
    told = f"as the saved legend says: {listed(names, 8)}"
    return Meaning(code, names, told, drawn, bool(rows[0]["background"]), several, notes)


def _code(rows: Rows, width: int, layers: Sequence[str], ignore: int | None) -> Code:
    if any("layer" in row for row in rows):
        return _layered(rows, layers, ignore)
    if any("below" in row for row in rows):
        return Cut()
    void = {} if ignore is None else {ignore: IGNORED}
    meaning = {int(row["number"]): int(row["at"]) for row in rows if "number" in row} | void
    if any("instances" in row for row in rows):
        return Things(next((number for number, at in meaning.items() if at == IGNORED), None), width)
    if meaning.keys() - void:
        return Numbers(table_of(meaning))
    colours = np.array([row["colour"] for row in rows], np.uint8)
    return Colours(colours, np.array([row["at"] for row in rows], np.uint8), any("nearest" in row for row in rows))


def _layered(rows: Rows, layers: Sequence[str], ignore: int | None) -> Layered:
    """By the layers' names where they have some, so that masks may have fewer, and in another order."""
    ordered = sorted(rows, key=lambda row: row["layer"])
    if layers:
        known = {str(row["name"]): row for row in rows}
        for name in layers:
            if name not in known:
                raise unknown("class in the saved legend", name, list(known))
        ordered = [known[name] for name in layers]
    void = {} if ignore is None else {ignore: IGNORED}
    places, count = tuple(int(row["at"]) for row in ordered), len({row["at"] for row in rows})
    straight = places == tuple(range(count))
    flags = bool(rows[0]["last"]), bool(rows[0]["exclusive"])
    inside = [dict.fromkeys(row["one"], 1) | dict.fromkeys(row["ignored"], IGNORED) for row in ordered]
    tables = np.stack([table_of({0: 0} | values | void) for values in inside])
    return Layered(tables, *flags, () if straight else places, 0 if straight else count)
