"""A table of pictures and masks, one pair a row: path, mask and perhaps instances and split."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data import folder
from netwright.data._rows import (
    ENDINGS,
    LABELS,
    PATHS,
    SIDES,
    cells_below,
    header_of,
    objects_in,
    opened_parquet,
    plain_name,
    readable_table,
    refused,
)
from netwright.data.assign import SPLITS
from netwright.data.extras import optional
from netwright.data.listing import NOBODY
from netwright.data.table import METADATA, existing, is_table, relative_name, table_in

MASKS = (
    "mask", "masks", "mask_path", "mask_file", "mask_name", "segmentation", "seg", "segmentation_path",
    "mask_file_name", "annotation", "annotation_path",
)  # fmt: skip
INSTANCES = ("instances", "instance", "instance_mask", "instances_path", "instance_path")
HEADER = "path,mask or path,mask,split"
_LOOKED_AT = 20  # rows: whether any of them names a file tells what the table is about


class Columns(NamedTuple):
    """Which columns a table's pictures, masks, instances and sides are in, and which are left."""

    path: str
    mask: str | None
    instances: str | None
    side: str | None
    unused: tuple[str, ...]


class Row(NamedTuple):
    """A pair as the table has it; names are relative to the table's folder or absolute, empty where a cell is."""

    number: int
    picture: str
    mask: str
    instances: str
    side: int


def pair_table(path: Path) -> Path | None:
    """The table at a path, or in a folder, if it has a column of masks and none of labels."""
    table = path if path.is_file() and is_table(path) else table_in(path) if path.is_dir() else None
    if table is None:
        return None
    with suppress(NetwrightError, OSError):
        names = {plain_name(name) for name in _columns_of(table)}
        if names & set(PATHS) and names & {*MASKS, *INSTANCES} and not names & set(LABELS):
            return table
    return None


class Beside(NamedTuple):
    """The tables in a folder that has pictures and masks in folders of their own.

    Attributes:
        pairs: one that names pictures and their masks, which goes before the folders' names.
        labels: one that names pictures and their labels: then the pictures are to be classified.
        notes: of the tables that are not used.
    """

    pairs: Path | None
    labels: Path | None
    notes: tuple[str, ...]


def beside(root: Path) -> Beside:
    """The tables in a folder whose rows name pictures in it, metadata before others."""
    kinds: dict[str, list[Path]] = {"pairs": [], "labels": [], "": []}
    entries = (entry for entry in root.iterdir() if entry.suffix.lower() in ENDINGS and entry.name[0] != ".")
    for entry in sorted(entries, key=lambda entry: (entry.stem != METADATA, entry.name)):
        with suppress(NetwrightError, OSError):
            names = {plain_name(name) for name in _columns_of(entry)}
            if names & set(PATHS):
                kinds[_told_in(entry, names)].append(entry)
    pairs, labels = (next(iter(kinds[kind]), None) for kind in ("pairs", "labels"))
    used = pairs or labels
    spare = sorted(each.name for found in kinds.values() for each in found if each != used)
    why = "" if used else ": no row looked at names a picture here together with a mask or a label"
    return Beside(pairs, labels, (f"not used: {listed(spare, 3)}{why}",) if spare else ())


def _told_in(table: Path, names: set[str]) -> str:
    """ "pairs" or "labels", if rows of a table with these columns name files; else ""."""
    kind = "labels" if names & set(LABELS) else "pairs" if names & {*MASKS, *INSTANCES} else ""
    path = next(name for name in _columns_of(table) if plain_name(name) in PATHS)
    cells = (record.get(path) for _, record in islice(_records(table), _LOOKED_AT))
    return kind if any(isinstance(cell, str) and is_file(table.parent / cell.strip()) for cell in cells) else ""


def is_file(path: Path) -> bool:
    """Whether a path is a file; a name that no disk takes is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def rows(path: Path) -> tuple[Columns, Iterator[Row]]:
    """A table's columns, and its rows one by one.

    Raises:
        NetwrightError: it cannot be read; also while rows are read.
    """
    columns = _found(_columns_of(path))
    return columns, _rows(path, columns)


def closest(root: Path, name: str) -> str:
    """What may be meant by a file that is not there, for a fix."""
    close = existing(root, name)
    return f"; did you mean {close}?" if close else ""


def _columns_of(path: Path) -> list[str]:
    with readable_table(path):
        if path.suffix.lower() == ".parquet":
            return [str(name) for name in opened_parquet(_parquet(path), path).schema_arrow.names]
        if path.suffix.lower() in (".jsonl", ".ndjson"):
            return next((list(map(str, record)) for _, record in objects_in(path)), [])
        return header_of(path)[1]


def _parquet(path: Path) -> Any:
    return optional("pyarrow.parquet", "'netwright[parquet]'", f"reading {path.name}")


def _found(header: Sequence[str]) -> Columns:
    names = {plain_name(name): name for name in header}
    path, mask, instances, side = (
        next((names[known] for known in kind if known in names), None) for kind in (PATHS, MASKS, INSTANCES, SIDES)
    )
    used = (path, mask, instances, side)
    return Columns(path or "", mask, instances, side, tuple(name for name in header if name not in used))


def _rows(path: Path, columns: Columns) -> Iterator[Row]:
    for number, record in _records(path):
        picture, mask, instances = (
            _file(path, number, record.get(name)) if name else ""
            for name in (columns.path, columns.mask, columns.instances)
        )
        if not picture:
            raise refused(path, number, "no path", "name a picture, or remove the row")
        yield Row(number, picture, mask, instances, _side(path, number, record.get(columns.side or "")))


def _records(path: Path) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    ending = path.suffix.lower()
    if ending in (".jsonl", ".ndjson"):
        yield from objects_in(path)
    elif ending == ".parquet":
        with opened_parquet(_parquet(path), path) as file:
            yield from enumerate((row for batch in file.iter_batches() for row in batch.to_pylist()), 1)
    else:
        yield from _csv(path)


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    delimiter, header = header_of(path)
    for number, row in cells_below(path, delimiter, header):
        yield number, dict(zip(header, row, strict=True))


def _file(path: Path, number: int, cell: Any) -> str:
    if cell is not None and not isinstance(cell, str):
        raise refused(path, number, f"{cell!r} is not the name of a file", "write text")
    return relative_name(cell.strip(), path.parent) if cell and cell.strip() else ""


def _side(path: Path, number: int, cell: Any) -> int:
    text = str(cell or "").strip()
    if not text:
        return NOBODY
    side = folder.SIDES.get(text.casefold())
    if side is None:
        error = unknown("split", text, folder.SIDES)
        raise refused(path, number, error.problem, error.fix)
    return SPLITS.index(side)


def unused(columns: Columns) -> tuple[str, ...]:
    """What to tell of columns that nobody reads."""
    return (f"columns not used: {listed(columns.unused, 8)}",) if columns.unused else ()
