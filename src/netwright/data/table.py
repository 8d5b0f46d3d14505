"""A table of pictures, one row each: path, label and perhaps split, as CSV, JSON lines or Parquet."""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from posixpath import normpath

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, nearest, unknown
from netwright.data import folder
from netwright.data._rows import ENDINGS, HEADER, Cell, Columns, Row, read, refused
from netwright.data.assign import SPLITS
from netwright.data.listing import NOBODY, TRAINS, Files, For, Listing, numbered

METADATA = "metadata"
SEPARATORS = "|;"
_SHOWN, _LOOKED_AT = 3, 10_000
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def is_table(path: Path) -> bool:
    """Whether a file's name says that it is a table."""
    return path.suffix.lower() in ENDINGS


def table_in(root: Path) -> Path | None:
    """A folder's table, metadata.csv, .jsonl or .parquet as with Hugging Face, or None."""
    return next((path for ending in ENDINGS if (path := root / f"{METADATA}{ending}").is_file()), None)


def listing(source: str, purpose: For = "train") -> Listing:
    """The pictures that a table names. Paths are relative to the table's folder, or absolute.

    Args:
        source: the table, or a folder with its metadata.csv, .jsonl or .parquet.
        purpose: without "train", rows for train may be missing, and so may classes.

    Raises:
        NetwrightError: with the row that cannot be used, and what to change.
    """
    given = Path(source).expanduser()
    path = (table_in(given) if given.is_dir() else None) or given
    columns, rows = read(path)
    table = _gathered(path, rows)
    _check_sides(table, purpose)
    classes, meanings, notes = _classes(table)
    table, more = _without_repeats(table, classes, meanings)
    _check_files(table)
    labels = meanings[table.codes]
    if purpose == "train":
        _check_classes(table, classes, labels)
    root = path.parent
    name = folder.titled(root) if path.stem == METADATA else path.stem
    notes = (*_unused(columns), *notes, *more)
    return Listing(name, str(root), classes, Files(root, table.names), labels, table.sides, notes)


@dataclass(frozen=True, eq=False)
class _Table:
    """A table's columns: names of the pictures, places of their labels in `cells`, sides, and row numbers."""

    path: Path
    names: list[str]
    cells: list[Cell]
    codes: NDArray[np.int32]
    sides: NDArray[np.int8]
    numbers: NDArray[np.int32]

    def row(self, place: int, problem: str, fix: str) -> NetwrightError:
        """The error for one picture."""
        return refused(self.path, int(self.numbers[place]), problem, fix)


def _gathered(path: Path, rows: Iterable[Row]) -> _Table:
    names, cells = list[str](), dict[Cell, int]()
    codes, sides, numbers = array("i"), array("b"), array("i")
    for row in rows:
        if not row.path:
            raise refused(path, row.number, "no path", "name a picture, or remove the row")
        names.append(relative_name(row.path, path.parent))
        codes.append(cells.setdefault(row.label, len(cells)))
        sides.append(_side(path, row))
        numbers.append(row.number)
    if not names:
        raise NetwrightError(f"{path} has a header and no rows", f"write a row for each picture below {HEADER}")
    return _Table(path, names, list(cells), np.array(codes), np.array(sides), np.array(numbers))


def relative_name(written: str, root: Path) -> str:
    """A picture's path below the root, or an absolute one; with Windows' separators or ours."""
    name = normpath(written.replace("\\", "/"))
    path = Path(name) if name.startswith("/") or name[1:2] == ":" else None
    return path.relative_to(root).as_posix() if path and path.is_relative_to(root) else name


def _side(path: Path, row: Row) -> int:
    if not row.side:
        return NOBODY
    side = folder.SIDES.get(row.side.casefold())
    if side is None:
        error = unknown("split", row.side, folder.SIDES)
        raise refused(path, row.number, error.problem, error.fix)
    return SPLITS.index(side)


def _check_sides(table: _Table, purpose: For) -> None:
    """Who gives sides gives them all, except that val may be left to us: it is then taken from the rows without one."""
    said = table.sides != NOBODY
    if purpose in TRAINS and said.all() and SPLITS.index("train") not in table.sides:
        raise NetwrightError(f"{table.path} has no row for train", "write train in the split column of some rows")
    if not said.all() and SPLITS.index("val") in table.sides:
        count = int((~said).sum())
        fix = f"fill in the split of these {count} rows; cells may only be empty where no row says val"
        raise table.row(int(np.argmin(said)), "no split, although others are for val", fix)


def _classes(table: _Table) -> tuple[tuple[str, ...], NDArray[np.int64], list[str]]:
    """Class names; for each different cell the class number, or K of 0 and 1; and how cells were understood."""
    mark = _separator(table)
    if not mark and not any(isinstance(cell, tuple) for cell in table.cells):
        classes = _ordered(str(cell) for cell in table.cells)
        if "" in table.cells:
            place = int(np.argmax(table.codes == table.cells.index("")))
            raise table.row(place, "no label", "write its class, or remove the row")
        return classes, numbered(table.cells, classes), []
    parts = [list(_parts(cell, mark)) for cell in table.cells]
    classes = _ordered(name for cell in parts for name in cell)
    meanings = np.zeros((len(parts), len(classes)), np.int64)
    for row, cell in zip(meanings, parts, strict=True):
        row[numbered(cell, classes)] = 1
    how = f"cells are cut at '{mark}' (rename classes that have it in their names)" if mark else "cells are lists"
    return classes, meanings, [f"several labels a picture: {how}"]


def _separator(table: _Table) -> str:
    """What stands between the labels of one picture that has several; empty where no label has such a mark."""
    found = [mark for mark in SEPARATORS if any(isinstance(cell, str) and mark in cell for cell in table.cells)]
    if len(found) > 1:
        fix = "put one of them between labels, and rename the classes that have the other in their names"
        raise NetwrightError(f"labels in {table.path} have both '|' and ';' in them", fix)
    return found[0] if found else ""


def _parts(cell: Cell, mark: str) -> Iterator[str]:
    for text in [cell] if isinstance(cell, str) else cell:
        yield from (part.strip() for part in (text.split(mark) if mark else [text]) if part.strip())


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted, numbers by their value."""
    names = sorted(set(names))
    if all(_NUMBER.fullmatch(name) for name in names):
        names.sort(key=float)
    return tuple(names)


def _without_repeats(
    table: _Table, classes: Sequence[str], meanings: NDArray[np.int64]
) -> tuple[_Table, tuple[str, ...]]:
    """The table without rows that say again what another row says.

    Raises:
        NetwrightError: two rows say different things of one picture.
    """
    first, keep, conflicts = dict[str, int](), np.ones(len(table.names), bool), list[tuple[int, int]]()
    for place in _suspects(table.names):
        before = first.setdefault(table.names[place], place)
        if before == place:
            continue
        same = (meanings[table.codes[before]] == meanings[table.codes[place]]).all()
        keep[place] = False
        if not same or table.sides[before] != table.sides[place]:
            conflicts.append((before, place))
    if conflicts:
        raise _conflicting(table, conflicts)
    if keep.all():
        return table, ()
    names = [name for name, kept in zip(table.names, keep, strict=True) if kept]
    kept = replace(table, names=names, codes=table.codes[keep], sides=table.sides[keep], numbers=table.numbers[keep])
    return kept, (f"left out {int((~keep).sum())} rows that repeat another row",)


def _suspects(names: Sequence[str]) -> list[int]:
    """In order, the places of names that share their hash with another: all that occur twice, and hardly one more."""
    hashes = np.fromiter(map(hash, names), np.int64, len(names))
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    return sorted(order[np.append(same, False) | np.insert(same, 0, False)].tolist())


def _conflicting(table: _Table, conflicts: Sequence[tuple[int, int]]) -> NetwrightError:
    def said(place: int) -> str:
        cell, side = table.cells[table.codes[place]], table.sides[place]
        label = cell if isinstance(cell, str) else listed(cell, _SHOWN)
        return f"'{label}'" + (f" for {SPLITS[side]}" if side != NOBODY else "")

    rows = (
        f"{table.names[after]} is {said(before)} in row {table.numbers[before]} "
        f"and {said(after)} in row {table.numbers[after]}"
        for before, after in conflicts
    )
    fix = "keep one row for each picture; several labels of one picture stand in one cell, as cat|dog"
    return NetwrightError(f"{table.path} contradicts itself: {listed(rows, _SHOWN)}", fix)


def _check_files(table: _Table) -> None:
    root = table.path.parent
    missing = [place for place, name in enumerate(table.names) if not _there((root / name).is_file)]
    if not missing:
        return
    name = table.names[missing[0]]
    if _there((root / name).is_dir):
        raise table.row(missing[0], f"{name} is a folder", "name a picture in it")
    rows = listed((f"row {table.numbers[place]}: {table.names[place]}" for place in missing), _SHOWN)
    problem = f"{len(missing)} of the {len(table.names)} pictures in {table.path} are not there: {rows}"
    close = existing(root, name)
    raise NetwrightError(problem, f"paths are relative to {root}" + (f"; did you mean {close}?" if close else ""))


def _there(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a name that no disk takes
        return False


def existing(root: Path, name: str) -> str | None:
    """What may be meant by the name of a picture that is not there: itself one folder deeper, or the nearest."""
    for inner in folder.folders_in(root):
        if _there((inner / name).is_file):
            return f"{inner.name}/{name}"
    parent = next(above for above in (root / name).parents if _there(above.is_dir))
    part = (root / name).relative_to(parent).parts[0]
    close = nearest(part, (entry.name for entry in islice(parent.iterdir(), _LOOKED_AT)))
    return relative_name(str(parent / close), root) if close else None


def _check_classes(table: _Table, classes: Sequence[str], labels: NDArray[np.int64]) -> None:
    if len(classes) < 2:
        problem = f"{table.path} has only one class, '{''.join(classes)}': there is nothing to tell apart"
        raise NetwrightError(problem, "add pictures of another class")
    if NOBODY in table.sides:
        return
    for side in ("val", "test"):
        for label in sorted(_present(labels, table.sides, side) - _present(labels, table.sides, "train")):
            has = labels[:, label] == 1 if labels.ndim == 2 else labels == label
            place = int(np.argmax(has & (table.sides == SPLITS.index(side))))
            problem = f"{side} has the class '{classes[label]}', which train has not"
            raise table.row(place, problem, f"correct the label{_hint(classes, label)}, or add such rows for train")


def _hint(classes: Sequence[str], label: int) -> str:
    close = nearest(classes[label], (name for name in classes if name != classes[label]))
    return f" ('{close}'?)" if close else ""


def _present(labels: NDArray[np.int64], sides: NDArray[np.int8], side: str) -> set[int]:
    """The classes of a side."""
    chosen = labels[sides == SPLITS.index(side)]
    return set((np.flatnonzero(chosen.any(0)) if labels.ndim == 2 else np.unique(chosen)).tolist())


def _unused(columns: Columns) -> tuple[str, ...]:
    return (f"columns not used: {listed(columns.unused, 8)}",) if columns.unused else ()
