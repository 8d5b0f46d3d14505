"""Handwritten digits, 1,797 of 8×8 pixels: they come with scikit-learn, so they need no download."""

import gzip
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from netwright.core.errors import NetwrightError
from netwright.data.assign import assign
from netwright.data.listing import Arrays, Listing
from netwright.data.segments import as_keys

SIZE, SIDE, DEEPEST = 32, 8, 16
FRACTIONS = (0.7, 0.1, 0.2)


def listing(source: str) -> Listing:
    """The digits, enlarged, split 70/10/20 by content hash whatever fractions are wished: a fixed task.

    Raises:
        NetwrightError: scikit-learn is not installed.
    """
    table = _table()
    grey = np.rint(table[:, :-1].reshape(-1, SIDE, SIDE) * (255 / DEEPEST)).astype(np.uint8)
    labels = table[:, -1].astype(np.int64)
    digests = as_keys([sha256(image.tobytes()).digest() for image in grey])
    blobs = Arrays([grey], [f"digits[{row}]" for row in range(len(grey))])
    classes = tuple(str(digit) for digit in range(10))
    return Listing(source, "", classes, blobs, labels, assign(digests, labels, FRACTIONS), usual_size=SIZE)


def _table() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """N rows of 64 pixels from 0 to 16 and a label; read from the package's folder without importing the package."""
    found = find_spec("sklearn")
    places = found.submodule_search_locations if found else None
    path = Path(next(iter(places or ["."])), "datasets", "data", "digits.csv.gz")
    if not places or not path.is_file():
        raise NetwrightError("the digits come with scikit-learn, which is not installed", "pip install scikit-learn")
    with gzip.open(path, "rt") as file:
        return np.loadtxt(file, delimiter=",")
