"""Pictures that a network made, as PNG files that are marked as ours; no picture of the user's is written over."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from netwright.bundle.mask_files import OURS, distinct, is_ours
from netwright.core.errors import NetwrightError
from netwright.data.decode import Pixels, upright
from netwright.data.preprocess import Preprocess
from netwright.records.atomic import disk_errors, replacing


class PictureFiles:
    """A folder for what a network makes of some pictures: PNG files of the same names.

    Args:
        folder: where to; it is made when the first picture is written.
        pictures: all that will be written of; of equal names in different folders each gets its folder's name too.
        besides: names of other files that will be written there.

    Raises:
        NetwrightError: a file that would be written is there and not ours, or is one of the pictures.
    """

    def __init__(self, folder: Path, pictures: Sequence[Path], *, besides: Sequence[str] = ()) -> None:
        names = distinct(pictures)
        self.places = {path: folder / f"{name}.png" for path, name in zip(pictures, names, strict=True)}
        given = {path.resolve() for path in pictures}
        for place in (*self.places.values(), *(folder / name for name in besides)):  # before anything is computed
            refuse_taken(place, given)
        if twice := {folder / name for name in besides} & set(self.places.values()):
            raise NetwrightError(f"{twice.pop()} would be written twice", "rename that picture, or leave out --sheet")
        refuse_unmakeable(folder)

    def write(self, picture: Path, made: Image.Image) -> Path:
        """Write what was made of a picture, and say where."""
        return write_picture(self.places[picture], made)


def refuse_taken(place: Path, given: set[Path] | frozenset[Path] = frozenset()) -> None:
    """Say that a picture cannot be written where it would take the place of one that we did not write.

    Args:
        place: where to.
        given: the pictures that are worked on, resolved.

    Raises:
        NetwrightError: it would.
    """
    if place.resolve() in given:
        raise NetwrightError(f"{place} is one of the pictures, and would be written over", "give another place: -o")
    if place.exists() and not is_ours(place):
        fix = "give another place: -o; or move the file away"
        raise NetwrightError(f"{place} is there already, and netwright did not write it", fix)


def refuse_unmakeable(folder: Path) -> None:
    """Say that a folder cannot be made, before anything is computed for it.

    Raises:
        NetwrightError: it, or one above it, is a file.
    """
    there = next((each for each in (folder, *folder.parents) if each.exists()), None)
    if there is not None and not there.is_dir():
        raise NetwrightError(f"{there} is a file, and a folder is wanted there", "give another place: -o")


def write_picture(place: Path, picture: Image.Image) -> Path:
    """A PNG that is marked as ours; folders above it are made.

    Raises:
        NetwrightError: the disk refuses.
    """
    mark = PngInfo()
    mark.add_text("Software", OURS)
    with disk_errors(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as temporary, temporary.open("wb") as file:
        picture.save(file, "PNG", pnginfo=mark)
    return place


def as_bytes(pictures: Tensor) -> list[Pixels]:
    """Pictures in [0, 1], N C H W, as bytes: H W of grey, H W 3 of colour."""
    rounded = pictures.detach().float().clamp(0, 1).mul(255).round().byte().cpu().permute(0, 2, 3, 1).numpy()
    return [np.ascontiguousarray(each[..., 0] if each.shape[2] == 1 else each) for each in rounded]


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a picture, turned upright.

    Raises:
        UnreadableImage: not a picture, damaged, or too large.
    """
    return upright(path).size


def restored(made: Pixels, preprocess: Preprocess, size: tuple[int, int]) -> Image.Image:
    """What a network made, at the size that this part of the picture had before it was prepared.

    Of a picture that was cropped this is the square that the network saw; padding is taken off again.

    Args:
        made: H W or H W 3.
        preprocess: how the picture was prepared.
        size: of the picture, width and height.
    """
    image = Image.fromarray(made)
    seen = preprocess.image_size / preprocess.stored_size
    if preprocess.fit == "squash":
        return image.resize(_scaled(size, seen), Image.Resampling.BICUBIC)
    side = max(size) if preprocess.fit == "pad" else min(size)
    square = _scaled((side, side), seen)
    large = image.resize(square, Image.Resampling.BICUBIC)
    if preprocess.fit == "crop":
        return large
    width, height = min(size[0], square[0]), min(size[1], square[1])
    left, top = (square[0] - width) // 2, (square[1] - height) // 2
    return large.crop((left, top, left + width, top + height))


def _scaled(size: tuple[int, int], share: float) -> tuple[int, int]:
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))
