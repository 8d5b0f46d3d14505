"""Pictures in folders, one folder a class: split into train and val folders, or all together."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from netwright.core.errors import NetwrightError, listed, nearest
from netwright.data.assign import SPLITS
from netwright.data.files import EXTENSIONS, located
from netwright.data.listing import NOBODY, Files, For, Listing

SIDES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")
UNKNOWN = -1  # the label of a picture whose class nobody says

Tree = dict[str, dict[str, list[str]]]  # side -> class -> files, relative to the root


def listing(source: str, purpose: For = "train") -> Listing:
    """The pictures under a folder with one folder for each class.

    Args:
        source: the folder.
        purpose: "labelled" takes what `labelled` does; "any" also pictures at any depth without classes, and
            "pictures" does so for training.

    Raises:
        NetwrightError: no layout that we know, or classes that do not agree between the sides.
    """
    if purpose == "train":
        return _trainable(source)
    if purpose == "pictures":
        return pictures(source)
    try:
        return labelled(source)
    except NetwrightError:
        if purpose == "labelled":
            raise
        return unlabelled(source)


def _trainable(source: str) -> Listing:
    root = _existing(source)
    others: Counter[str] = Counter()
    sides = side_folders(root)
    if sides and "train" not in sides:
        fix = f"add {root / 'train'}, with one folder for each class"
        raise NetwrightError(f"{root} has {_names(folders_in(root))} but no train folder", fix)
    tree = _tree(root, sides, others)
    if not any(files for classes in tree.values() for files in classes.values()):
        _refuse_no_pictures(root, sides.get("train", root), others)
    _check_classes(tree, sides or {"train": root})
    notes = [*_notes(root, others), *_look_alikes(tree["train"])]
    return _listed(root, tree, notes, divided=len(tree) > 1)


def labelled(source: str) -> Listing:
    """The same for measuring a model that exists: train may be missing, and so may classes.

    Raises:
        NetwrightError: there is no such folder, or no picture in it.
    """
    root = _existing(source)
    sides = side_folders(root)
    if not any(folders_in(side) for side in sides.values()):
        sides = {}  # classes that happen to be called as sides are: their pictures lie directly in them
    tree = _tree(root, sides, Counter())
    if not any(files for classes in tree.values() for files in classes.values()):
        raise NetwrightError(f"no labelled pictures in {root}", f"make a folder for each class, as {root / 'cat'}")
    return _listed(root, tree, [], divided=bool(sides))


def unlabelled(source: str) -> Listing:
    """Every picture at any depth, without classes.

    Raises:
        NetwrightError: there is no such folder, or no picture in it.
    """
    root = _existing(source)
    others: Counter[str] = Counter()
    names = sorted(_pictures(root, root, others))
    if not names:
        _refuse_no_pictures(root, root, others)
    labels, sides = np.full(len(names), UNKNOWN, np.int64), np.full(len(names), NOBODY, np.int8)
    return Listing(titled(root), str(root), (), Files(root, names), labels, sides, tuple(_notes(root, others)))


def pictures(source: str) -> Listing:
    """The same for training without classes: where `listing` finds none, all pictures are of one class.

    Folders named as sides are divide them then, too.

    Raises:
        NetwrightError: there is no such folder, or no picture in it.
    """
    try:
        return _trainable(source)
    except NetwrightError as error:
        found, why = unlabelled(source), f"classes are not used: {error.problem}"
    root = _existing(source)
    sides = {folder.name: SPLITS.index(side) for side, folder in side_folders(root).items()}
    told = [sides.get(name.split("/")[0], NOBODY) for name in found.blobs.names]
    labels, divided = np.zeros_like(found.labels), np.array(told, np.int8)
    return replace(found, classes=(found.name,), labels=labels, sides=divided, notes=(*found.notes, why))


def titled(path: Path) -> str:
    """What to call the data at a path: its last part, also where that is written `.` or `..`."""
    return path.name if path.name.strip(".") else path.resolve().name


def _tree(root: Path, sides: Mapping[str, Path], others: Counter[str]) -> Tree:
    return {side: _by_class(root, folder, others) for side, folder in (sides or {"train": root}).items()}


def _listed(root: Path, tree: Tree, notes: Iterable[str], *, divided: bool) -> Listing:
    classes = sorted({name for by_class in tree.values() for name in by_class})
    numbers = {name: number for number, name in enumerate(classes)}
    names: list[str] = []
    labels: list[np.ndarray] = []
    sides: list[np.ndarray] = []
    for side, by_class in tree.items():
        for name, files in by_class.items():
            names += files
            labels.append(np.full(len(files), numbers[name], np.int64))
            sides.append(np.full(len(files), SPLITS.index(side) if divided else NOBODY, np.int8))
    return Listing(
        titled(root),
        str(root),
        tuple(classes),
        Files(root, names),
        np.concatenate(labels),
        np.concatenate(sides),
        tuple(notes),
    )


def _existing(source: str) -> Path:
    path = located(source)
    if path.is_dir():
        return path
    if path.exists():
        raise NetwrightError(f"{path} is a file, not a folder of pictures", f"give its folder: {path.parent}")
    parent = next(folder for folder in path.absolute().parents if folder.is_dir())
    missing = path.absolute().relative_to(parent).parts[0]
    close = nearest(missing, (entry.name for entry in _entries(parent)))
    fix = f"did you mean {parent / close}?" if close else f"{parent} has: {_contents(parent)}"
    raise NetwrightError(f"{path} does not exist", fix)


def side_folders(root: Path) -> dict[str, Path]:
    """The folders of a split, by side, perhaps without train; none when the folders are classes.

    Raises:
        NetwrightError: two folders for one side.
    """
    folders = folders_in(root)
    named = [folder for folder in folders if folder.name.lower() in SIDES]
    train = next((folder for folder in named if folder.name.lower() == "train"), None)
    # A class may be called "train": then its pictures lie directly in it, like those of the other classes.
    if len(named) < len(folders) and (train is None or not folders_in(train)):
        return {}
    sides: dict[str, Path] = {}
    for folder in named:
        side = SIDES[folder.name.lower()]
        if side in sides:
            problem = f"{root} has two folders for {side}: {sides[side].name} and {folder.name}"
            raise NetwrightError(problem, f"merge or remove one: {folder}")
        sides[side] = folder
    return {side: sides[side] for side in SPLITS if side in sides}


def _by_class(root: Path, folder: Path, others: Counter[str]) -> dict[str, list[str]]:
    """The pictures of each class folder, relative to the root; files that are none are counted in `others`."""
    return {entry.name: sorted(_pictures(root, entry, others)) for entry in folders_in(folder)}


def _pictures(root: Path, folder: Path, others: Counter[str]) -> Iterator[str]:
    """Files with a picture's extension at any depth; a link back to where we have been is not followed."""
    start = len(str(root / "_")) - 1
    for entry in _files(str(folder), set()):
        extension = Path(entry.name).suffix.lower()
        if extension in EXTENSIONS and entry.is_file():
            yield entry.path[start:].replace(os.sep, "/")
        else:
            others[extension or entry.name] += 1


def _files(folder: str, seen: set[str]) -> Iterator["os.DirEntry[str]"]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not _ignored(entry.name)]
    except OSError as error:
        raise NetwrightError(f"cannot look into {folder} ({error.strerror})", "allow reading it, or move it") from None
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path, seen)
        else:
            yield entry


def _check_classes(tree: Tree, folders: Mapping[str, Path]) -> None:
    train = tree["train"]
    for name, files in train.items():
        if not files:
            fix = "put pictures in it, or remove it"
            raise NetwrightError(f"the class folder {folders['train'] / name} has no pictures", fix)
    if len(train) < 2:
        _refuse_one_class(folders["train"], next(iter(train), ""))
    for side in [side for side in tree if side != "train"]:
        for name in sorted(set(tree[side]) - set(train)):
            close = nearest(name, train)
            rename = f"rename it to {folders[side] / close}" if close and close not in tree[side] else "remove it"
            problem = f"{folders[side].name} has the class '{name}', which train has not"
            raise NetwrightError(problem, f"{rename}, or add {folders['train'] / name}")


def _refuse_one_class(folder: Path, name: str) -> NoReturn:
    inner = [entry.name for entry in folders_in(folder / name)] if name else []
    if len(inner) >= 2:
        fix = f"its classes seem to lie one level deeper: give {folder / name}"
    else:
        fix = f"add a folder for each further class next to {folder / (name or 'cat')}"
    raise NetwrightError(f"{folder} has only one class folder, '{name}': there is nothing to tell apart", fix)


def _refuse_no_pictures(root: Path, folder: Path, others: Counter[str]) -> NoReturn:
    loose = [entry for entry in _entries(folder) if entry.is_file() and entry.suffix.lower() in EXTENSIONS]
    if loose:
        problem = f"the {len(loose)} pictures in {folder} lie side by side: nothing says what is on them"
        raise NetwrightError(problem, f"make a folder for each class, as {folder / 'cat'} and {folder / 'dog'}")
    others.update(entry.suffix.lower() or entry.name for entry in _entries(folder) if entry.is_file())
    if not others and not folders_in(folder):
        raise NetwrightError(f"{folder} is empty", f"put one folder for each class in it, as {folder / 'cat'}")
    found = f": found {_counted(others)}" if others else ": its folders are empty"
    raise NetwrightError(f"no pictures in {root}{found}", f"pictures end in {' '.join(EXTENSIONS)}")


def _notes(root: Path, others: Counter[str]) -> list[str]:
    notes = [f"left out {_counted(others)}: not pictures that can be read"] if others else []
    hidden = [entry.name for entry in sorted(root.glob("*/")) if _ignored(entry.name)]
    hidden += [str(entry.relative_to(root)) for entry in sorted(root.glob("*/*/")) if _ignored(entry.name)]
    return [*notes, f"ignored folders: {listed(hidden)}"] if hidden else notes


def _look_alikes(classes: Iterable[str]) -> list[str]:
    seen: dict[str, str] = {}
    notes: list[str] = []
    for name in sorted(classes):
        other = seen.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            notes.append(f"the classes '{other}' and '{name}' differ only in how they are written")
    return notes


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in IGNORED


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not _ignored(entry.name))


def folders_in(folder: Path) -> list[Path]:
    """The folders inside a folder, sorted; hidden ones and litter are left out."""
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _names(paths: Iterable[Path]) -> str:
    return listed(path.name for path in paths)


def _contents(folder: Path) -> str:
    return _names(_entries(folder)) or "nothing"


def _counted(others: Counter[str]) -> str:
    return listed(f"{count} × {kind}" for kind, count in others.most_common())
