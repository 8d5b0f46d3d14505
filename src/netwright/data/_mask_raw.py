"""A mask file as it is stored: its numbers or colours, none of them changed, turned upright."""

from dataclasses import dataclass, replace
from io import BytesIO
from math import prod
from typing import IO, Any, Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.core.errors import NetwrightError, listed
from netwright.data.decode import MOST_WITH_MASK, UnreadableImage, opened, quiet, readable, turn_of
from netwright.data.listing import Encoded

ARRAYS = (".npy", ".npz")
DEEPEST = 65_535
_GREYS = ("L", "I", "I;16", "I;16B", "I;16L", "I;16N")
_LOSSY = ("JPEG", "MPO")
_AS_PNG = "save it as PNG with one class number a pixel"

Kind = Literal["grey", "palette", "colour", "stack"]


@dataclass(frozen=True, eq=False)
class Raw:
    """A mask as it is stored.

    Attributes:
        kind: what its values are.
        values: numbers, H W; for "colour" H W 3 of uint8; for "stack" layers, K H W.
        palette: the colours of the numbers 0 to 255, uint8 256 3; None where there is none.
        lossy: whether its format changes values.
        layers: what the layers of a stack are called; empty where they have no names.
        deep: whether its numbers have 16 bits.
    """

    kind: Kind
    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None
    lossy: bool = False
    layers: tuple[str, ...] = ()
    deep: bool = False


def raw(blob: Encoded, name: str) -> Raw:
    """A mask's values.

    Args:
        blob: a file's bytes; or an array, H W of numbers or K H W of layers.
        name: what to call it where it cannot be used.

    Raises:
        UnreadableImage: it cannot be read.
        NetwrightError: it is read, but is no mask: fractions, half-transparent pixels.
    """
    if not isinstance(blob, bytes):
        return _of_array(blob, name)
    if blob.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        return _of_numpy(blob, name)
    with quiet, opened(blob, name, most_megapixels=MOST_WITH_MASK) as picture:
        with readable(picture, name):  # what follows is about masks: its errors are not those of damaged files
            pages, turn = _pages(picture), turn_of(picture)
        found = _of_picture(picture, pages, name, lossy=_is_lossy(picture, blob))
    return found if turn is None else _turned(found, turn)


def _pages(picture: Image.Image) -> list[NDArray[Any]]:
    """The values of a picture; those of all pages of a TIFF."""
    if picture.format != "TIFF":
        return [np.asarray(picture)]
    pages: list[NDArray[Any]] = []
    for page in range(getattr(picture, "n_frames", 1)):
        picture.seek(page)
        pages.append(np.asarray(picture))
    return pages


def _is_lossy(picture: Image.Image, blob: bytes) -> bool:
    """Whether values are not those that were saved: JPEG, also inside a TIFF, and WebP without its lossless chunk."""
    jpeg = picture.format in _LOSSY or picture.info.get("compression") == "jpeg"
    return jpeg or (picture.format == "WEBP" and b"VP8L" not in blob)


def _of_picture(picture: Image.Image, pages: list[NDArray[Any]], name: str, *, lossy: bool) -> Raw:
    values = pages[0]
    if len(pages) > 1:
        return _stacked(pages, name)
    if picture.mode == "P":
        return Raw("palette", values, _palette(picture))
    if picture.mode == "1":
        return Raw("grey", values.astype(np.uint8) * 255)  # black and white, as Pillow shows it
    if picture.mode in _GREYS:
        return Raw("grey", _numbers(values, name), lossy=lossy, deep=values.dtype.itemsize > 1)
    if picture.mode in ("RGB", "RGBA", "LA", "PA", "RGBX"):
        return _flat(picture, values, name, lossy=lossy)
    if picture.mode == "F":
        return Raw("grey", _numbers(values, name), deep=True)
    raise NetwrightError(f"{name} has colours of the kind {picture.mode}: no colour stands for a class", _AS_PNG)


def _flat(picture: Image.Image, values: NDArray[Any], name: str, *, lossy: bool) -> Raw:
    """Colours or greys without their opacity, which has to be full: what a half-transparent pixel means nobody says."""
    if picture.mode in ("RGBA", "LA", "PA"):
        clear = int((values[..., -1] < 255).sum())
        if clear:
            problem = f"{name} has {clear:,} transparent pixels: what class they are of is not said"
            raise NetwrightError(problem, "save it without transparency (an alpha channel), the class as a colour")
        values = values[..., :-1]
    if picture.mode == "PA":
        return Raw("palette", np.ascontiguousarray(values[..., 0]), _palette(picture))
    if values.shape[-1] == 1:
        return Raw("grey", np.ascontiguousarray(values[..., 0]), lossy=lossy)
    return Raw("colour", np.ascontiguousarray(values[..., :3]), lossy=lossy)


def _palette(picture: Image.Image) -> NDArray[np.uint8]:
    colours = np.zeros(768, np.uint8)
    given = picture.getpalette("RGB") or []
    colours[: len(given)] = given[:768]
    return colours.reshape(256, 3)


def _stacked(pages: list[NDArray[Any]], name: str) -> Raw:
    shapes = {page.shape for page in pages}
    if len(shapes) > 1 or pages[0].ndim != 2:
        sizes = listed(sorted("×".join(map(str, shape)) for shape in shapes))
        fix = "give each class one grey page of the picture's size, or save one page"
        raise NetwrightError(f"{name} has {len(pages)} pages that are no layers of a mask ({sizes})", fix)
    return Raw("stack", _numbers(np.stack(pages), name))


def _of_numpy(blob: bytes, name: str) -> Raw:
    try:
        _check_lengths(blob)
        found = np.load(BytesIO(blob), allow_pickle=False)
        arrays = {key: found[key] for key in found.files} if hasattr(found, "files") else {"": found}
    except (ValueError, OSError, EOFError, KeyError, RuntimeError, BadZipFile) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else str(error).split("\n")[0]
        raise UnreadableImage(name, f"no array that can be read ({reason})") from None
    if not arrays:
        raise UnreadableImage(name, "an .npz file without arrays")
    if len(arrays) == 1:
        return _of_array(next(iter(arrays.values())), name)
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        fix = "keep one array in it: H W of class numbers or K H W of layers; or H W for each class, by its name"
        raise NetwrightError(f"{name} has the arrays {listed(arrays)}, which are no layers of one mask", fix)
    return Raw("stack", _numbers(np.stack(list(arrays.values())), name), layers=tuple(arrays))


def _check_lengths(blob: bytes) -> None:
    """An array's shape is compared with what is there before memory is taken for it.

    Raises:
        ValueError: the file is shorter than its header says, or has none.
    """
    if not blob.startswith(b"PK"):
        _check_length(BytesIO(blob), len(blob))
        return
    with ZipFile(BytesIO(blob)) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                _check_length(file, member.file_size)


def _check_length(file: IO[bytes], length: int) -> None:
    version = np.lib.format.read_magic(file)
    reads = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reads(file)
    wanted, has = prod(shape) * dtype.itemsize, length - file.tell()
    if min(shape, default=0) < 0 or (wanted > has and not dtype.hasobject):
        raise ValueError(f"its header says {'×'.join(map(str, shape))} of {dtype}, and {has:,} bytes follow")


def _of_array(array: NDArray[Any], name: str) -> Raw:
    values = _numbers(array, name)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim not in (2, 3) or not values.size:
        problem = f"{name} has the shape {' '.join(map(str, array.shape)) or '()'}"
        raise NetwrightError(problem, "a mask is H W of class numbers, or K H W of layers of 0 and 1")
    deep = values.dtype.itemsize > 1
    return Raw("grey", values, deep=deep) if values.ndim == 2 else Raw("stack", values)


def _numbers(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Whole numbers from 0 to DEEPEST as uint8 or uint16; what a float holds if they are whole."""
    if values.dtype.kind == "u" and values.dtype.itemsize < 3:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind not in "iuf":
        raise NetwrightError(f"{name} holds {values.dtype}, not numbers", _AS_PNG)
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    whole = values.dtype.kind != "f" or bool((np.isfinite(values) & (values == np.rint(values))).all())
    if not whole:
        problem = f"{name} holds fractions (from {low:g} to {high:g}): a mask has one whole number a pixel"
        fix = "round them and save as PNG: Image.fromarray(np.rint(mask).astype('uint8')); probabilities: (mask > 0.5)"
        raise NetwrightError(problem, fix)
    if low < 0 or high > DEEPEST:
        fix = f"number the classes from 0 (255 is ignored), and instances from 1, up to {DEEPEST:,}"
        raise NetwrightError(f"{name} has the value {low if low < 0 else high:.0f}", fix)
    return values.astype(np.uint8 if high < 256 else np.uint16)


def _turned(found: Raw, turn: Image.Transpose) -> Raw:
    """As Pillow turns pictures: a transposition where the turn has one, then flips. Of layers the last two axes."""
    axes = (1, 2) if found.kind == "stack" else (0, 1)
    swap, flips = _TURNS[turn]
    values = np.swapaxes(found.values, *axes) if swap else found.values
    return replace(found, values=np.ascontiguousarray(np.flip(values, tuple(axes[flip] for flip in flips))))


_TURNS: dict[Image.Transpose, tuple[bool, tuple[int, ...]]] = {
    Image.Transpose.FLIP_LEFT_RIGHT: (False, (1,)),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, (0,)),
    Image.Transpose.ROTATE_180: (False, (0, 1)),
    Image.Transpose.ROTATE_90: (True, (0,)),
    Image.Transpose.ROTATE_270: (True, (1,)),
    Image.Transpose.TRANSPOSE: (True, ()),
    Image.Transpose.TRANSVERSE: (True, (0, 1)),
}
