"""Pictures that are arrays already: an .npz file or .npy files with Keras' names, or arrays given from Python."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data.assign import SPLITS, Fractions
from netwright.data.extract import LIMITS, MEGABYTE
from netwright.data.folder import titled
from netwright.data.listing import TRAINS, Arrays, For, Listing, counted
from netwright.data.preprocess import Fit, check_pixels
from netwright.data.ready import ready
from netwright.data.split import Data, Progress, Wanted

Pair = tuple[Any, Any]
KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "classes")
SUFFIXES = (".npz", ".npy")
DAMAGED = (MemoryError, zipfile.BadZipFile, zlib.error)  # memory: for a shape that cannot be


def listing(source: str, purpose: For = "train") -> Listing:
    """The arrays x_train, y_train, x_test, y_test, and perhaps x_val, y_val and classes.

    Args:
        source: an .npz file, one of several .npy files named like this, or the folder that holds either.
        purpose: where nothing is trained any of the pairs will do; only "train" wants two classes.

    Raises:
        NetwrightError: not such a file, or arrays that do not fit together.
    """
    path = Path(source).expanduser()
    files = files_of(path)
    arrays = _read(files[0]) if files[0].suffix.lower() == ".npz" else _read_each(files)
    where = files[0] if len(files) == 1 else files[0].parent
    for key in arrays:
        if key not in KEYS:
            raise unknown(f"array in {where.name}", key, KEYS)
    pairs = {side: _pair(where, arrays, side) for side in SPLITS}
    if pairs["train"] is None and (purpose in TRAINS or not any(pairs.values())):
        fix = f"it has {listed(arrays) or 'no arrays'}; name them as Keras does"
        raise NetwrightError(f"{where} has no x_train and y_train", fix)
    return of_pairs(Path(titled(where)).stem, str(where), pairs, purpose, arrays.get("classes"))


def from_arrays(
    *,
    train: Pair,
    val: Pair | None = None,
    test: Pair | None = None,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    image_size: int | None = None,
    stored_size: int | None = None,
    fit: Fit = "crop",
    channels: int | None = None,
    fractions: Fractions = (0.8, 0.1, 0.1),
    progress: Progress | None = None,
) -> Data:
    """Pictures and labels from Python: each pair is uint8 N H W or N H W C, and N whole numbers or strings.

    Raises:
        NetwrightError: with the line of code that mends it.
    """
    wanted = Wanted(image_size, stored_size, fit, channels, fractions, progress)
    return ready(of_pairs(name, "", {"train": train, "val": val, "test": test}, classes=classes), wanted)


def files_of(path: Path) -> list[Path]:
    """The array files that are meant: an .npz by itself or alone in its folder, else all .npy of the folder."""
    if path.is_file() and path.suffix.lower() == ".npz":
        return [path]
    folder = path if path.is_dir() else path.parent
    archives = sorted(folder.glob("*.npz"))
    return archives if path.is_dir() and len(archives) == 1 else sorted(folder.glob("*.npy"))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, since numpy leaves a file that is no archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            _refuse_bomb(path, file.zip)
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, AttributeError, NotImplementedError, *DAMAGED) as error:
        fix = "save it again with numpy.savez(…): numbers and fixed-length text only, no objects"
        raise NetwrightError(f"{path} is not an .npz file that can be read ({_reason(error)})", fix) from None


def _reason(error: Exception) -> str:
    """What numpy says, without its advice to trust the file."""
    return str(error).split(". ")[0]


def _refuse_bomb(path: Path, archive: zipfile.ZipFile) -> None:
    size = sum(member.file_size for member in archive.infolist())
    if size > max(LIMITS.harmless, LIMITS.ratio * path.stat().st_size):
        problem = f"{path} would unpack to {size // MEGABYTE} MB, {LIMITS.ratio} times its size or more"
        raise NetwrightError(problem, "if you trust it, save its arrays as .npy files instead: they are not packed")


def _read_each(files: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """Mapped rather than read: .npy files may be larger than memory."""
    arrays: dict[str, NDArray[Any]] = {}
    for path in files:
        try:
            arrays[path.stem] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, OverflowError, MemoryError) as error:
            fix = "save it again with numpy.save(…): numbers and fixed-length text only, no objects"
            raise NetwrightError(f"{path} is not an .npy file that can be read ({_reason(error)})", fix) from None
    return arrays


def _pair(path: Path, arrays: Mapping[str, Any], side: str) -> Pair | None:
    have = [key for key in (f"x_{side}", f"y_{side}") if key in arrays]
    if len(have) == 1:
        missing = {"x": "y", "y": "x"}[have[0][0]] + have[0][1:]
        raise NetwrightError(f"{path} has {have[0]} but no {missing}", f"add {missing}, or remove {have[0]}")
    return (arrays[have[0]], arrays[have[1]]) if have else None


def of_pairs(
    name: str, root: str, pairs: Mapping[str, Pair | None], purpose: For = "train", classes: Any = None
) -> Listing:
    """Pictures and labels in memory, before they are divided.

    Raises:
        NetwrightError: they do not fit together.
    """
    given = {side: pair for side, pair in pairs.items() if pair is not None}
    for side, (images, labels) in given.items():
        check_pixels(images, f"x_{side}", dimensions=(3, 4))
        _check_labels(side, np.asarray(labels), len(images))
    known = [given["train"]] if purpose in TRAINS else given.values()
    classes = _class_names(np.concatenate([np.ravel(labels) for _, labels in known]), classes)
    if purpose == "train" and len(classes) < 2:
        raise NetwrightError("there is only one class: there is nothing to tell apart", "give pictures of two or more")
    labels = [_numbers(side, np.asarray(labels).reshape(len(labels)), classes) for side, (_, labels) in given.items()]
    sides = [np.full(len(images), SPLITS.index(side), np.int8) for side, (images, _) in given.items()]
    names = [f"{side}[{row}]" for side, (images, _) in given.items() for row in range(len(images))]
    blobs = Arrays([images for images, _ in given.values()], names)
    return Listing(name, root, tuple(classes), blobs, np.concatenate(labels), np.concatenate(sides))


def _check_labels(side: str, labels: NDArray[Any], count: int) -> None:
    what = f"y_{side}"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise NetwrightError(f"{what} has shape {labels.shape}: one-hot labels?", "give class numbers: y.argmax(1)")
    if labels.ndim not in (1, 2) or labels.size != len(labels):
        raise NetwrightError(f"{what} has shape {labels.shape}", "give one label for each picture: shape (N,)")
    if len(labels) != count:
        fix = f"give one label for each picture: x_{side} has {count} pictures"
        raise NetwrightError(f"{what} has {len(labels)} labels", fix)
    if labels.dtype.kind not in "iuU":
        fix = "convert them: y.astype('int64')" if labels.dtype.kind in "fb" else "give whole numbers or strings"
        raise NetwrightError(f"{what} has type {labels.dtype}", fix)


def _class_names(labels: NDArray[Any], classes: Any) -> list[str]:
    found = np.unique(labels)
    if classes is not None:
        if np.ndim(classes) != 1:
            problem = f"classes has shape {np.shape(classes)}"
            raise NetwrightError(problem, "give one name for each class: classes=['cat', 'dog']")
        names = [str(name) for name in classes]
    elif labels.dtype.kind == "U":
        names = [str(name) for name in found]
    else:
        names = list(counted(max(0, int(found[-1])), len(labels), "y"))
    if len(set(names)) != len(names):
        raise NetwrightError(f"class names repeat: {listed(names)}", "give each class its own name")
    return names


def _numbers(side: str, labels: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    if labels.dtype.kind == "U":
        places = {name: number for number, name in enumerate(names)}
        for label in np.unique(labels):
            if str(label) not in places:
                raise unknown(f"class in y_{side}", str(label), names)
        return np.array([places[str(label)] for label in labels], np.int64)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(names):
        fix = f"labels count from 0 to {len(names) - 1}: y - {low}" if high - low < len(names) else "name every class"
        raise NetwrightError(f"y_{side} has labels from {low} to {high}, but there are {len(names)} classes", fix)
    return labels.astype(np.int64)
