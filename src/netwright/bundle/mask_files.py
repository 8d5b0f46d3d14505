"""Masks as files that everybody can open: ids or colours as PNG, over pictures as JPEG, things as deep PNG or TIFF."""

import re
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from torch import Tensor

from netwright.bundle.masks import MaskPrediction
from netwright.core.errors import NetwrightError
from netwright.data.decode import Pixels
from netwright.records.atomic import disk_errors, replacing, write_atomic
from netwright.report.overlay import GREYS, coloured, overlay

Kind = Literal["ids", "colours"]
OURS = "netwright"  # in files that we wrote, and may write anew
MARKS = (b"tEXtSoftware\0netwright", b"\xff\xfe\0\x0bnetwright")  # in PNG, and in JPEG
HEAD = 4096  # bytes in which they stand: before the pixels, or in TIFF after them
SOFTWARE = 305  # a tag of TIFF
DEEP = 65_535  # things that 16 bits can number
LONGEST = 4096  # pixels of a side of pictures to look at
QUALITY = 90
_UNSAFE = re.compile(r'[\s/\\:*?"<>|\x00-\x1f]+')


class MaskFiles:
    """Where the masks of some pictures are written, and how. No picture and no file of the user's is written over.

    Args:
        folder: where to; it is made.
        pictures: all that will be predicted.
        kind: `ids` for PNG whose values are class numbers, with a palette; `colours` for PNG in the classes' colours.
        overlays: whether to write the mask over its picture as well.
        instances: whether things will be numbered.
        classes: their names.
        colours: of the classes, K 3.
        background: whether class 0 is one.
        several: whether classes overlap; each then has a file of ids, of 0 and 255.

    Raises:
        NetwrightError: the folder cannot be made, or a file that would be written is there and not ours.
    """

    def __init__(
        self,
        folder: Path,
        pictures: Sequence[Path],
        *,
        kind: Kind,
        overlays: bool,
        instances: bool = False,
        classes: Sequence[str],
        colours: Pixels,
        background: bool,
        several: bool,
    ) -> None:
        self.folder = folder
        self.kind: Kind = kind
        self.overlays = overlays
        self.colours = colours
        self.background = background
        self.names = dict(zip(map(str, pictures), distinct(pictures), strict=True))
        self._given = {path.resolve() for path in pictures}
        self._layers = several and kind == "ids"
        self._endings = [f"mask_{name}.png" for name in safe(classes)] if self._layers else ["mask.png"]
        for name in self.names:  # before anything is computed
            for ending in (*self._endings, *["overlay.jpg"] * overlays, *["instances.png"] * instances):
                self._free(name, ending)
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, made: MaskPrediction, picture: Pixels) -> list[Path]:
        """Write what is wanted of one picture, and say where.

        Raises:
            NetwrightError: a file is in the way, or the disk refuses.
        """
        planes = made.mask * np.uint8(255) if self._layers else [made.mask]
        written = [
            self._png(self._free(made.name, ending), plane) for ending, plane in zip(self._endings, planes, strict=True)
        ]
        if self.overlays:
            seen, mask = shrunk(picture, made.mask)
            shown = overlay(seen, mask, self.colours, background=self.background)
            path = self._free(made.name, "overlay.jpg")
            write_atomic(path, _jpeg(shown))
            written.append(path)
        if made.instances is not None:
            written.append(self._numbers(made.name, made.instances))
        return written

    def probabilities(self, name: str, shape: tuple[int, int, int]) -> "Probabilities":
        """A file for a picture's probabilities, K H W."""
        return Probabilities(self.folder / f"{self.names[name]}_probabilities.npy", shape)

    def _png(self, path: Path, mask: Pixels) -> Path:
        image = Image.fromarray(mask if self.kind == "ids" else coloured(mask, self.colours))
        if self.kind == "ids" and not self._layers:
            image.putpalette(_palette(self.colours))
        return _saved(path, image, mask.nbytes)

    def _numbers(self, name: str, ids: NDArray[Any]) -> Path:
        """Numbered things as PNG of 16 bits, or where these are not enough as TIFF of 32."""
        if int(ids.max()) <= DEEP:
            return _saved(self._free(name, "instances.png"), Image.fromarray(ids.astype(np.uint16)), ids.nbytes)
        path = self._free(name, "instances.tif")
        tags = ImageFileDirectory_v2()
        tags[SOFTWARE] = OURS
        with replacing(path, needed=ids.nbytes // 10) as temporary, temporary.open("wb") as file:
            Image.fromarray(ids).save(file, "TIFF", compression="tiff_adobe_deflate", tiffinfo=tags)
        return path

    def _free(self, name: str, ending: str) -> Path:
        """A path that may be written."""
        path = self.folder / f"{self.names[name]}_{ending}"
        if path.resolve() in self._given:
            raise NetwrightError(f"{path} is one of the pictures, and would be written over", "give another folder: -o")
        if path.exists() and not is_ours(path):
            fix = "give another folder: -o; or move the file away"
            raise NetwrightError(f"{path} is there already, and netwright did not write it", fix)
        return path


class Probabilities:
    """A NPY file of float16, K H W, written some rows at a time; it takes its place when it is whole."""

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.path = path
        self.shape = shape
        self._replacing = replacing(path, needed=2 * int(np.prod(shape)))

    def __enter__(self) -> "Probabilities":
        self._file = self._replacing.__enter__().open("wb")
        header: dict[str, Any] = {"descr": "<f2", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._start = self._file.tell()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._file.close()
        self._replacing.__exit__(*raised)

    def write(self, top: int, rows: Tensor) -> None:
        """Rows from `top` on, K h W."""
        values = rows.half().cpu().numpy().astype("<f2", copy=False)
        _, height, width = self.shape
        for k, plane in enumerate(values):
            self._file.seek(self._start + 2 * width * (k * height + top))
            self._file.write(plane.tobytes())


def distinct(pictures: Sequence[Path]) -> list[str]:
    """A name for each picture: its stem; with its folder where stems are equal; and numbered where that is not enough.

    Small and capital letters are not told apart, as on some disks.
    """
    stems = Counter(path.stem.casefold() for path in pictures)
    names = [
        path.stem
        if stems[path.stem.casefold()] == 1
        else "-".join(filter(None, (path.absolute().parent.name, path.stem)))
        for path in pictures
    ]
    taken: set[str] = set()
    for place, name in enumerate(names):
        number = 1
        while (unique := name if number == 1 else f"{name}-{number}").casefold() in taken:
            number += 1
        taken.add(unique.casefold())
        names[place] = unique
    return names


def safe(classes: Sequence[str]) -> list[str]:
    """Class names as parts of file names, all different."""
    plain = [_UNSAFE.sub("-", name).strip("-.")[:60] or str(place) for place, name in enumerate(classes)]
    twice = Counter(name.casefold() for name in plain)
    return [name if twice[name.casefold()] == 1 else f"{place}-{name}" for place, name in enumerate(plain)]


def is_ours(path: Path) -> bool:
    """Whether a picture was written here; its first or last bytes tell, however large it is."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, path.stat().st_size - HEAD))
            tail = file.read()
    except OSError:
        return False
    return any(mark in head for mark in MARKS) or (head[:4] == b"II*\0" and f"{OURS}\0".encode() in tail)


def shrunk(picture: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
    """A picture of more than `LONGEST` a side as the means of blocks, and its mask as their highest ids: thin things
    stay. H W C, H W or K H W."""
    height, width = picture.shape[:2]
    step = -(-max(height, width) // LONGEST)
    if step == 1 or min(height, width) < step:
        return picture, mask
    rows, columns = height // step, width // step
    small = np.empty((rows, columns, picture.shape[2]), np.uint8)
    marks = np.empty((*mask.shape[:-2], rows, columns), np.uint8)
    for row in range(rows):  # one row of blocks at a time: the means need more memory than bytes
        strip = slice(row * step, (row + 1) * step)
        blocks = picture[strip, : columns * step].reshape(step, columns, step, -1)
        small[row] = np.rint(blocks.mean((0, 2)))
        marks[..., row, :] = (
            mask[..., strip, : columns * step].reshape(*mask.shape[:-2], step, columns, step).max((-3, -1))
        )
    return small, marks


def _saved(path: Path, image: Image.Image, size: int) -> Path:
    """A PNG that is marked as ours; `size` is that of the values, in bytes."""
    mark = PngInfo()
    mark.add_text("Software", OURS)
    with replacing(path, needed=size // 10) as temporary, temporary.open("wb") as file:
        image.save(file, "PNG", pnginfo=mark)
    return path


def _palette(colours: Pixels) -> bytes:
    """256 colours; what is no class is grey."""
    every = np.full((256, 3), GREYS[0], np.uint8)
    every[: len(colours)] = colours
    return every.tobytes()


def _jpeg(picture: Pixels) -> bytes:
    out = BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=QUALITY, subsampling=0, comment=OURS)
    return out.getvalue()
