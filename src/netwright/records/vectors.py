"""Vectors of pictures in one file that says what made them: Parquet, or `.npz` where pyarrow is not there."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from netwright.core.document import parsed
from netwright.core.errors import NetwrightError, listed, nearest, unknown
from netwright.records.atomic import write_atomic

FORMAT = 1
KEY = b"netwright"  # of our part of a Parquet file's metadata
ENDINGS = (".parquet", ".npz")
TEXTS = ("name", "split", "label", "id")
HARMLESS, RATIO = 64_000_000, 200  # bytes that need no comparison, and bytes for each of the file where there are more
LONGEST = 4096  # characters of a name, a label or an id
SEPARATORS = ("|", ";", "\x1f")
MAKE = "make it: netwright embed MODEL PATH -o vectors.parquet"
FOUND = "the file is damaged or forged: get it again, or make it anew with `netwright embed`"

Matrix = NDArray[np.float32]
# zipfile raises NotImplementedError for what it cannot unpack.
DAMAGED = (OSError, ValueError, EOFError, KeyError, AttributeError, NotImplementedError, MemoryError)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Pictures as vectors, in rows.

    Attributes:
        names: what each picture is called; different from one another.
        matrix: float32, N D.
        splits: `train`, `val`, `test`, or empty where nobody says.
        labels: each picture's class, empty where nobody says; several, with `separator` between them.
        ids: the digest of each picture's content, or empty.
        meta: what made them: `model`, `weights`, `digest`, `stage`, `pool`, `preprocess`, `precision`, `data`,
            `classes`, `netwright`, and `separator` where pictures have several labels. Empty for others' files.
    """

    names: Sequence[str]
    matrix: Matrix
    splits: Sequence[str]
    labels: Sequence[str]
    ids: Sequence[str]
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self.matrix.shape[1]

    @property
    def several(self) -> bool:
        """Whether a picture may have several labels."""
        return bool(self.meta.get("separator"))

    def chosen(self, places: Sequence[int] | NDArray[np.intp]) -> "Vectors":
        """Some of them, in this order."""
        rows = np.asarray(places, np.intp)
        texts = ([column[int(row)] for row in rows] for column in (self.names, self.splits, self.labels, self.ids))
        names, splits, labels, ids = texts
        return Vectors(names, self.matrix[rows], splits, labels, ids, self.meta)

    def having(self, *splits: str) -> NDArray[np.intp]:
        """Places of the pictures in these splits."""
        return np.flatnonzero(np.isin(np.array(self.splits, object), splits))

    def digest(self) -> str:
        """SHA-256 of the numbers."""
        return sha256(str(self.matrix.shape).encode() + np.ascontiguousarray(self.matrix).tobytes()).hexdigest()


def separator_for(classes: Sequence[str]) -> str:
    """What stands between the labels of one picture: a mark that no class has in its name."""
    return next((mark for mark in SEPARATORS if not any(mark in name for name in classes)), SEPARATORS[-1])


def write_vectors(path: Path, vectors: Vectors) -> None:
    """Write vectors, as the file's ending says.

    Raises:
        NetwrightError: another ending, no pyarrow for Parquet, no pictures, or the disk refuses.
    """
    check_ending(path)
    if not len(vectors):
        raise NetwrightError("there are no vectors to write", "give at least one picture")
    texts = {name: [_text(value) for value in column] for name, column in _columns(vectors).items()}
    meta = {"format": FORMAT, "dimension": vectors.dimension, **vectors.meta}
    document = json.dumps(meta, ensure_ascii=True, allow_nan=False)
    make = _as_parquet if path.suffix.lower() == ".parquet" else _as_npz
    write_atomic(path, make(texts, np.ascontiguousarray(vectors.matrix, np.float32), document))


def check_ending(path: Path) -> None:
    """Refuse a name whose ending is no format, and Parquet without pyarrow, before anything is computed.

    Raises:
        NetwrightError: the message says what will do.
    """
    if path.suffix.lower() not in ENDINGS:
        close = nearest(path.suffix, ENDINGS)
        hint = f"did you mean {path.with_suffix(close)}? " if close else ""
        raise NetwrightError(f"cannot tell the format of '{path}'", f"{hint}vectors are kept as .parquet or .npz")
    if path.suffix.lower() == ".parquet":
        _pyarrow(path)


def read_vectors(path: Path) -> Vectors:
    """Vectors from a file: ours, or anybody's Parquet with the columns `name` and `vector`.

    Raises:
        NetwrightError: no such file, a damaged or forged one, one of a newer format, or one without vectors.
    """
    if not path.is_file():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        close = nearest(path.name, beside)
        fix = (
            f"did you mean {path.parent / close}?"
            if close
            else "make it: netwright embed MODEL PATH -o vectors.parquet"
        )
        raise NetwrightError(f"there is no file of vectors {path}", fix)
    check_ending(path)
    if path.stat().st_size == 0:
        raise NetwrightError(f"{path} is empty", MAKE)
    texts, matrix, document = (_from_parquet if path.suffix.lower() == ".parquet" else _from_npz)(path)
    meta = _meta(path, document)
    _check(path, texts, matrix, meta)
    names = texts["name"]
    empty = [""] * len(names)
    splits, labels, ids = (texts.get(name, empty) for name in TEXTS[1:])
    return Vectors(names, matrix, splits, labels, ids, meta)


def _columns(vectors: Vectors) -> dict[str, Sequence[str]]:
    return dict(zip(TEXTS, (vectors.names, vectors.splits, vectors.labels, vectors.ids), strict=True))


def _text(value: str) -> str:
    # A file name that is not UTF-8 reaches us as lone surrogates, which no Parquet file can hold.
    return value.encode("utf-8", "backslashreplace").decode()


def _as_npz(texts: Mapping[str, list[str]], matrix: Matrix, document: str) -> bytes:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.array(column, np.str_) for name, column in texts.items()}
    np.savez(buffer, **arrays, vector=matrix, meta=np.array(document))
    return buffer.getvalue()


def _as_parquet(texts: Mapping[str, list[str]], matrix: Matrix, document: str) -> bytes:
    arrow, parquet = _pyarrow(Path("vectors.parquet"))
    vector = arrow.FixedSizeListArray.from_arrays(arrow.array(matrix.ravel()), matrix.shape[1])
    columns = {name: arrow.array(column, arrow.string()) for name, column in texts.items()}
    table = arrow.table({**columns, "vector": vector}).replace_schema_metadata({KEY: document.encode()})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _from_npz(path: Path) -> tuple[dict[str, list[str]], Matrix, str | None]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            _refuse_larger(path, sum(member.file_size for member in file.zip.infolist()))
            _refuse_without(path, file.files)
            arrays = {name: file[name] for name in (*TEXTS, "vector", "meta") if name in file.files}
    except NetwrightError:
        raise
    except (*DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, error) from None
    texts = {name: arrays[name] for name in TEXTS if name in arrays}
    for name, column in texts.items():
        if column.ndim != 1 or column.dtype.kind != "U":
            _wrong(path, f"its '{name}' is {_kind(column)}, not a text for each picture")
    document = arrays.get("meta")
    if document is not None and (document.ndim or document.dtype.kind != "U"):
        _wrong(path, "its 'meta' is no text")
    matrix = arrays["vector"]
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        _wrong(path, f"its 'vector' is {_kind(matrix)}, not numbers in N rows")
    held = {name: [str(value) for value in column] for name, column in texts.items()}
    return held, _floats(matrix), None if document is None else str(document)


def _kind(array: NDArray[Any]) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _from_parquet(path: Path) -> tuple[dict[str, list[str]], Matrix, str | None]:
    arrow, parquet = _pyarrow(path)
    try:
        with parquet.ParquetFile(path) as file:
            schema, facts = file.schema_arrow, file.metadata
        _refuse_without(path, schema.names)
        _check_types(arrow, path, schema)
        groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
        chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
        _refuse_larger(path, sum(max(4 * chunk.num_values, chunk.total_uncompressed_size) for chunk in chunks))
        known = [name for name in TEXTS if name in schema.names]
        with parquet.ParquetFile(path, read_dictionary=known) as file:
            table = file.read(columns=[*known, "vector"])
        texts = {name: _words(path, name, table.column(name)) for name in known}
        matrix = _rows(arrow, path, table.column("vector"))
        document = (schema.metadata or {}).get(KEY)
        return texts, matrix, None if document is None else document.decode()
    except (*DAMAGED, arrow.ArrowException) as error:
        raise _unreadable(path, error) from None


def _check_types(arrow: Any, path: Path, schema: Any) -> None:
    kind = schema.field("vector").type
    lists = arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind)
    if not lists or not arrow.types.is_floating(kind.value_type):
        _wrong(path, f"its 'vector' has type {kind}, not lists of numbers")
    for name in TEXTS:
        if name in schema.names:
            kind = schema.field(name).type
            kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
            if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
                _wrong(path, f"its '{name}' has type {kind}, not text")


def _words(path: Path, name: str, column: Any) -> list[str]:
    """A column of text. Equal texts are one object, however often a forged file repeats a long one."""
    words: list[str] = []
    for chunk in column.chunks:
        encoded = chunk if hasattr(chunk, "dictionary") else chunk.dictionary_encode()
        known = ["" if value is None else value for value in encoded.dictionary.to_pylist()]
        if any(len(value) > LONGEST for value in known):
            _wrong(path, f"a {name} has more than {LONGEST} characters")
        words += ["" if place is None else known[place] for place in encoded.indices.to_pylist()]
    return words


def _rows(arrow: Any, path: Path, column: Any) -> Matrix:
    """Lists of equal lengths as a matrix. N D."""
    if column.null_count:
        _wrong(path, f"{column.null_count} of its vectors are missing")
    if not len(column):
        return np.zeros((0, 0), np.float32)
    lists = column.combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, arrow.ChunkedArray) else lists
    values = lists.flatten()
    dimension, rest = divmod(len(values), len(lists))
    fixed = arrow.types.is_fixed_size_list(lists.type)
    alike = fixed or bool((np.diff(lists.offsets.to_numpy(zero_copy_only=False)) == dimension).all())
    if rest or not alike:
        _wrong(path, "its vectors have different lengths")
    if values.null_count:
        _wrong(path, "some of its vectors lack numbers")
    return _floats(values.to_numpy(zero_copy_only=False).reshape(len(lists), dimension))


def _floats(matrix: NDArray[Any]) -> Matrix:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
        return np.ascontiguousarray(matrix, np.float32)


def _check(path: Path, texts: Mapping[str, list[str]], matrix: Matrix, meta: Mapping[str, Any]) -> None:
    if not len(matrix) or not matrix.shape[1]:
        raise NetwrightError(f"{path} holds no vectors", MAKE)
    for name, column in texts.items():
        if len(column) != len(matrix):
            _wrong(path, f"it has {len(column)} of '{name}' for {len(matrix)} vectors")
        if any(len(value) > LONGEST for value in column):
            _wrong(path, f"a {name} has more than {LONGEST} characters")
    bad = ~np.isfinite(matrix).all(1)
    if bad.any():
        names = [texts["name"][row] for row in np.flatnonzero(bad)[:3].tolist()]
        problem = f"{int(bad.sum())} of the vectors in {path} are not numbers ({listed(names)})"
        raise NetwrightError(problem, "make them anew; where that repeats itself, the network gives NaN for them")
    if len(set(texts["name"])) < len(matrix):
        seen: set[str] = set()
        twice = next(name for name in texts["name"] if name in seen or seen.add(name))
        raise NetwrightError(f"{path} has the name '{twice:.80}' more than once", "give each picture its own name")
    if "dimension" in meta and meta["dimension"] != matrix.shape[1]:
        _wrong(path, f"it says {meta['dimension']!r} numbers a vector, and has {matrix.shape[1]}")


def _meta(path: Path, document: str | None) -> dict[str, Any]:
    """What the file says of itself, whose types are checked where it is used: nothing for others' files."""
    if document is None:
        return {}
    try:
        meta = parsed(document)
        version = meta["format"]
        if type(version) is not int or not isinstance(meta.get("separator", ""), str):
            raise ValueError("no format")
    except (ValueError, KeyError, TypeError):
        _wrong(path, "what it says of itself cannot be read")
    if version > FORMAT:
        raise NetwrightError(f"{path} has format {version}; this netwright reads up to {FORMAT}", "update netwright")
    return meta


def _refuse_without(path: Path, names: Sequence[str]) -> None:
    for wanted in ("vector", "name"):
        if wanted not in names:
            error = unknown("column", wanted, names)
            fix = f"it has {listed(names) or 'none'}; vectors have at least 'name' and 'vector'"
            raise NetwrightError(f"{path} has no column '{wanted}'", fix) from error


def _refuse_larger(path: Path, size: int) -> None:
    if size > max(HARMLESS, RATIO * path.stat().st_size):
        _wrong(path, f"it would unpack to {size // 1_000_000} MB, {RATIO} times its size or more")


def _unreadable(path: Path, error: Exception) -> NetwrightError:
    reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0]
    return NetwrightError(f"{path} cannot be read ({reason[:120]})", FOUND)


def _wrong(path: Path, what: str) -> NoReturn:
    raise NetwrightError(f"{path} cannot be used: {what}", FOUND)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        fix = f"pip install 'netwright[parquet]', or use {path.with_suffix('.npz').name}, which needs nothing"
        raise NetwrightError(f"Parquet needs pyarrow, which cannot be imported ({error})", fix) from None
    return pyarrow, parquet
