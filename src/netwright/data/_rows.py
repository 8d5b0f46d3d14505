"""The rows of a table of pictures, from CSV, JSON lines or Parquet: its columns are found, its rows read one by one."""

import csv
import json
import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from netwright.core.errors import NetwrightError, listed, nearest
from netwright.data.extras import optional
from netwright.data.files import EXTENSIONS

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PATHS = (
    "path", "file_name", "filename", "file", "file_path", "filepath", "image", "image_path", "image_file", "img",
    "img_path", "picture",
)  # fmt: skip
LABELS = ("label", "labels", "class", "classes", "class_name", "category", "categories", "target", "targets", "tags")
SIDES = ("split", "subset", "set", "fold", "partition", "side")
HEADER = "path,label or path,label,split"
_DELIMITERS = ",;\t"
_BATCH = 8192

Cell = str | tuple[str, ...]


class Row(NamedTuple):
    """A picture as the table has it.

    Attributes:
        number: counted from 1; the header of a CSV file is row 1.
        path: as it is written.
        label: one text, or those of a list.
        side: as it is written, empty where it is not.
    """

    number: int
    path: str
    label: Cell
    side: str


class Columns(NamedTuple):
    """Which columns a table's pictures, labels and sides are in, and which are left."""

    path: str
    label: str
    side: str | None
    unused: tuple[str, ...]


def read(path: Path) -> tuple[Columns, Iterator[Row]]:
    """A table's columns, and its rows as they are read.

    Raises:
        NetwrightError: not such a table; also while the rows are read.
    """
    ending = path.suffix.lower()
    with readable_table(path):
        if ending == ".parquet":
            return _parquet(path)
        if ending in (".jsonl", ".ndjson"):
            columns = _columns(path, next((list(record) for _, record in objects_in(path)), []))
            return columns, _json_rows(path, columns)
        delimiter, header = header_of(path)
        columns = _columns(path, header)
        return columns, _csv_rows(path, delimiter, header, columns)


def refused(path: Path, number: int, problem: str, fix: str) -> NetwrightError:
    """The error for one row of a table."""
    return NetwrightError(f"{path}, row {number}: {problem}", fix)


@contextmanager
def readable_table(path: Path) -> Generator[None]:
    """Turns what reading a table raises into what a user can mend."""
    try:
        yield
    except OSError as error:
        raise NetwrightError(f"{path} cannot be opened ({error.strerror or error})", "check the path") from None
    except UnicodeDecodeError:
        fix = "save it as UTF-8 (spreadsheets call that 'CSV UTF-8')"
        raise NetwrightError(f"{path} is not written in UTF-8", fix) from None
    except csv.Error as error:
        raise NetwrightError(f"{path} is not a table that can be read ({error})", "check its quotes") from None


def header_of(path: Path) -> tuple[str, list[str]]:
    """The delimiter that finds most of the columns we look for, or else most columns; and the first row."""
    headers: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        with path.open(encoding="utf-8-sig", newline="") as file:
            headers[delimiter] = next((row for row in csv.reader(file, delimiter=delimiter) if row), [])
    known = {*PATHS, *LABELS, *SIDES}
    best = max(headers, key=lambda mark: (sum(plain_name(name) in known for name in headers[mark]), len(headers[mark])))
    return best, headers[best]


def _csv_rows(path: Path, delimiter: str, header: Sequence[str], columns: Columns) -> Iterator[Row]:
    place, label = header.index(columns.path), header.index(columns.label)
    side = header.index(columns.side) if columns.side else None
    for number, row in cells_below(path, delimiter, header):
        yield Row(number, row[place].strip(), row[label].strip(), "" if side is None else row[side].strip())


def cells_below(path: Path, delimiter: str, header: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows below a header, each with its number; empty ones are passed over.

    Raises:
        NetwrightError: a row has more or fewer cells than the header.
    """
    with readable_table(path), path.open(encoding="utf-8-sig", newline="") as file:
        rows = (
            (number, row) for number, row in enumerate(csv.reader(file, delimiter=delimiter, strict=True), 1) if row
        )
        next(rows)
        for number, row in rows:
            if len(row) != len(header):
                fix = f"put text with '{delimiter}' in it in double quotes"
                raise refused(path, number, f"{len(row)} cells, but the header has {len(header)}", fix)
            yield number, row


def _json_rows(path: Path, columns: Columns) -> Iterator[Row]:
    for number, record in objects_in(path):
        yield _row(path, number, *(record.get(name) for name in (columns.path, columns.label, columns.side)))


def objects_in(path: Path) -> Iterator[tuple[int, dict[Any, Any]]]:
    """The objects of JSON lines, each with the number of its line."""
    with readable_table(path), path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise refused(path, number, f"no JSON ({error})", "write one object a line") from None
            if not isinstance(record, dict):
                raise refused(path, number, "not a JSON object", 'write {"path": "cat/1.jpg", "label": "cat"}')
            yield number, record


def _parquet(path: Path) -> tuple[Columns, Iterator[Row]]:
    parquet = optional("pyarrow.parquet", "'netwright[parquet]'", f"reading {path.name}")
    schema = opened_parquet(parquet, path).schema_arrow
    types = {str(name): str(kind) for name, kind in zip(schema.names, schema.types, strict=True)}
    inside = [name for name, kind in types.items() if kind.startswith(("struct<bytes", "binary", "large_binary"))]
    known = [name for name in types if name not in inside]
    if inside and not any(plain_name(name) in PATHS for name in known):
        fix = f"read its folder as a data set of the Hugging Face hub: hf:{path.parent}"
        raise NetwrightError(f"{path} has pictures inside, in its column '{inside[0]}', not paths", fix)
    columns = _columns(path, known)
    return columns, _parquet_rows(parquet, path, columns)


def _parquet_rows(parquet: Any, path: Path, columns: Columns) -> Iterator[Row]:
    wanted = [columns.path, columns.label, *([columns.side] if columns.side else [])]
    number = 0
    with opened_parquet(parquet, path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            cells = batch.to_pydict()
            for values in zip(*(cells[name] for name in wanted), strict=True):
                number += 1
                yield _row(path, number, *values)


def opened_parquet(parquet: Any, path: Path) -> Any:
    """A Parquet file; `parquet` is pyarrow's module."""
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise NetwrightError(f"{path} is not a Parquet file that can be read ({error})", "write it again") from None


def _row(path: Path, number: int, place: object, label: object, side: object = None) -> Row:
    cell = tuple(map(_text, label)) if isinstance(label, list) else _text(label)
    if not isinstance(place, str | None):
        raise refused(path, number, f"the path {place!r} is not text", "write the name of a file")
    if isinstance(label, dict | bytes):
        raise refused(path, number, "the label is neither text nor a number", "write the name of the class")
    return Row(number, (place or "").strip(), cell, _text(side))


def _text(value: object) -> str:
    """A label as text; a whole number that was stored as a float (1.0) is the whole number."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _columns(path: Path, header: Sequence[str]) -> Columns:
    if not header:
        raise NetwrightError(f"{path} is empty", f"write a table with the header {HEADER}")
    if any(name.lower().endswith(EXTENSIONS) for name in header):
        raise NetwrightError(f"{path} has no header: it starts with {listed(header, 4)}", f"put it on top: {HEADER}")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise NetwrightError(f"{path} has the column '{twice[0]}' more than once", "rename one of them")
    names = {plain_name(name): name for name in header}
    place, label, side = (next((names[known] for known in kind if known in names), None) for kind in _KINDS)
    if place is None:
        raise _no_column(path, header, "the pictures' paths", PATHS)
    if label is None:
        raise _no_column(path, [name for name in header if name != place], "labels", LABELS)
    return Columns(place, label, side, tuple(name for name in header if name not in (place, label, side)))


_KINDS = (PATHS, LABELS, SIDES)


def _no_column(path: Path, header: Sequence[str], what: str, names: Sequence[str]) -> NetwrightError:
    close = next((name for name in header if nearest(plain_name(name), names)), None)
    rename = f"rename '{close}' to '{nearest(plain_name(close), names)}'" if close else f"name one '{names[0]}'"
    problem = f"{path} has no column for {what}; its columns are {listed(header, 8) or 'no others'}"
    return NetwrightError(problem, f"{rename}; a table starts with {HEADER}")


def plain_name(name: str) -> str:
    """A column's name as it is looked up."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")
