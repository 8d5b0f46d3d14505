"""Pictures in folders, one folder a class: split into train and val folders, or all together."""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import NoReturn

import numpy as np

from netwright.core.errors import NetwrightError, listed, nearest
from netwright.data.assign import SPLITS, Fractions, assign, check_fractions
from netwright.data.cache import Index, cache_folder, cached
from netwright.data.decode import UnreadableImage, decode, header
from netwright.data.files import EXTENSIONS
from netwright.data.preprocess import Preprocess
from netwright.data.split import NO_TEST, Data, Part, Quarantined, Wanted, assemble

SIDES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
IGNORED = ("__MACOSX", "Thumbs.db", "desktop.ini")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
USUAL_SIZE, STEP, MARGIN, SAMPLE = 160, 32, 8 / 7, 200

Tree = dict[str, dict[str, list[Path]]]  # side -> class -> files


@dataclass(frozen=True)
class Item:
    """One file with its class number and content hash."""

    path: Path
    label: int
    digest: bytes


def load(source: str, wanted: Wanted) -> Data:
    """The pictures under a folder, decoded once.

    Raises:
        NetwrightError: the folder cannot be used as it is; the message says what to change.
    """
    root = _existing(source)
    tree, notes = scan(root)
    classes = sorted(tree["train"])
    index = Index(root, cache_folder())
    sides, closed = _items(tree, classes, index)
    held_out, more = _holding_out(sides, wanted.fractions)
    everything = [item for side in sides.values() for item in side]
    geometry, seen = _geometry(everything, index, wanted)
    index.save()
    groups = _divided(sides, held_out)
    parts, lost, kept = _decoded(groups, geometry, root, wanted)
    again = _divided(_without(sides, lost), held_out)
    if again != _without(groups, lost):
        # Damaged files were all that a class had on some side; the division mends that once it knows.
        parts, _, kept = _decoded(again, geometry, root, wanted)
    left_out = closed | lost
    _refuse_lost_classes(parts, classes, left_out)
    quarantined = [Quarantined(_name(path, root), reason) for path, reason in sorted(left_out.items())]
    return assemble(
        root.name, str(root), classes, parts, geometry, quarantined=quarantined, notes=[*notes, *more, *seen, *kept]
    )


def scan(root: Path) -> tuple[Tree, list[str]]:
    """Every picture under the root by side and class, and what a user should know of the rest.

    Raises:
        NetwrightError: no layout that we know, or classes that do not agree between the sides.
    """
    others: Counter[str] = Counter()
    sides = side_folders(root)
    if sides and "train" not in sides:
        fix = f"add {root / 'train'}, with one folder for each class"
        raise NetwrightError(f"{root} has {_names(folders_in(root))} but no train folder", fix)
    tree = {side: pictures_by_class(folder, others) for side, folder in sides.items()} or {
        "train": pictures_by_class(root, others)
    }
    if not any(files for classes in tree.values() for files in classes.values()):
        _refuse_no_pictures(root, sides.get("train", root), others)
    _check_classes(tree, sides or {"train": root})
    return tree, [*_notes(root, others), *_look_alikes(tree["train"])]


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        unpack = path.suffix.lower() in ARCHIVES
        fix = f"unpack it and give the folder: {path.with_suffix('')}" if unpack else f"give its folder: {path.parent}"
        raise NetwrightError(f"{path} is a file, not a folder of pictures", fix)
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


def pictures_by_class(folder: Path, others: Counter[str]) -> dict[str, list[Path]]:
    """The pictures of each class folder; files that are none are counted in `others`."""
    return {entry.name: sorted(_pictures(entry, others)) for entry in folders_in(folder)}


def _pictures(folder: Path, others: Counter[str]) -> Iterator[Path]:
    """Files with a picture's extension at any depth; a link back to where we have been is not followed."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not _ignored(name))
        if real in seen:
            continue
        seen.add(real)
        for name in files:
            path = Path(place, name)
            if path.suffix.lower() in EXTENSIONS and not _ignored(name) and path.is_file():
                yield path
            elif not _ignored(name):
                others[path.suffix.lower() or name] += 1


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
    for name in sorted(train) if "val" in tree else []:
        if not tree["val"].get(name):
            _refuse_unvalidated(tree, folders, name)


def _refuse_unvalidated(tree: Tree, folders: Mapping[str, Path], name: str) -> NoReturn:
    have = len(tree["train"][name])
    share = sum(map(len, tree["val"].values())) / sum(map(len, tree["train"].values()))
    move = min(max(1, round(have * share)), max(1, have - 1))
    fix = f"move {move} of the {have} pictures in {folders['train'] / name} to {folders['val'] / name}"
    raise NetwrightError(f"the class '{name}' has no pictures in {folders['val'].name}", fix)


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


def _items(tree: Tree, classes: Sequence[str], index: Index) -> tuple[dict[str, list[Item]], dict[Path, str]]:
    labels = {name: label for label, name in enumerate(classes)}
    files = {side: [(path, labels[name]) for name in classes for path in tree[side].get(name, [])] for side in tree}
    digests, closed = index.digests([path for side in files.values() for path, _ in side])
    items = {
        side: [Item(path, label, digests[path]) for path, label in files[side] if path in digests] for side in files
    }
    return items, closed


def _holding_out(sides: Mapping[str, object], fractions: Fractions) -> tuple[Fractions | None, list[str]]:
    """What of the train folder is held out, None when the folders say it all; and how to tell the user."""
    train, val, test = check_fractions(fractions)
    no_test = [NO_TEST.format(part="folder")]
    if "val" in sides:
        return None, [] if "test" in sides else no_test
    if "test" in sides:
        return (1 - val, val, 0.0), [f"no validation folder: {val:.0%} of train is held out by content hash"]
    parts = f"{train * 100:.0f}/{val * 100:.0f}/{test * 100:.0f}"
    return fractions, [f"no split found: {parts} stratified by content hash", *([] if test else no_test)]


def _divided(sides: Mapping[str, list[Item]], held_out: Fractions | None) -> dict[str, list[Item]]:
    if held_out is None:
        return dict(sides)
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    train = sides["train"]
    for item, side in zip(train, assign(*_hashed(train), held_out), strict=True):
        groups[side].append(item)
    groups |= {side: sides[side] for side in sides if side != "train"}
    return {side: groups[side] for side in SPLITS if side in groups}


def _without(sides: Mapping[str, list[Item]], lost: Mapping[Path, str]) -> dict[str, list[Item]]:
    return {side: [item for item in items if item.path not in lost] for side, items in sides.items()}


def _hashed(items: Iterable[Item]) -> tuple[list[bytes], list[int]]:
    items = list(items)
    return [item.digest for item in items], [item.label for item in items]


def _decoded(
    groups: Mapping[str, list[Item]], geometry: Preprocess, root: Path, wanted: Wanted
) -> tuple[dict[str, Part], dict[Path, str], list[str]]:
    parts, lost, notes, before = dict[str, Part](), dict[Path, str](), dict[str, None](), 0
    total = sum(map(len, groups.values()))
    for side, items in groups.items():

        def progress(done: int, _: int, before: int = before) -> None:
            if wanted.progress:
                wanted.progress(before + done, total)

        digests, _ = _hashed(items)
        found = cached([item.path for item in items], digests, geometry, progress=progress)
        good = [item for place, item in enumerate(items) if place not in found.unreadable]
        digests, labels = _hashed(good)
        parts[side] = Part(found.images, labels, digests, [_name(item.path, root) for item in good])
        lost |= {items[place].path: reason for place, reason in found.unreadable.items()}
        notes |= dict.fromkeys(found.notes)
        before += len(items)
    return parts, lost, list(notes)


def _refuse_lost_classes(parts: Mapping[str, Part], classes: Sequence[str], left_out: Mapping[Path, str]) -> None:
    """After damaged files are left out, training and validation must still know every class."""
    for side in ("train", "val"):
        present = set(parts[side].labels) if side in parts else set[int]()
        for label, name in enumerate(classes):
            if label not in present:
                damaged = [f"{path.name}: {why}" for path, why in sorted(left_out.items()) if name in path.parts]
                why = f" ({listed(damaged, 3)})" if damaged else ""
                fix = f"add good pictures of '{name}'; three different ones are enough for every side"
                raise NetwrightError(f"the class '{name}' has no readable picture for {side}{why}", fix)


def _geometry(items: Sequence[Item], index: Index, wanted: Wanted) -> tuple[Preprocess, list[str]]:
    if wanted.image_size is not None and wanted.channels is not None:
        return wanted.geometry(wanted.image_size, wanted.channels, margin=MARGIN), []
    sample = [items[place] for place in np.linspace(0, len(items) - 1, min(SAMPLE, len(items))).astype(int)]
    key = sha256(b"".join(item.digest for item in sample)).hexdigest()
    side, grey = index.fact(key, lambda: _probe([item.path for item in sample]))
    size = USUAL_SIZE if side >= USUAL_SIZE else max(STEP, side // STEP * STEP)
    geometry = wanted.geometry(size, 1 if grey else 3, margin=MARGIN)
    told = wanted.channels is None and grey
    return geometry, ["every picture looked at is grey: 1 channel (channels=3 to change)"] if told else []


def _probe(paths: Sequence[Path]) -> tuple[int, bool]:
    """The median short side, and whether all pictures are grey."""
    sides: list[int] = []
    grey = True
    for path in paths:
        try:
            width, height, mode = header(path)
            sides.append(min(width, height))
            grey = grey and (mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;16") or _colourless(path))
        except UnreadableImage:
            continue
    return int(median(sides)) if sides else USUAL_SIZE, grey and bool(sides)


def _colourless(path: Path) -> bool:
    pixels = decode(path, target=STEP)
    return bool((pixels == pixels[..., :1]).all())


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


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
