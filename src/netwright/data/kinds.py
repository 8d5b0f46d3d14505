"""Which kind of data a name or a path stands for; a kind's own module is loaded when something is of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from netwright.data.files import located
from netwright.data.folder import titled
from netwright.data.listing import For, Listing


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        name: of the kind, and of the module with its `listing(source)`.
        summary: one line for users.
        stands: whether a source, which is also this path, is of it.
        by_purpose: whether more is taken where nothing is trained: then the module has `listing(source, purpose)`.
    """

    name: str
    summary: str
    stands: Callable[[str, Path], bool]
    by_purpose: bool = False


def listing_of(source: str, purpose: For) -> Listing:
    """The pictures that a source stands for.

    Args:
        source: a name or a path.
        purpose: "train" refuses what cannot be trained on; "labelled" takes all that has labels, as a test split
            alone; "any" also what has none; "pictures" is for training without classes.

    Raises:
        NetwrightError: the data cannot be used; the message says what to change.
    """
    kind = _kind_of(source)
    listing = _module(kind.name).listing
    if kind.name == "table" and (table := _labels_beside(located(source))):
        note = f"classes are those of {table.name}; masks are not used: for them, take the table away"
        found: Listing = listing(str(table), purpose)
        return replace(found, name=titled(located(source)), notes=(*found.notes, note))
    return listing(source, purpose) if kind.by_purpose else listing(source)


def is_masked(source: str) -> bool:
    """Whether a source is pictures with masks; only the names of its files are looked at."""
    return bool(source.strip()) and _kind_of(source).name in MASKED


def _kind_of(source: str) -> Kind:
    path = located(source)
    return next(kind for kind in KINDS if kind.stands(source, path))


def _module(name: str) -> Any:
    return import_module(f"netwright.data.{name}")


def _labels_beside(path: Path) -> Path | None:
    return _module("pairs").labels_beside(path)


def _is_table(path: Path) -> bool:
    table = _module("table")
    return table.is_table(path) or table.table_in(path) is not None or _labels_beside(path) is not None


def _is_arrays(path: Path) -> bool:
    if path.is_dir():
        return len(list(path.glob("*.npz"))) == 1 or (path / "x_train.npy").is_file()
    return path.suffix.lower() in (".npz", ".npy") and path.is_file()


MASKED = ("generated", "pairs")
# The first that fits is taken.
KINDS = (
    Kind(
        "generated",
        "Pictures with masks that are made on the spot: `generated`, `generated:lines`, `generated:disks(size=64)`.",
        lambda source, _: source == "generated" or source.startswith(("generated:", "generated(")),
    ),
    Kind(
        "digits",
        "1,797 handwritten digits that come with scikit-learn: `digits`.",
        lambda source, _: source == "digits",
    ),
    Kind(
        "huggingface",
        "A data set of the Hugging Face hub, or one that was saved to disk: `hf:beans`, `hf:saved/`.",
        lambda source, path: source.startswith("hf:") or _module("huggingface").is_saved(path),
    ),
    Kind(
        "torchvision_sets",
        "A data set of torchvision, read from its standard files: `torchvision:CIFAR10(root='data')`.",
        lambda source, _: source.startswith("torchvision:"),
    ),
    Kind(
        "pairs",
        "Pictures with masks, as folders images and masks or a table of path and mask: `nuclei/`.",
        lambda _, path: _module("pairs").is_pairs(path),
        by_purpose=True,
    ),
    Kind(
        "table",
        "A table of path, label and perhaps split, as CSV, TSV, JSON lines or Parquet: `labels.csv`.",
        lambda _, path: _is_table(path),
        by_purpose=True,
    ),
    Kind(
        "arrays",
        "An .npz file, or .npy files, with x_train, y_train, x_test, y_test as in Keras: `cifar10.npz`.",
        lambda _, path: _is_arrays(path),
        by_purpose=True,
    ),
    Kind(
        "idx",
        "MNIST's own four files, packed or not, in a folder, its raw/ or MNIST/raw/: `mnist/`.",
        lambda _, path: _module("idx").is_idx(path),
        by_purpose=True,
    ),
    Kind(
        "webdataset",
        "Tar files with pictures beside their labels, as WebDataset has them: `shards/train-{000..099}.tar`.",
        lambda _, path: _module("webdataset").is_webdataset(path),
    ),
    Kind(
        "archive",
        "A zip or tar file of anything else here, unpacked once: `photos.zip`.",
        lambda _, path: path.is_file() and _module("archive").is_archive(path),
        by_purpose=True,
    ),
    Kind(
        "folder",
        "A folder with one folder of pictures for each class, with or without train, val and test above: `photos/`.",
        lambda _, path: True,
        by_purpose=True,
    ),
)
