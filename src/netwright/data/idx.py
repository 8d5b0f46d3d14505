"""MNIST's own files, which others share: arrays of bytes with a short head, often packed.

Fashion-MNIST comes so, and EMNIST, whose pictures lie on their side. The format is described at the end of the page of
the MNIST database by LeCun, Cortes & Burges.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data.arrays import Pair, of_pairs
from netwright.data.extract import LIMITS, MEGABYTE
from netwright.data.folder import titled
from netwright.data.listing import TRAINS, For, Listing

SIDES = {"train": ("train",), "test": ("t10k", "test")}
ENDS = ("images-idx3-ubyte", "labels-idx1-ubyte")
FOLDERS = (".", "raw", "*/raw")  # torchvision keeps MNIST in MNIST/raw
BYTES = 0x08  # the code of unsigned bytes, which pictures and classes are


def is_idx(path: Path) -> bool:
    """Whether a folder holds such files; only names are looked at."""
    return path.is_dir() and bool(_images(path))


def listing(source: str, purpose: For = "train") -> Listing:
    """The pictures and classes of `train-…` and `t10k-…` files.

    Args:
        source: the folder that holds them, or has them in raw/ or NAME/raw/.
        purpose: where nothing is trained, any of the pairs will do.

    Raises:
        NetwrightError: several sets, files that are missing, or files that are not what their names say.
    """
    root = Path(source).expanduser()
    found = _images(root)
    if len(found) > 1:
        fix = f"name the folder of one, or put its four files in a folder of their own, as {root / 'letters'}"
        raise NetwrightError(f"{root} holds several sets: {listed(sorted(map(str, found)))}", fix)
    ((folder, prefix),) = found
    pairs: dict[str, Pair | None] = {"val": None}
    for side, names in SIDES.items():
        pairs[side] = next((pair for name in names if (pair := _pair(folder, f"{prefix}{name}"))), None)
    if pairs["train"] is None and purpose in TRAINS:
        raise NetwrightError(f"{folder} has no {prefix}train-{ENDS[0]}", "put the training files beside the others")
    return of_pairs(titled(root), str(root), _renumbered(pairs), purpose)


def _renumbered(pairs: dict[str, Pair | None]) -> dict[str, Pair | None]:
    """Classes from 0: EMNIST's letters count from 1. Names stay numbers of the files' order."""
    there = [pair for pair in pairs.values() if pair is not None]
    least = min(int(labels.min()) for _, labels in there)
    return {side: pair and (pair[0], pair[1] - least) for side, pair in pairs.items()}


def _images(root: Path) -> set[tuple[Path, str]]:
    """Each set that a folder holds: where, and what its files' names begin with, as `emnist-letters-`."""
    found: set[tuple[Path, str]] = set()
    for folder in (place for pattern in FOLDERS for place in ([root] if pattern == "." else root.glob(pattern))):
        for name in (name for names in SIDES.values() for name in names):
            for file in folder.glob(f"*{name}-{ENDS[0]}*"):
                prefix, _, ending = file.name.partition(f"{name}-{ENDS[0]}")
                if ending in ("", ".gz") and file.is_file():
                    found.add((folder, prefix))
    return found


def _pair(folder: Path, name: str) -> Pair | None:
    """Pictures N H W and classes N of one side; None where neither file is there."""
    files = [next((f for f in _both(folder / f"{name}-{end}") if f.is_file()), None) for end in ENDS]
    if files == [None, None]:
        return None
    for file, end in zip(files, ENDS, strict=True):
        if file is None:
            raise NetwrightError(f"{folder} has no {name}-{end}", "put it beside the others, packed (.gz) or not")
    images, labels = (_read(file, dimensions) for file, dimensions in zip(files, (3, 1), strict=True) if file)
    return images, labels.astype(np.int64)


def _both(path: Path) -> tuple[Path, Path]:
    return path, path.with_name(f"{path.name}.gz")


def _read(path: Path, dimensions: int) -> NDArray[Any]:
    """What a file holds.

    Raises:
        NetwrightError: it is damaged, or holds something else.
    """
    fix = "copy it again from where the data set is published"
    most = max(LIMITS.harmless, LIMITS.ratio * path.stat().st_size)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NetwrightError(f"{path} cannot be read: {error}", fix) from None
    if len(content) > most:
        raise NetwrightError(f"{path} would unpack to more than {most // MEGABYTE} MB", "if you trust it, unpack it")
    head = 4 + 4 * dimensions
    shape = tuple(int(side) for side in np.frombuffer(content[4:head].ljust(head - 4, b"\0"), ">u4"))
    if content[:4] != bytes((0, 0, BYTES, dimensions)) or len(content) != head + math.prod(shape):
        kind = "pictures" if dimensions == 3 else "classes"
        raise NetwrightError(f"{path} is not a file of {kind} in this format, or is cut short", fix)
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)
