"""Where the pictures and the masks of a data set lie: the folders that belong together, by their usual names."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from netwright.data._mask_raw import ARRAYS
from netwright.data.files import EXTENSIONS
from netwright.data.folder import IGNORED, SIDES, folders_in

IMAGES = ("images", "image", "imgs", "img", "jpegimages")
MASKS = ("masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass", "segmentations", "gt")
INSTANCES = ("instances", "instance", "instance_masks", "segmentationobject")
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
    """

    side: str
    pictures: Path
    masks: Path | None = None
    instances: Path | None = None
    single: bool = False


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
    if not sides or any(_files(place.pictures)):
        return [place]
    masks, instances = (_sides(folder) if folder else {} for folder in (place.masks, place.instances))
    found = [Place(side, folder, masks.get(side), instances.get(side)) for side, folder in sides.items()]
    return found if masks or instances else [place]


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
    return Place(side, pictures, masks, instances)


def _first(named: dict[str, Path], names: tuple[str, ...]) -> Path | None:
    return next((named[name] for name in names if name in named), None)


def _sides(folder: Path) -> dict[str, Path]:
    named = {_SIDES[entry.name.casefold()]: entry for entry in folders_in(folder) if entry.name.casefold() in _SIDES}
    return {side: named[side] for side in ("train", "val", "test") if side in named}


def _holds_masks(folder: Path) -> bool:
    """Whether a picture or an array is in it, at any depth; boxes of objects lie in folders of that name too."""
    return any(path.suffix.lower() in ENDINGS for path in _files(folder, deep=True))


def _files(folder: Path, *, deep: bool = False) -> Iterator[Path]:
    for entry in folder.rglob("*") if deep else folder.iterdir():
        if entry.name[0] != "." and entry.name not in IGNORED and entry.is_file():
            yield entry
