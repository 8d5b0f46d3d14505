"""Where the pictures and the masks of a data set lie: the folders that belong together, by their usual names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from netwright.core.errors import NetwrightError, listed
from netwright.data._mask_raw import ARRAYS
from netwright.data.files import EXTENSIONS
from netwright.data.folder import IGNORED, SIDES, folders_in

IMAGES = ("images", "image", "imgs", "img", "jpegimages")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass", "segmentations", "gt")
INSTANCES = ("instances", "instance", "instance_masks", "segmentationobject")
OF_MASKS_ALONE = ("masks", "mask", "segmentationclass", "segmentations")  # what no folder of other data is called
NNUNET = (("imagesTr", "labelsTr", ""), ("imagesTs", "labelsTs", "test"))
ENDINGS = (*EXTENSIONS, *ARRAYS)
_SIDES = SIDES | {"training": "train", "testing": "test"}


@dataclass(frozen=True)
class Place:
    """Folders that belong together.

    Attributes:
        side: "train", "val" or "test"; empty where nothing says.
        pictures: their folder.
        masks: of classes, or None.
        instances: of numbered things, or None.
        single: whether all masks in their folder are of its one picture.
        sides: where the pictures lie in folders for the sides and the masks do not, the side of each such folder.
    """

    side: str
    pictures: Path
    masks: Path | None = None
    instances: Path | None = None
    single: bool = False
    sides: Mapping[str, str] = field(default_factory=dict[str, str])


def places_in(root: Path) -> list[Place]:
    """The folders of pictures and masks under a root, in the order of `SPLITS`; none if it has another layout."""
    return _nnunet(root) or _at(root) or _by_side(root) or _by_picture(root)


def holds_files(root: Path) -> list[Place] | None:
    """The places of a folder of pictures and masks, or None if it is another kind of folder."""
    try:
        return places_in(root) or None
    except OSError:
        return None


def _at(root: Path) -> list[Place]:
    """`images/` and `masks/` side by side, each perhaps with folders for the sides in it."""
    place = _beside(root, "")
    if place is None or not (place.masks or place.instances):
        return []
    sides = _sides(place.pictures)
    if not sides:
        return [place]
    masks, instances = (_sides(folder) if folder else {} for folder in (place.masks, place.instances))
    found = [Place(side, folder, masks.get(side), instances.get(side)) for side, folder in sides.items()]
    return found if masks or instances else [replace(place, sides={each.name: side for side, each in sides.items()})]


def refuse_loose(places: Sequence[Place]) -> None:
    """Pictures beside the folders for the sides: nothing says which side they are of.

    Raises:
        NetwrightError: there are some.
    """
    above = {place.pictures if place.sides else place.pictures.parent for place in places if place.side or place.sides}
    for folder in sorted(above):
        loose = [entry.name for entry in files_in(folder) if entry.suffix.lower() in EXTENSIONS]
        if loose and folder.name.casefold() in IMAGES:
            problem = f"{folder} has {len(loose)} pictures beside the folders {listed(sorted(_sides(folder)))}"
            fix = "move each into the folder of its side, or take the folders away and all pictures are divided anew"
            raise NetwrightError(f"{problem}, as {sorted(loose)[0]}: nothing says which side they are of", fix)


def _by_side(root: Path) -> list[Place]:
    """`train/images/` and `train/masks/`, and so on."""
    found = [place for side, folder in _sides(root).items() if (place := _beside(folder, side))]
    return found if any(place.masks or place.instances for place in found) else []


def _nnunet(root: Path) -> list[Place]:
    found = [
        Place(side, root / pictures, root / masks if (root / masks).is_dir() else None)
        for pictures, masks, side in NNUNET
        if (root / pictures).is_dir()
    ]
    return found if any(place.masks for place in found) else []


def _by_picture(root: Path) -> list[Place]:
    """A folder for each picture, as `4f1a/images/4f1a.png` and a mask for each thing in `4f1a/masks/`."""
    found: list[Place] = []
    for side, above in (_sides(root) or {"": root}).items():
        for folder in folders_in(above):
            place = _beside(folder, side)
            if place is None or place.masks is None:
                return []  # the first other folder tells
            found.append(replace(place, single=True))
    return found


def split_lists(root: Path) -> dict[str, str]:
    """The side of each picture by its name without extension, from the lists in `ImageSets/Segmentation/` (VOC)."""
    sides = dict[str, str]()
    for side in ("train", "val", "test"):
        path = root / "ImageSets" / "Segmentation" / f"{side}.txt"
        if path.is_file():
            sides |= dict.fromkeys(path.read_text("utf-8", "replace").split(), side)
    return sides


def _beside(folder: Path, side: str) -> Place | None:
    """The folder of pictures in a folder, with that of masks which holds some, and that of instances."""
    named = {entry.name.casefold(): entry for entry in folders_in(folder)}
    pictures = _first(named, IMAGES)
    if pictures is None:
        return None
    masks = next((named[name] for name in MASKS if name in named and _holds_masks(named[name])), None)
    instances = next((named[name] for name in INSTANCES if name in named and _holds_masks(named[name])), None)
    if masks is None and instances is None:
        masks = next((named[name] for name in MASKS if name in named and _awaits_masks(named[name])), None)
    return Place(side, pictures, masks, instances)


def _first(named: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    return next((named[name] for name in names if name in named), None)


def _sides(folder: Path) -> dict[str, Path]:
    named = {_SIDES[entry.name.casefold()]: entry for entry in folders_in(folder) if entry.name.casefold() in _SIDES}
    return {side: named[side] for side in ("train", "val", "test") if side in named}


def _holds_masks(folder: Path) -> bool:
    """Whether a picture or an array is in it, at any depth; boxes of objects lie in folders of that name too."""
    return any(path.suffix.lower() in ENDINGS and path.is_file() for path in files_below(folder))


def _awaits_masks(folder: Path) -> bool:
    """Whether a folder without masks can be meant for nothing else: by its name, or because nothing at all is in it."""
    return folder.name.casefold() in OF_MASKS_ALONE or not any(files_below(folder))


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder; hidden ones and litter are left out."""
    return (entry for entry in folder.iterdir() if not hidden(entry.name) and entry.is_file())


def files_below(folder: Path) -> Iterator[Path]:
    """The same at any depth, also through links to folders, but for those that lead back to a folder above; broken
    links to files are among them."""
    above: dict[str, tuple[str, ...]] = {str(folder): (os.path.realpath(folder),)}
    for at, inside, names in os.walk(folder, followlinks=True):
        chain = above.pop(at)
        kept: list[str] = []
        for name in inside:
            inner = Path(at, name)
            real = os.path.realpath(inner) if inner.is_symlink() else f"{chain[-1]}{os.sep}{name}"
            if not hidden(name) and real not in chain:
                above[str(inner)] = (*chain, real)
                kept.append(name)
        inside[:] = kept
        yield from (Path(at, name) for name in names if not hidden(name))


def hidden(name: str) -> bool:
    """Whether a file or a folder is none of the user's."""
    return name.startswith(".") or name in IGNORED
