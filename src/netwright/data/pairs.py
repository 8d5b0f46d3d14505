"""Pictures with masks: folders beside one another, with or without splits, or a table that names both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from netwright.core.errors import NetwrightError, listed
from netwright.data import _pair_table
from netwright.data._pair_folders import ENDINGS, Place, holds_files, places_in, refuse_loose, split_lists
from netwright.data._pair_layers import Layers, LayersFound, Pieces, by_ending, by_folder, by_group
from netwright.data._pair_stems import (
    NO_FILE,
    NO_INSTANCES,
    NO_MASK,
    TWO_PICTURES,
    Matched,
    files_under,
    key_below,
    matched,
)
from netwright.data.assign import SPLITS
from netwright.data.files import EXTENSIONS, located
from netwright.data.folder import titled
from netwright.data.listing import NOBODY, TRAINS, Blobs, Files, For, Listing, MaskFiles, Pairing

_SHOWN = 3


def is_pairs(path: Path) -> bool:
    """Whether a path has pictures with masks: folders of both, or a table with a column of masks and none of labels.

    In a folder that has both, a table that names its pictures and their labels makes these pictures to be classified.
    """
    if path.is_dir() and holds_files(path) is not None:
        return labels_beside(path) is None
    return _pair_table.pair_table(path) is not None


def labels_beside(path: Path) -> Path | None:
    """The table of labels in a folder of pictures and masks, or None: also where a table of pairs is beside it."""
    if not path.is_dir() or holds_files(path) is None:
        return None
    tables = _pair_table.beside(path)
    return tables.labels if tables.pairs is None else None


def listing(source: str, purpose: For = "train") -> Listing:
    """Pictures with the masks that belong to them, by their names or by a table.

    Args:
        source: a folder with images/ and masks/, or a table with the columns path and mask.
        purpose: "train" refuses data that has sides and no train among them.

    Raises:
        NetwrightError: nothing pairs, or a row of the table cannot be used.
    """
    path = located(source)
    tables = _pair_table.beside(path) if path.is_dir() and holds_files(path) else None
    table = tables.pairs if tables else _pair_table.pair_table(path)
    root = path if table is None else table.parent
    found = _of_folders(root) if table is None else _of_table(table)
    for note in tables.notes if tables else ():
        found.note(note)
    sides = np.array(found.sides, np.int8)
    if purpose in TRAINS and (sides != NOBODY).all() and SPLITS.index("train") not in found.sides:
        has = listed(sorted({SPLITS[side] for side in found.sides}))
        raise NetwrightError(f"{path} has pictures with masks for {has} and none for train", f"add {root / 'train'}")
    files, classes = _files(root, found)
    return Listing(
        path.stem if path.is_file() else titled(root),
        str(root),
        classes,
        Files(root, found.names),
        np.zeros(len(found.names), np.int64),
        sides,
        (*found.notes, *_told(found.faults)),
        masks=files,
    )


@dataclass(eq=False)
class _Found:
    """Pairs, one after the other; a mask is empty where there is none, and layers are masks by class."""

    names: list[str] = field(default_factory=list[str])
    masks: list[str] = field(default_factory=list[str])
    layers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    instances: list[str] = field(default_factory=list[str])
    pieces: list[list[str]] = field(default_factory=list[list[str]])
    sides: list[int] = field(default_factory=list[int])
    faults: list[Pairing] = field(default_factory=list[Pairing])
    notes: list[str] = field(default_factory=list[str])

    def note(self, text: str) -> None:
        """Once."""
        if text not in self.notes:
            self.notes.append(text)


# Folders


def _of_folders(root: Path) -> _Found:
    found, places = _Found(), places_in(root)
    refuse_loose(places)
    for place in places:
        (_gather_single if place.single else _gather)(root, place, found)
    if not found.names:
        raise _nothing(root, places)
    if any(len(files) > 1 for files in found.pieces):
        found.note("each picture has a folder, and several masks: each is taken for one instance")
    if lists := split_lists(root):
        _divide(found, lists)
    return found


def _gather_single(root: Path, place: Place, found: _Found) -> None:
    """The one picture of a folder, and all masks beside it."""
    pictures, masks = files_under(root, place.pictures, EXTENSIONS)[0], files_under(root, place.masks or root)[0]
    if len(pictures) != 1:
        found.faults.append(Pairing(TWO_PICTURES, (*masks[:1], *pictures)))
        return
    found.names += pictures
    found.masks.append("")
    found.layers.append({})
    found.instances.append("")
    found.pieces.append(masks)
    found.sides.append(SPLITS.index(place.side) if place.side else NOBODY)


def _divide(found: _Found, lists: Mapping[str, str]) -> None:
    """Sides by lists of names; pictures that no list has need no mask."""
    stems = [Path(name).stem for name in found.names]
    found.sides[:] = [SPLITS.index(lists[stem]) if stem in lists else NOBODY for stem in stems]
    spare = {fault for fault in found.faults if fault.kind == NO_MASK and Path(fault.names[0]).stem not in lists}
    found.faults[:] = [fault for fault in found.faults if fault not in spare]
    more = f"; {len(spare)} pictures without masks are in none of them" if spare else ""
    found.note(f"sides are those of the lists in ImageSets/Segmentation{more}")


def _gather(root: Path, place: Place, found: _Found) -> None:
    pictures, others = files_under(root, place.pictures, EXTENSIONS)
    if others:
        found.note(f"left out {others} files in {place.pictures.relative_to(root).as_posix()}: not pictures")
    masks = _matched(root, place, pictures, place.masks, found)
    instances = _matched(root, place, pictures, place.instances, found)
    if masks is None and instances is None:
        found.faults += [Pairing(NO_MASK, (picture,)) for picture in pictures]
        return
    things = instances.pairs if isinstance(instances, Matched) else {}
    known = things if masks is None else masks.files if isinstance(masks, LayersFound) else masks.pairs
    for picture in known:
        found.names.append(picture)
        found.masks.append(masks.pairs[picture] if isinstance(masks, Matched) else "")
        found.layers.append(masks.files[picture] if isinstance(masks, LayersFound) else {})
        found.instances.append(things.get(picture, ""))
        found.sides.append(_side(root, place, picture))
    first = masks or instances
    found.faults += first.faults if first else ()
    if masks and instances:
        found.faults += [Pairing(NO_INSTANCES, (picture,)) for picture in known if picture not in things]


def _side(root: Path, place: Place, picture: str) -> int:
    above = Path(picture).relative_to(place.pictures.relative_to(root)).parts[0]
    side = place.side or place.sides.get(above)
    return SPLITS.index(side) if side else NOBODY


def _matched(
    root: Path, place: Place, pictures: Sequence[str], folder: Path | None, found: _Found
) -> Matched | LayersFound | None:
    if folder is None:
        return None
    names, others = files_under(root, folder)
    below = folder.relative_to(root).as_posix()
    if others:
        found.note(f"left out {others} files in {below}: neither pictures nor arrays")
    of_picture, of_mask = key_below(place.pictures.relative_to(root).as_posix()), key_below(below)
    keys = {name: _below_side(place, of_picture(name)) for name in pictures} | {name: of_mask(name) for name in names}
    single = matched(pictures, names, keys.__getitem__)
    layered = None
    if 2 * len(single.pairs) < len(pictures) and (grouped := by_group(pictures, names, keys.__getitem__)):
        found.note(f"each picture has its mask in one of the folders in {below}: they are not taken for classes")
        return grouped
    if folder == place.masks and 2 * len(single.pairs) < len(pictures):
        layered = by_folder(pictures, names, keys.__getitem__) or by_ending(pictures, names, keys.__getitem__)
    if layered is not None:
        found.note(f"{layered.how}: {listed(sorted({kind for files in layered.files.values() for kind in files}))}")
        return layered
    if single.ends:
        found.note(f"masks' names without {listed(sorted(single.ends))} are those of pictures")
    return single


def _below_side(place: Place, key: str) -> str:
    """A picture's path below the folder of its side, where masks have no such folders."""
    above, _, rest = key.partition("/")
    return rest if rest and above in place.sides else key


def _nothing(root: Path, places: Sequence[Place]) -> NetwrightError:
    place = next((place for place in places if place.masks or place.instances), places[0])
    folder = place.masks or place.instances or place.pictures
    pictures, _ = files_under(root, place.pictures, EXTENSIONS)
    masks, _ = files_under(root, folder)
    if not pictures:
        fix = f"pictures end in {' '.join(EXTENSIONS)}"
        return NetwrightError(f"no pictures in {place.pictures}, although {folder} has {len(masks)} masks", fix)
    if not masks:
        problem = f"no masks in {folder}, although {place.pictures} has {len(pictures)} pictures"
        fix = f"put a mask for each there, as {Path(pictures[0]).stem}.png; masks end in {' '.join(ENDINGS)}"
        return NetwrightError(problem, f"{fix}; to sort pictures into classes, give the folders the classes' names")
    stem = Path(pictures[0]).stem
    problem = f"none of the {len(pictures)} pictures in {place.pictures} has a mask in {folder}: {pictures[0]} needs "
    problem += f"{stem}.png or {stem}_mask.png there, which has {listed((Path(name).name for name in masks), _SHOWN)}"
    return NetwrightError(problem, "give each mask the name of its picture, or a table with the columns path and mask")


# A table


def _of_table(table: Path) -> _Found:
    columns, rows = _pair_table.rows(table)
    found, seen, total = _Found(notes=list(_pair_table.unused(columns))), dict[str, int](), 0
    absent = ""
    for row in rows:
        total += 1
        if seen.setdefault(row.picture, row.number) != row.number:
            fault = f"{row.picture} stands in row {seen[row.picture]} already"
            raise _pair_table.refused(table, row.number, fault, "keep one row for each picture")
        mask = row.mask or row.instances
        missing = [
            name
            for name in (row.picture, row.mask, row.instances)
            if name and not _pair_table.is_file(table.parent / name)
        ]
        if missing:
            found.faults.append(Pairing(NO_FILE, (*missing, *([] if row.picture in missing else [row.picture]))))
            absent = absent or missing[0]
        elif not mask:
            found.faults.append(Pairing(NO_MASK, (row.picture,)))
        else:
            found.names.append(row.picture)
            found.masks.append(row.mask)
            found.layers.append({})
            found.instances.append(row.instances)
            found.sides.append(row.side)
    if not found.names:
        why = f"{absent} is not there" if absent else "it has no masks" if total else "it has a header and no rows"
        fix = f"write rows below {_pair_table.HEADER}"
        if absent:
            fix = f"paths are relative to {table.parent}{_pair_table.closest(table.parent, absent)}"
        raise NetwrightError(f"none of the {total} rows of {table} is a picture with a mask: {why}", fix)
    return found


# Both


def _files(root: Path, found: _Found) -> tuple[MaskFiles, tuple[str, ...]]:
    """The masks as they are read, and their classes where folders or names say so."""
    if found.pieces:
        return _of_pieces(root, found), ()
    instances = Files(root, found.instances) if all(found.instances) else None
    if any(found.instances) and instances is None:
        found.note(
            f"{sum(map(bool, found.instances))} of {len(found.names)} pictures have instances: they are not used"
        )
    semantic, classes = _semantic(root, found)
    if semantic is None and instances is None:
        problem = "some pictures have masks and others have instances only, or masks of another layout"
        raise NetwrightError(f"{root}: {problem}", "give all pictures the same: masks/, and instances/ where known")
    return MaskFiles(semantic, instances, faults=tuple(found.faults)), classes


def _of_pieces(root: Path, found: _Found) -> MaskFiles:
    names = [files[0] for files in found.pieces]
    if all(len(files) == 1 for files in found.pieces):
        return MaskFiles(Files(root, names), faults=tuple(found.faults))
    return MaskFiles(None, Pieces(root, found.pieces, names), faults=tuple(found.faults))


def _semantic(root: Path, found: _Found) -> tuple[Blobs | None, tuple[str, ...]]:
    if all(found.masks):
        return Files(root, found.masks), ()
    if not all(found.layers):
        return None, ()
    classes = tuple(sorted({kind for files in found.layers for kind in files}))
    if len(classes) == 1:  # one class and the rest: nothing overlaps
        return Files(root, [files[classes[0]] for files in found.layers]), ("background", *classes)
    names = [next(iter(files.values())) for files in found.layers]
    return Layers(root, classes, found.layers, names), classes


def _told(faults: Sequence[Pairing]) -> list[str]:
    counts = Counter(fault.kind for fault in faults)
    return [
        f"{counts[kind]} × {kind}: {listed((fault.names[0] for fault in faults if fault.kind == kind), _SHOWN)}"
        for kind in counts
    ]
