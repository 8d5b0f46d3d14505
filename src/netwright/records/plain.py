"""Values as JSON can hold them."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from netwright.records.intervals import Interval


def plain(value: Any) -> Any:
    """`value` with only dicts, lists, text, numbers, booleans and None; a number that is not finite becomes None."""
    if isinstance(value, Interval):
        return value.to_json()
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """`value` as strict JSON: no NaN, which other readers refuse."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
