"""Pictures that are arrays already: an .npz file with Keras' names, or arrays given from Python."""

import zipfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.data.assign import Fractions, assign, check_fractions
from netwright.data.decode import Pixels
from netwright.data.preprocess import Fit, Preprocess, check_pixels
from netwright.data.split import NO_TEST, Data, Part, Progress, Wanted, assemble

Pair = tuple[Any, Any]
KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "classes")


def load(source: str, wanted: Wanted) -> Data:
    """The arrays x_train, y_train, x_test, y_test, and perhaps x_val, y_val and classes, of an .npz file.

    Raises:
        NetwrightError: not such a file, or arrays that do not fit together.
    """
    path = npz_of(Path(source).expanduser())
    arrays = _read(path)
    for key in arrays:
        if key not in KEYS:
            raise unknown(f"array in {path.name}", key, KEYS)
    pairs = {side: _pair(path, arrays, side) for side in ("train", "val", "test")}
    if pairs["train"] is None:
        raise NetwrightError(f"{path} has no x_train and y_train", f"it has {listed(arrays)}; name them as Keras does")
    return _assembled(path.stem, str(path), pairs, arrays.get("classes"), wanted)


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
    return _assembled(name, "", {"train": train, "val": val, "test": test}, classes, wanted)


def npz_of(path: Path) -> Path:
    """The .npz file that is meant: itself, or the only one in a folder."""
    return next(path.glob("*.npz")) if path.is_dir() else path


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        # Opened here, since numpy leaves a file that is no archive open.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        fix = "save it again with numpy.savez(…): numbers and fixed-length text only, no objects"
        raise NetwrightError(f"{path} is not an .npz file that can be read ({error})", fix) from None


def _pair(path: Path, arrays: Mapping[str, Any], side: str) -> Pair | None:
    have = [key for key in (f"x_{side}", f"y_{side}") if key in arrays]
    if len(have) == 1:
        missing = {"x": "y", "y": "x"}[have[0][0]] + have[0][1:]
        raise NetwrightError(f"{path} has {have[0]} but no {missing}", f"add {missing}, or remove {have[0]}")
    return (arrays[have[0]], arrays[have[1]]) if have else None


def _assembled(name: str, root: str, pairs: Mapping[str, Pair | None], classes: Any, wanted: Wanted) -> Data:
    given = {side: pair for side, pair in pairs.items() if pair is not None}
    for side, (images, labels) in given.items():
        check_pixels(images, f"x_{side}", dimensions=(3, 4))
        _check_labels(side, np.asarray(labels), len(images))
    names = _class_names(np.asarray(given["train"][1]), classes)
    first = given["train"][0]
    geometry = wanted.geometry(min(first.shape[1:3]), 1 if first.ndim == 3 or first.shape[3] == 1 else 3)
    parts = {side: _part(side, images, labels, names, geometry) for side, (images, labels) in given.items()}
    notes = [] if "test" in given else [NO_TEST.format(part="part")]
    if "val" not in parts:
        parts, note = _validated(parts, wanted.fractions)
        notes.insert(0, note)
    _check_every_class(parts, names)
    return assemble(name, root, names, parts, geometry, notes=notes)


def _check_labels(side: str, labels: NDArray[Any], count: int) -> None:
    what = f"y_{side}"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise NetwrightError(f"{what} has shape {labels.shape}: one-hot labels?", "give class numbers: y.argmax(1)")
    if labels.ndim not in (1, 2):
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
        names = [str(name) for name in classes]
    elif labels.dtype.kind == "U":
        names = [str(name) for name in found]
    else:
        names = [str(number) for number in range(max(0, int(found[-1])) + 1)]
    if len(set(names)) != len(names):
        raise NetwrightError(f"class names repeat: {listed(names)}", "give each class its own name")
    if len(names) < 2:
        raise NetwrightError("there is only one class: there is nothing to tell apart", "give pictures of two or more")
    return names


def _part(side: str, images: Pixels, labels: Any, names: Sequence[str], geometry: Preprocess) -> Part:
    numbers = _numbers(side, np.asarray(labels).reshape(len(images)), names)
    digests = [sha256(image.tobytes()).digest() for image in images]
    return Part(_stored(images, geometry), numbers, digests, [f"{side}[{row}]" for row in range(len(images))])


def _numbers(side: str, labels: NDArray[Any], names: Sequence[str]) -> list[int]:
    if labels.dtype.kind == "U":
        places = {name: number for number, name in enumerate(names)}
        for label in np.unique(labels):
            if str(label) not in places:
                raise unknown(f"class in y_{side}", str(label), names)
        return [places[str(label)] for label in labels]
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(names):
        fix = f"labels count from 0 to {len(names) - 1}: y - {low}" if high - low < len(names) else "name every class"
        raise NetwrightError(f"y_{side} has labels from {low} to {high}, but there are {len(names)} classes", fix)
    return labels.astype(np.int64).tolist()


def _stored(images: Pixels, geometry: Preprocess) -> Pixels:
    images = images[..., None] if images.ndim == 3 else images
    if images.shape[1:] == geometry.shape:
        return images
    stored = np.empty((len(images), *geometry.shape), np.uint8)
    for row, image in enumerate(images):
        stored[row] = geometry.from_array(image)
    return stored


def _validated(parts: Mapping[str, Part], fractions: Fractions) -> tuple[dict[str, Part], str]:
    """Part of train becomes val; the rows of each side keep their names and their order."""
    share, whole = check_fractions(fractions)[1], parts["train"]
    sides = np.array(assign(whole.digests, whole.labels, (1 - share, share, 0.0)))
    taken = {side: _rows(whole, np.flatnonzero(sides == side).tolist()) for side in ("train", "val")}
    rest = {side: part for side, part in parts.items() if side != "train"}
    return {**taken, **rest}, f"no validation part: {share:.0%} of train is held out by content hash"


def _rows(part: Part, rows: list[int]) -> Part:
    return Part(
        part.images[rows],
        [part.labels[row] for row in rows],
        [part.digests[row] for row in rows],
        [part.names[row] for row in rows],
    )


def _check_every_class(parts: Mapping[str, Part], names: Sequence[str]) -> None:
    for side in ("train", "val"):
        absent = [name for label, name in enumerate(names) if label not in set(parts[side].labels)]
        if absent:
            fix = "give pictures of every class; labels count from 0 without gaps"
            raise NetwrightError(f"{side} has no pictures of class {listed(absent, 8)}", fix)
