"""Pictures with labels: found, split, decoded once. Loading the parts is left to whoever opens some data."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from netwright.data.arrays import from_arrays
    from netwright.data.split import Data, Wanted

__all__ = ["Data", "from_arrays", "names", "open_data", "summaries"]

_HOME = {"Data": "netwright.data.split", "from_arrays": "netwright.data.arrays"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netwright.data' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def open_data(
    source: str,
    *,
    image_size: int | None = None,
    stored_size: int | None = None,
    fit: Literal["crop", "pad", "squash"] = "crop",
    channels: int | None = None,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    progress: Callable[[int, int], None] | None = None,
) -> "Data":
    """The data that a name or a path stands for, decoded and ready to train on. No random choice is made.

    Args:
        source: `digits`, a folder of class folders, or an .npz file.
        image_size: side of the square the network sees. By default arrays keep their size, digits have 32, and
            photos 160, or the next smaller multiple of 32 when half of them are smaller.
        stored_size: side of the square that is kept. By default image_size, and for folders 8/7 of it.
        fit: `crop`, `pad` or `squash` what is not square.
        channels: 1 or 3. By default 1 when up to 200 pictures looked at are all grey.
        fractions: shares of train, val and test where the data comes without a split.
        progress: called with the pictures done and their total while they are decoded.

    Raises:
        NetwrightError: the data cannot be used as it is; the message says what to change.
    """
    from netwright.data.split import Wanted

    wanted = Wanted(image_size, stored_size, fit, channels, fractions, progress)
    return _KINDS[_kind(source)](source, wanted)


def names() -> list[str]:
    """The kinds of data that can be opened."""
    return sorted(_KINDS)


def summaries() -> dict[str, str]:
    """One line on each kind of data."""
    return {name: (_KINDS[name].__doc__ or "").strip() for name in names()}


def _kind(source: str) -> str:
    path = Path(source).expanduser()
    if source == "digits":
        return "digits"
    if path.suffix.lower() == ".npz" and path.is_file():
        return "arrays"
    return "arrays" if path.is_dir() and len(list(path.glob("*.npz"))) == 1 else "folder"


def _digits(source: str, wanted: "Wanted") -> "Data":
    """1,797 handwritten digits that come with scikit-learn: `digits`."""
    return import_module("netwright.data.digits").load(source, wanted)


def _folder(source: str, wanted: "Wanted") -> "Data":
    """A folder with one folder of pictures for each class, with or without train, val and test above: `photos/`."""
    return import_module("netwright.data.folder").load(source, wanted)


def _arrays(source: str, wanted: "Wanted") -> "Data":
    """An .npz file with x_train, y_train, x_test, y_test as in Keras, or a folder holding just one: `cifar10.npz`."""
    return import_module("netwright.data.arrays").load(source, wanted)


_KINDS: dict[str, Callable[[str, "Wanted"], "Data"]] = {"arrays": _arrays, "digits": _digits, "folder": _folder}
