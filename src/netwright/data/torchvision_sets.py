"""torchvision's data sets by name, read from their standard files; nothing is downloaded.

A table lists those that are read, all of pictures with one class each. Whatever torchvision would unpickle without
knowing the file's checksum is not in it.
"""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed, unknown
from netwright.core.spec import Spec
from netwright.data.assign import SPLITS
from netwright.data.decode import Pixels, UnreadableImage, upright_picture
from netwright.data.extras import optional
from netwright.data.listing import NOBODY, Arrays, Blobs, Files, Listing

PREFIX = "torchvision:"
ROOT = "data"
SAMPLES = ("_samples", "samples")  # where sets keep pairs of picture and label
RESERVED = (
    "self", "root", "train", "download", "loader", "compat", "what",
    "transform", "target_transform", "transforms", "target_type", "target_types",
)  # fmt: skip


@dataclass(frozen=True)
class Standard:
    """How torchvision keeps a data set.

    Attributes:
        folder: where its files are, below the root.
        argument: what the constructor calls the choice of a side; empty where there is none.
        sides: for each side that it has, the argument's value.
    """

    folder: str
    argument: str = ""
    sides: Mapping[str, str | bool] = field(default_factory=dict[str, "str | bool"])


def _flag(folder: str) -> Standard:
    return Standard(folder, "train", {"train": True, "test": False})


def _split(folder: str, **sides: str) -> Standard:
    return Standard(folder, "split", sides or {"train": "train", "test": "test"})


_THREE = {"train": "train", "val": "val", "test": "test"}

SETS = {
    "CIFAR10": _flag("cifar-10-batches-py"),
    "CIFAR100": _flag("cifar-100-python"),
    "CLEVRClassification": _split("clevr/CLEVR_v1.0", train="train", val="val"),
    "Caltech101": Standard("caltech101/101_ObjectCategories"),
    "Caltech256": Standard("caltech256/256_ObjectCategories"),
    "Country211": _split("country211", train="train", val="valid", test="test"),
    "DTD": _split("dtd/dtd", **_THREE),
    "EMNIST": _flag("EMNIST/raw"),
    "EuroSAT": Standard("eurosat/2750"),
    "FER2013": _split("fer2013"),
    "FGVCAircraft": _split("fgvc-aircraft-2013b", **_THREE),
    "FashionMNIST": _flag("FashionMNIST/raw"),
    "Flowers102": _split("flowers-102", **_THREE),
    "Food101": _split("food-101"),
    "GTSRB": _split("gtsrb"),
    "Imagenette": _split("", train="train", val="val"),
    "KMNIST": _flag("KMNIST/raw"),
    "MNIST": _flag("MNIST/raw"),
    "OxfordIIITPet": _split("oxford-iiit-pet", train="trainval", test="test"),
    "PCAM": _split("pcam", **_THREE),
    "QMNIST": _flag("QMNIST/raw"),
    "RenderedSST2": _split("rendered-sst2", **_THREE),
    "SEMEION": Standard(""),
    "STL10": _split("stl10_binary"),
    "SUN397": Standard("SUN397"),
    "SVHN": _split(""),
    "StanfordCars": _split("stanford_cars"),
    "USPS": _flag(""),
}


@dataclass(frozen=True, eq=False)
class OneByOne:
    """Pictures that torchvision makes when they are asked for: pixels, whatever their files are."""

    sets: Sequence[Any]
    names: Sequence[str]
    in_memory: bool = field(default=True, init=False)

    def read(self, place: int) -> Pixels:
        """One picture's pixels, H W C."""
        row = place
        for found in self.sets:
            if row < len(found):
                break
            row -= len(found)
        else:
            raise IndexError(place)
        try:
            picture = found[row][0]
        except Exception as error:  # whatever torchvision's readers stumble on
            raise UnreadableImage(self.names[place], f"torchvision cannot read it ({error})") from None
        channels = 1 if picture.mode == "L" else 3
        upright = upright_picture(picture, self.names[place], channels=channels)
        return np.array(upright).reshape(upright.height, upright.width, channels)

    def stamp(self, place: int) -> None:
        """Not known: the pictures may lie in an archive."""
        return


def listing(source: str) -> Listing:
    """A data set of torchvision's, with the sides that it comes with.

    Args:
        source: `torchvision:CIFAR10`, or with a folder and the set's own options
            `torchvision:EMNIST(root='data', split='letters')`. The root is `data` by default; the folder that holds
            the standard files, as `data/cifar-10-batches-py`, will do as well.

    Raises:
        NetwrightError: no such set, or its files are missing, damaged or not those that were published.
    """
    spec = Spec.parse(source.removeprefix(PREFIX))
    sets = optional("torchvision.datasets", "torchvision", f"'{source}'")
    kind, standard = _known(sets, spec.name)
    options = _options(kind, spec, standard)
    root = _root(str(options.pop("root", ROOT)), standard.folder)
    _refuse_absent(spec.name, kind, root, standard)
    parts = {side: _opened(kind, root, options, standard, side) for side in standard.sides or ("",)}
    blobs = _blobs(parts, root)
    labels = [_labels(part) for part in parts.values()]
    sides = [SPLITS.index(side) if side else NOBODY for side in parts]
    classes, numbers, notes = _used(_classes(parts, labels), np.concatenate(labels))
    side_of = np.repeat(np.array(sides, np.int8), list(map(len, labels)))
    return Listing(spec.name, str(root), classes, blobs, numbers, side_of, notes)


def _known(sets: Any, name: str) -> tuple[Any, Standard]:
    if name not in SETS and name in sets.__all__:
        problem = f"torchvision's {name} is not read: either it has no picture with one class each, or no safe format"
        raise NetwrightError(problem, f"give its pictures as a folder. Sets that are read: {listed(SETS, 40)}")
    if name not in SETS:
        raise unknown("data set of torchvision", name, SETS)
    return getattr(sets, name), SETS[name]


def _options(kind: Any, spec: Spec, standard: Standard) -> dict[str, Any]:
    """The options given; those that the constructor has besides what chooses a side."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    own = [
        each for each in parameters if each.name not in (*RESERVED, standard.argument) and each.kind != each.VAR_KEYWORD
    ]
    allowed = ["root", *(each.name for each in own)]
    for option in spec.options:
        if option not in allowed:
            raise unknown(f"option of {PREFIX}{spec.name}", option, allowed)
    for each in own:
        if each.default is each.empty and each.name not in spec.options:
            example = getattr(kind, f"{each.name}s", ["…"])[0]
            fix = f"choose one: {PREFIX}{spec.with_options(**{each.name: example})}"
            raise NetwrightError(f"{spec.name} needs to know its {each.name}", fix)
    return dict(spec.options)


def _root(given: str, folder: str) -> Path:
    """The root as torchvision wants it, where the folder below it may have been given."""
    path, inner = Path(given).expanduser(), Path(folder)
    for place in () if (path / inner).is_dir() else (inner, *inner.parents):
        if place.name and path.absolute().parts[-len(place.parts) :] == place.parts and path.is_dir():
            return path.absolute().parents[len(place.parts) - 1]
    return path


def _refuse_absent(name: str, kind: Any, root: Path, standard: Standard) -> None:
    folder = root / standard.folder
    if not folder.is_dir():
        raise NetwrightError(f"{folder} does not exist: {name} is not there", _fix(kind, root, standard))
    packed = sorted(folder.glob("*ubyte.gz"))
    if packed and not any(folder.glob("*ubyte")):
        raise NetwrightError(f"the files of {name} in {folder} are compressed", f"gunzip --keep {folder}/*.gz")
    if hasattr(kind, "meta"):
        _refuse_foreign_pickles(kind, folder)


def _refuse_foreign_pickles(kind: Any, folder: Path) -> None:
    """CIFAR's files are pickles, which could execute anything: only those that were published are opened."""
    for name, checksum in (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])):
        path = folder / name
        if not path.is_file():
            raise NetwrightError(f"{path} does not exist", f"unpack {kind.filename} in {folder.parent}")
        if md5(path.read_bytes(), usedforsecurity=False).hexdigest() != checksum:
            problem = f"{path} is not the file that was published, and a pickle could do anything: it is not opened"
            raise NetwrightError(problem, f"unpack a good copy of {kind.filename} in {folder.parent}")


def _opened(kind: Any, root: Path, options: Mapping[str, Any], standard: Standard, side: str) -> Any:
    chosen = {standard.argument: standard.sides[side]} if side else {}
    never = {"download": False} if "download" in inspect.signature(kind.__init__).parameters else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CIFAR's pickles are older than NumPy likes
            found = kind(root=str(root), **options, **chosen, **never)
        if not len(found):
            raise ValueError("no pictures")
        return found
    except (RuntimeError, OSError, ValueError, KeyError, AssertionError, EOFError, ImportError) as error:
        reason = str(error).strip().split("\n")[0].partition(" You can")[0].rstrip(".") or type(error).__name__
        what = f"{kind.__name__} from {root}" + (f" for {side}" if side else "")
        raise NetwrightError(f"torchvision cannot read {what} ({reason})", _fix(kind, root, standard)) from None


def _fix(kind: Any, root: Path, standard: Standard) -> str:
    name = kind.__name__
    put = f"put its files into {root / standard.folder}, or give another root: {PREFIX}{name}(root='…')"
    if not hasattr(kind, "download") and not hasattr(kind, "_download"):
        return put
    chosen = f"{standard.argument}={next(iter(standard.sides.values()))!r}, " if standard.argument == "split" else ""
    return f"{put}; or download it: from torchvision.datasets import {name}; {name}('{root}', {chosen}download=True)"


def _blobs(parts: Mapping[str, Any], root: Path) -> Blobs:
    paths = [_paths(part) for part in parts.values()]
    if all(path is not None for path in paths):
        return Files(root, [str(Path(path).relative_to(root)) for found in paths for path in found or ()])
    names = [f"{side or type(part).__name__}[{row}]" for side, part in parts.items() for row in range(len(part))]
    arrays = [getattr(part, "data", None) for part in parts.values()]
    if all(array is not None for array in arrays):
        return Arrays([_pixels(array) for array in arrays], names)
    return OneByOne(list(parts.values()), names)


def _paths(part: Any) -> list[Any] | None:
    """The picture files of a set that keeps their list."""
    for name in SAMPLES:
        found = getattr(part, name, None)
        if found and isinstance(found[0][0], str | Path):
            return [path for path, *_ in found]
    return next((list(getattr(part, name)) for name in ("_image_files", "_images") if hasattr(part, name)), None)


def _pixels(array: Any) -> Pixels:
    """N H W or N H W C, without a copy; some sets have N C H W."""
    pixels = np.asarray(array)
    return pixels.transpose(0, 2, 3, 1) if pixels.ndim == 4 and pixels.shape[3] != 3 else pixels


def _labels(part: Any) -> NDArray[np.int64]:
    """Class numbers, wherever a set keeps them."""
    kept = next((getattr(part, name) for name in ("targets", "labels", "_labels", "y") if hasattr(part, name)), None)
    pairs = next((getattr(part, name) for name in SAMPLES if hasattr(part, name)), None)
    if kept is None:
        kept = [label for _, label in pairs] if pairs else [part[row][1] for row in range(len(part))]
    if kept[0] is None:
        raise NetwrightError(f"{type(part).__name__} has a side without labels", "give its pictures as a folder")
    labels = np.asarray(kept, np.int64)
    return labels if labels.ndim == 1 else labels[:, 0]  # QMNIST: the class, then where it comes from


def _classes(parts: Mapping[str, Any], labels: Sequence[NDArray[np.int64]]) -> tuple[str, ...]:
    """Class names, the same for all sides; numbers where a set names none."""
    named = [_names(part) for part in parts.values()]
    if any(names != named[0] for names in named):
        raise NetwrightError(f"{listed(parts)} have different classes", "their folders must hold the same classes")
    return named[0] or tuple(map(str, range(max(int(each.max(initial=0)) for each in labels) + 1)))


def _names(part: Any) -> tuple[str, ...]:
    """The names that a set gives its classes; of several for one class, all."""
    found = getattr(part, "classes", None) or getattr(part, "categories", None) or ()
    return tuple(name if isinstance(name, str) else ", ".join(name) for name in found)


def _used(
    classes: tuple[str, ...], labels: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.int64], tuple[str, ...]]:
    """Only the classes that have pictures: EMNIST's letters begin with one that has none."""
    if not 0 <= labels.min() <= labels.max() < len(classes):
        problem = f"there are labels from {labels.min()} to {labels.max()}, but {len(classes)} classes"
        raise NetwrightError(problem, "put the files there again as they were published")
    counts = np.bincount(labels, minlength=len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not absent:
        return classes, labels, ()
    used = tuple(name for name in classes if name not in absent)
    return used, (np.cumsum(counts > 0) - 1)[labels], (f"left out classes without pictures: {listed(absent)}",)
