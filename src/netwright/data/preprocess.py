"""The one definition of how a picture becomes an array, shared by training, evaluation and prediction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, get_args

import numpy as np
from PIL import Image

from netwright.core.errors import NetwrightError, unknown
from netwright.core.options import Between, check
from netwright.data.decode import Pixels, Source, UnreadableImage, flatten, upright, upright_picture

Fit = Literal["crop", "pad", "squash"]
PADDING = 127
# Above three times the target Pillow first averages whole blocks; its authors find the result close to the exact one.
REDUCING_GAP = 3.0


@dataclass(frozen=True)
class Preprocess:
    """How pictures are resized, cropped and normalised; it travels with the model as JSON.

    A picture is resized with Pillow's bicubic filter, which averages over all pixels when it shrinks (antialiasing),
    to a square of `stored_size`; the network sees squares of `image_size` cut from it.

    Args:
        image_size: side of the square that the network sees.
        stored_size: side of the square that is kept, at least `image_size`.
        fit: `crop` fills the square with the centre, `pad` shows all on grey, `squash` changes the proportions.
        channels: 1 for grey, 3 for colour.
        mean: per channel, on the scale 0 to 1; subtracted.
        std: per channel, on the scale 0 to 1; divided by.
    """

    image_size: Annotated[int, Between(1)]
    stored_size: Annotated[int, Between(1)]
    fit: Fit = "crop"
    channels: int = 3
    mean: tuple[float, ...] = field(kw_only=True)
    std: tuple[float, ...] = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise unknown("fit", self.fit, get_args(Fit))
        if self.channels not in (1, 3):
            raise NetwrightError(f"channels cannot be {self.channels}", "give 1 for grey or 3 for colour")
        if self.image_size < 1:
            raise NetwrightError(f"image_size cannot be {self.image_size}", "give at least 1")
        if self.stored_size < self.image_size:
            problem = f"stored_size {self.stored_size} is smaller than image_size {self.image_size}"
            raise NetwrightError(problem, f"give stored_size={self.image_size} or more")
        if not len(self.mean) == len(self.std) == self.channels:
            problem = f"mean and std have {len(self.mean)} and {len(self.std)} values for {self.channels} channels"
            raise NetwrightError(problem, f"give {self.channels} of each")

    @classmethod
    def plain(cls, image_size: int, stored_size: int, fit: Fit = "crop", channels: int = 3) -> "Preprocess":
        """Geometry only: values from 0 to 1 are left as they are."""
        return cls(image_size, stored_size, fit, channels, mean=(0.0,) * channels, std=(1.0,) * channels)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Preprocess":
        """What `to_json` returned, read back and checked.

        Raises:
            NetwrightError: a value is missing, unknown or out of range.
        """
        missing = {"image_size", "stored_size", "mean", "std"} - set(document)
        if missing:
            raise NetwrightError(f"the preprocessing lacks {', '.join(sorted(missing))}", "save the model again")
        given = check("preprocessing", cls, document)
        given |= {name: tuple(given[name]) for name in ("mean", "std")}
        return cls(**given)

    def to_json(self) -> dict[str, Any]:
        """Every field as a value that JSON can hold."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one stored picture: S S C."""
        return self.stored_size, self.stored_size, self.channels

    def stored(self, source: Source) -> Pixels:
        """A picture file as it is kept: S S C.

        Raises:
            UnreadableImage: not a picture, damaged, or too large.
        """
        return self.resized(upright(source, channels=self.channels, target=self.stored_size))

    def from_picture(self, picture: Image.Image) -> Pixels:
        """A Pillow image of any mode, read as its file would be, as it is kept: S S C.

        A large JPEG is decoded in full here, and at a fraction of its size by `stored`; that rounds differently.

        Raises:
            UnreadableImage: its data are damaged, or it has no pixels.
        """
        name = str(getattr(picture, "filename", "")) or "the picture"
        if 0 in picture.size:
            raise UnreadableImage(name, f"it has no pixels ({picture.width}×{picture.height})")
        return self.resized(upright_picture(picture, name, channels=self.channels))

    def from_array(self, array: Pixels) -> Pixels:
        """A picture given as an array H W or H W C (C = 1, 3 or 4) as it is kept: S S C.

        Raises:
            NetwrightError: another type or another shape.
        """
        check_pixels(array, "the picture", dimensions=(2, 3))
        picture = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
        return self.resized(flatten(picture, channels=self.channels))

    def centre(self, images: Pixels) -> Pixels:
        """The middle square that the network sees, of S S C or N S S C."""
        start = (self.stored_size - self.image_size) // 2
        middle = slice(start, start + self.image_size)
        return images[..., middle, middle, :]

    def resized(self, picture: Image.Image) -> Pixels:
        """A flat picture, mode L or RGB, as it is kept: S S C."""
        mode = "L" if self.channels == 1 else "RGB"
        picture = picture if picture.mode == mode else picture.convert(mode)
        size, side = (self.stored_size, self.stored_size), min(picture.size)
        if picture.size == size:
            return np.array(picture).reshape(self.shape)
        if self.fit == "pad":
            return np.array(_padded(picture, self.stored_size)).reshape(self.shape)
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side) if self.fit == "crop" else None
        resized = picture.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=REDUCING_GAP)
        return np.array(resized).reshape(self.shape)


def check_pixels(array: Any, what: str, *, dimensions: tuple[int, ...]) -> None:
    """Refuse what is not uint8 pixels with channels last.

    Raises:
        NetwrightError: with the line of code that mends it.
    """
    if not isinstance(array, np.ndarray):
        raise NetwrightError(f"{what} is a {type(array).__name__}, not an array", "give a numpy array: np.asarray(…)")
    if array.dtype != np.uint8:
        raise NetwrightError(f"{what} has type {array.dtype}, not uint8", _to_bytes(array))
    if array.ndim not in dimensions or 0 in array.shape:
        batch = "N " if max(dimensions) == 4 else ""
        raise NetwrightError(f"{what} has shape {array.shape}", f"give {batch}H W or {batch}H W C")
    if array.ndim == max(dimensions) and array.shape[-1] not in (1, 3, 4):
        first = array.shape[-3] in (1, 3, 4)
        fix = f"move the channels last: np.moveaxis(x, {array.ndim - 3}, -1)" if first else "give 1, 3 or 4 channels"
        raise NetwrightError(f"{what} has shape {array.shape}: {array.shape[-1]} channels", fix)


def _to_bytes(array: np.ndarray[Any, Any]) -> str:
    if array.dtype.kind not in "fiub" or array.size == 0:
        return "give uint8 values from 0 to 255"
    low, high = array.min(), array.max()
    if low >= 0 and high <= 1:
        return "scale it: (x * 255).round().astype('uint8')"
    if low >= 0 and high <= 255:
        return "convert it: x.round().astype('uint8')" if array.dtype.kind == "f" else "convert it: x.astype('uint8')"
    return f"its values run from {low:g} to {high:g}; scale them to 0…255 and convert with .astype('uint8')"


def _padded(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
    sheet = Image.new(picture.mode, (side, side), (PADDING,) * len(picture.getbands()))
    sheet.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return sheet
