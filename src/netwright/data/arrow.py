"""Labels from a column of an Arrow table: numbers, words or lists of them as class numbers, without a Python loop."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.data.extras import optional
from netwright.data.listing import counted

PURPOSE = "a table of labels"


def missing(column: Any) -> NDArray[np.bool_]:
    """Which rows of a column have no label: null, or a number below 0."""
    arrow, compute = _arrow()
    absent = compute.is_null(column)
    if arrow.types.is_integer(column.type):
        absent = compute.or_(absent, compute.fill_null(compute.less(column, 0), True))
    return np.asarray(absent, bool)


def class_numbers(column: Any, names: Sequence[str] | None, what: str) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Class names and the class number of each row; of a column of lists, 1 for every class in a row's list, N K.

    Args:
        column: an Arrow array without missing labels: whole numbers, truth values, words, or lists of words or, where
            `names` says what they mean, of numbers.
        names: the classes by number; by default the numbers as words, or the different words by their alphabet.
        what: what to call the column.

    Raises:
        NetwrightError: labels of another type, or numbers past the last class.
    """
    arrow, compute = _arrow()
    if not _is_list(arrow, column.type):
        return _numbered(arrow, compute, column, names, what)
    rows = column.combine_chunks() if isinstance(column, arrow.ChunkedArray) else column
    values = compute.list_flatten(rows)
    if names is None and not _is_words(arrow, values.type):
        problem = f"{what} holds lists of {values.type}, which may be class numbers or one place for each class"
        raise NetwrightError(problem, "cast it to List(ClassLabel(names=[…])), or give lists of words")
    classes, numbers = _numbered(arrow, compute, values, names, what)
    labels = np.zeros((len(rows), len(classes)), np.int64)
    labels[compute.list_parent_indices(rows).to_numpy(), numbers] = 1
    return classes, labels


def _numbered(
    arrow: Any, compute: Any, values: Any, names: Sequence[str] | None, what: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    if _is_words(arrow, values.type):
        classes = tuple(names or sorted(compute.unique(values).to_pylist()))
        values = compute.index_in(values, value_set=arrow.array(classes, values.type))
    elif arrow.types.is_boolean(values.type):
        classes, values = ("false", "true"), compute.cast(values, "int8")
    elif arrow.types.is_integer(values.type):
        classes = tuple(names) if names else counted(compute.max(values).as_py() or 0, len(values), what)
    else:
        fix = "give class numbers or names" if names is None else "cast it to whole numbers"
        raise NetwrightError(f"{what} has type {values.type}", f"{fix}, or choose another column for the label")
    numbers = np.asarray(values, np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(classes):
        problem = f"{what} has class numbers from {numbers.min()} to {numbers.max()}, but {len(classes)} classes"
        raise NetwrightError(problem, f"count from 0 to {len(classes) - 1}")
    return classes, numbers


def _arrow() -> tuple[Any, Any]:
    return optional("pyarrow", "pyarrow", PURPOSE), optional("pyarrow.compute", "pyarrow", PURPOSE)


def _is_list(arrow: Any, kind: Any) -> bool:
    return arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind)


def _is_words(arrow: Any, kind: Any) -> bool:
    return arrow.types.is_string(kind) or arrow.types.is_large_string(kind)
