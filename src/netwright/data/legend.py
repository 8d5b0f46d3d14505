"""What the numbers and colours of masks stand for, from a file beside them: CSV, JSON or plain text."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netwright.core.errors import NetwrightError, nearest

NAMES = (
    "legend.csv", "legend.json", "legend.txt", "classes.txt", "classes.csv", "label_colors.txt", "labelmap.txt",
    "class_dict.csv", "dataset.json",
)  # fmt: skip
VOID = ("void", "ignore", "ignored", "__ignore__")
BACKGROUND = ("background", "_background_", "bg", "nothing", "none", "unlabelled", "unlabeled", "other")
MOST = 254  # classes; 255 marks ignored pixels, and 254 what nobody expects
LINES = "`road,128,64,128` (name, red, green, blue) or `1,road` (number, name) or `1,road,128,64,128`"
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_NUMBERS = re.compile(r"\d+(\s+\d+)+")
_COLOURS = ("color", "colour", "rgb")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Entry:
    """A class in a legend.

    Attributes:
        name: of the class.
        number: that masks have for it; None where the legend says none.
        colour: that masks have for it, or that it is drawn in; None where the legend says none.
    """

    name: str
    number: int | None = None
    colour: Colour | None = None

    @property
    def void(self) -> bool:
        """Whether pixels of it are ignored."""
        return self.name.casefold() in VOID


@dataclass(frozen=True)
class Legend:
    """What masks mean.

    Attributes:
        source: the file, or what else says so.
        entries: as written.
    """

    source: str
    entries: tuple[Entry, ...]

    @cached_property
    def classes(self) -> tuple[Entry, ...]:
        """Those that are not ignored, the background first."""
        known = [entry for entry in self.entries if not entry.void]
        names = [entry.name.casefold() for entry in known]
        first = next((names.index(name) for name in BACKGROUND if name in names), 0)
        return (*known[first : first + 1], *known[:first], *known[first + 1 :])

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The number of each entry: what is written, or else its place."""
        return tuple(place if entry.number is None else entry.number for place, entry in enumerate(self.entries))

    @property
    def numbered(self) -> bool:
        """Whether numbers are written."""
        return any(entry.number is not None for entry in self.entries)

    @property
    def coloured(self) -> bool:
        """Whether each entry has a colour."""
        return all(entry.colour is not None for entry in self.entries)

    @property
    def background(self) -> bool:
        """Whether its first class is what is left when nothing else is there."""
        return bool(self.classes) and self.classes[0].name.casefold() in BACKGROUND


def found(root: Path) -> Path | None:
    """The legend that lies in a folder under one of the usual names."""
    return next((path for name in NAMES if (path := root / name).is_file() and _is_legend(path)), None)


def _is_legend(path: Path) -> bool:
    """A data set's description is a legend only if it says what labels there are."""
    if path.name != "dataset.json":
        return True
    try:
        return isinstance(json.loads(path.read_bytes()).get("labels"), dict)
    except (OSError, ValueError, AttributeError):
        return False


def read_legend(path: Path) -> Legend:
    """A legend from its file.

    Rows of CSV and text have a name, and a number or a colour or both, in any order: `road,128,64,128`, `1,road`,
    `128 64 128 road`, `road:#804080`; or names alone, numbered from 0. A header is left out. JSON has the same as
    `{"road": [128, 64, 128]}`, `{"road": 1}`, `{"1": "road"}`, `["sky", "road"]` or a list of objects.

    Raises:
        NetwrightError: with the line that cannot be used, and what to write instead.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise _not_opened(path, error) from None
    except UnicodeDecodeError:
        raise NetwrightError(f"{path} is not written in UTF-8", "save it as UTF-8") from None
    rows = _json(path, text) if path.suffix.lower() == ".json" else _lines(path, text)
    return checked(str(path), list(rows))


def checked(source: str, rows: Sequence[tuple[str, Entry]]) -> Legend:
    """A legend whose entries can be told apart.

    Args:
        source: the file.
        rows: entries, each with where it stands, as "line 3".

    Raises:
        NetwrightError: two of one name, number or colour; some with numbers and some without; none, or too many.
    """
    known = [entry for _, entry in rows if not entry.void]
    if len(known) < 2 and not (known and known[0].number):  # beside a class of another number there is 0, background
        raise NetwrightError(f"{source} names {len(rows)} classes; masks tell at least two apart", f"write {LINES}")
    if len(rows) > MOST:
        fix = f"write at most {MOST}: merge rare classes"
        raise NetwrightError(f"{source} names {len(rows)} classes, more than {MOST}", fix)
    for what in ("name", "number", "colour"):
        values = [getattr(entry, what) for _, entry in rows]
        seen = dict[Any, str]()
        for value, (place, _) in zip(values, rows, strict=True):
            if value is None and any(other is not None for other in values):
                raise NetwrightError(f"{source}, {place}: no {what}, although others have one", f"write {LINES}")
            if value is not None and seen.setdefault(value, place) != place:
                problem = f"{source}, {place}: the {what} {value} stands in {seen[value]} already"
                raise NetwrightError(problem, f"give each class its own {what}")
    return Legend(source, tuple(entry for _, entry in rows))


def _not_opened(path: Path, error: OSError) -> NetwrightError:
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = nearest(path.name, beside)
    fix = f"did you mean {path.parent / close}?" if close else f"give a file with lines like {LINES}"
    return NetwrightError(f"the legend {path} cannot be opened ({error.strerror})", fix)


def _lines(path: Path, text: str) -> Iterator[tuple[str, Entry]]:
    first = True
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or (line.lstrip().startswith("#") and not _HEX.match(line.lstrip())):
            continue
        cells = _cells(line)
        if not (first and _is_header(cells)):
            yield f"line {number}", _entry(f"{path}, line {number}", line.strip(), cells)
        first = False


def _cells(line: str) -> list[str]:
    """At commas, semicolons, tabs or colons; or else at spaces, where all that is no number is one name."""
    if re.search(r"[,;\t:]", line):
        parts = [cell for part in re.split(r"[,;\t:]", line) if (cell := part.strip().strip('"').strip())]
        return [cell for part in parts for cell in (part.split() if _NUMBERS.fullmatch(part) else [part])]
    words = line.split()
    left, right = 0, len(words)
    while left < right - 1 and (_number(words[left]) is not None or _hex(words[left])):
        left += 1
    while right > left + 1 and (_number(words[right - 1]) is not None or _hex(words[right - 1])):
        right -= 1
    if len(words) - right < 3 and not _hex(words[-1]):  # `0 class 1`, `class 1`
        right = len(words)
    return [*words[:left], " ".join(words[left:right]), *words[right:]]


def _is_header(cells: Sequence[str]) -> bool:
    words = [cell.casefold() for cell in cells]
    known = ("name", "class", "label", "id", "r", "g", "b", "red", "index", "number", "class_name", *_COLOURS)
    return (
        len(words) > 1
        and all(_number(word) is None and not _HEX.fullmatch(word) for word in words)
        and (any(word in known for word in words))
    )


def _entry(where: str, line: str, cells: Sequence[str]) -> Entry:
    numbers = [value for cell in cells if (value := _number(cell)) is not None]
    texts = [cell for cell in cells if _number(cell) is None]
    colours = [colour for cell in texts if (colour := _hex(cell)) is not None]
    texts = [cell for cell in texts if _hex(cell) is None]
    if not texts and len(numbers) == 2:  # `1,1`: a class that is called by a number
        texts, numbers = [cells[1]], numbers[:1]
    if not texts or len(numbers) not in (0, 1, 3, 4) or (colours and len(numbers) > 1):
        raise NetwrightError(f"{where}: '{line:.60}' is no class of a legend", f"write {LINES}")
    if len(numbers) >= 3:
        first = len(numbers) - 3
        red, green, blue = numbers[first : first + 3]
        colours, numbers = [(red, green, blue)], numbers[:first]
    return _checked_entry(where, texts[0], numbers[0] if numbers else None, colours[0] if colours else None)


def _checked_entry(where: str, name: str, number: int | None, colour: Colour | None) -> Entry:
    if not name:
        raise NetwrightError(f"{where}: a class without a name", f"write {LINES}")
    if colour is not None and not all(0 <= value <= 255 for value in colour):
        raise NetwrightError(f"{where}: the colour {colour} of '{name}'", "write red, green and blue from 0 to 255")
    if number is not None and not 0 <= number <= 65_535:
        raise NetwrightError(f"{where}: the number {number} of '{name}'", "write the number that masks have, from 0")
    return Entry(name, number, colour)


def _number(word: str) -> int | None:
    return int(word) if re.fullmatch(r"[+-]?\d{1,9}", word) else None


def _hex(word: str) -> Colour | None:
    match = _HEX.fullmatch(word) if word.startswith("#") else None
    if match is None:
        return None
    red, green, blue = bytes.fromhex(match[1])
    return red, green, blue


def _json(path: Path, text: str) -> Iterator[tuple[str, Entry]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NetwrightError(f"{path} is no JSON ({error})", 'write {"road": [128, 64, 128], …}') from None
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        content = content["labels"]
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if pairs is None:
        raise NetwrightError(f"{path} is {type(content).__name__}, no legend", 'write {"road": [128, 64, 128], …}')
    for key, value in pairs:
        place = f"entry {key + 1}" if isinstance(key, int) else f"'{key}'"
        yield place, _json_entry(f"{path}, {place}", key, value)


def _json_entry(where: str, key: str | int, value: Any) -> Entry:
    if isinstance(value, dict):
        fields = {str(name).casefold(): part for name, part in value.items()}
        name = next((fields[word] for word in ("name", "class", "label") if word in fields), key)
        number = next((fields[word] for word in ("id", "number", "index", "value") if word in fields), None)
        colour = next((fields[word] for word in _COLOURS if word in fields), None)
        return _checked_entry(where, str(name), _whole(where, number), _colour(where, colour))
    if isinstance(key, int):
        return _checked_entry(where, str(value), key, None)
    if isinstance(value, str) and _hex(value) is None:
        return _checked_entry(where, value, _whole(where, key), None)
    if isinstance(value, int) and not isinstance(value, bool):
        return _checked_entry(where, key, value, None)
    return _checked_entry(where, key, None, _colour(where, value))


def _whole(where: str, value: Any) -> int | None:
    number = _number(str(value)) if value is not None else None
    if value is not None and number is None:
        raise NetwrightError(f"{where}: the number {value!r}", "write a whole number")
    return number


def _colour(where: str, value: Any) -> Colour | None:
    if value is None:
        return None
    if isinstance(value, str) and (colour := _hex(value)):
        return colour
    if isinstance(value, list) and len(value) == 3 and all(isinstance(part, int) for part in value):
        return value[0], value[1], value[2]
    raise NetwrightError(f"{where}: {value!r} is no colour", 'write [red, green, blue] from 0 to 255, or "#804080"')
