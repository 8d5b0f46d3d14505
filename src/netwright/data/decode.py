"""One picture file becomes one 8-bit array, upright and opaque, or one plain reason why it cannot."""

import errno
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from netwright.core.errors import NetwrightError

Pixels = NDArray[np.uint8]
Source = str | Path | bytes

# Imported by name because Pillow looks for WebP and TIFF only by importing all forty of its plugins.
_READERS = (
    JpegImagePlugin.JpegImageFile,
    PngImagePlugin.PngImageFile,
    WebPImagePlugin.WebPImageFile,
    GifImagePlugin.GifImageFile,
    BmpImagePlugin.BmpImageFile,
    TiffImagePlugin.TiffImageFile,
    PpmImagePlugin.PpmImageFile,
)
FORMATS = tuple(str(reader.format) for reader in _READERS)
MOST_MEGAPIXELS = 50
MOST_WITH_MASK = 400  # of pictures whose pixels are looked at one by one: nothing is resized there
LONGEST_SIDE = 25_000
OVER = "over the limit of {} megapixels"
WHITE = (255, 255, 255)
_ROWS = 256  # that are copied at once

_BITS_PER_SAMPLE, _ORIENTATION = 258, 274
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIGNATURES = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}


class UnreadableImage(NetwrightError):  # noqa: N818 - it names what the user has, as they would say it
    """A picture that cannot be used.

    Args:
        path: the file as it was named.
        reason: why not, in a few words.
        lasting: whether the content itself is at fault, so that reading again cannot help.
    """

    def __init__(self, path: str, reason: str, *, lasting: bool = True) -> None:
        super().__init__(f"cannot read {path}: {reason}", "replace the file with a good copy, or remove it")
        self.path = path
        self.reason = reason
        self.lasting = lasting


class _UnknownScaleError(ValueError):
    """Deep grey values that no convention maps to black and white."""


class Quiet:
    """Keeps warnings raised inside Pillow from users while any thread decodes, and counts them for their thread.

    `warnings.catch_warnings` changes the whole process, so threads that each entered their own would restore one
    another's filters in the wrong order: the first one in silences, the last one out restores.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._saved = Lock(), 0, warnings.catch_warnings()
        self._own = local()

    def __enter__(self) -> "Quiet":
        self._own.warned = 0
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("always", module=r"PIL\.")
                self._shown, warnings.showwarning = warnings.showwarning, self._show
            self._inside += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)

    @property
    def warned(self) -> bool:
        """Whether Pillow had something to say on this thread since it entered."""
        return self._own.warned > 0

    def _show(self, message: Any, category: Any, filename: str, *rest: Any) -> None:
        if "PIL" in Path(filename).parts:
            self._own.warned = getattr(self._own, "warned", 0) + 1
        else:
            self._shown(message, category, filename, *rest)


quiet = Quiet()


def decode(
    source: Source,
    *,
    channels: int = 3,
    background: tuple[int, int, int] = WHITE,
    target: int | None = None,
    most_megapixels: int = MOST_MEGAPIXELS,
) -> Pixels:
    """A picture as H×W×C, C being 1 or 3: turned upright, transparency laid on the background, scaled to 8 bits.

    Args:
        source: a path, or a file's bytes. Of an animation the first frame is read.
        channels: 1 for grey, 3 for colour.
        background: what shows through where the picture is transparent.
        target: the short side the picture will be resized to. A large JPEG is then decoded at a half, quarter or
            eighth of its size, but never below twice the target, so that the resize still has pixels to average.
        most_megapixels: larger ones are refused before they are decoded.

    Raises:
        UnreadableImage: not a picture, damaged, or too large.
    """
    picture = upright(source, channels=channels, background=background, target=target, most_megapixels=most_megapixels)
    return pixels_of(picture)


def pixels_of(picture: Image.Image) -> Pixels:
    """A picture of mode L or RGB as an array, H W C; copied in strips, since Pillow would make the whole twice."""
    channels = len(picture.getbands())
    pixels = np.empty((picture.height, picture.width, channels), np.uint8)
    for top in range(0, picture.height, _ROWS):
        strip = picture.crop((0, top, picture.width, min(top + _ROWS, picture.height)))
        pixels[top : top + _ROWS] = np.asarray(strip).reshape(strip.height, strip.width, channels)
    return pixels


def upright(
    source: Source,
    *,
    channels: int = 3,
    background: tuple[int, int, int] = WHITE,
    target: int | None = None,
    most_megapixels: int = MOST_MEGAPIXELS,
) -> Image.Image:
    """What `decode` returns, still as a Pillow image of mode L or RGB."""
    name = "<bytes>" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read(source)
    with quiet, opened(data, name, most_megapixels=most_megapixels) as picture:
        del data
        if target is not None:
            with readable(picture, name):
                picture.draft(None, (2 * target, 2 * target))
        return upright_picture(picture, name, channels=channels, background=background)


def upright_picture(
    picture: Image.Image, name: str, *, channels: int = 3, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    """A picture that is open already, turned upright and flattened to mode L or RGB.

    Args:
        picture: any Pillow image; it is loaded, and otherwise left as it is.
        name: what to call it where it cannot be read.
        channels: 1 for grey, 3 for colour.
        background: what shows through where the picture is transparent.

    Raises:
        UnreadableImage: its data are damaged, or its values have no known scale.
    """
    with quiet, readable(picture, name):
        picture.load()
        flat = flatten(picture, channels=channels, background=background)
        return flat.transpose(turn) if (turn := turn_of(picture)) is not None else flat


def header(source: Source, *, most_megapixels: int = MOST_MEGAPIXELS) -> tuple[int, int, str]:
    """Width, height and Pillow mode of a picture, without decoding it.

    Raises:
        UnreadableImage: not a picture, or too large.
    """
    name = "<bytes>" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read(source)
    with quiet, opened(data, name, most_megapixels=most_megapixels) as picture:
        return *picture.size, picture.mode


def read(path: str | Path) -> bytes:
    """A file's bytes; a network file system that stutters is asked three times.

    Raises:
        UnreadableImage: the file cannot be opened.
    """
    for pause in (0.1, 0.5, None):
        try:
            return Path(path).read_bytes()
        except OSError as error:
            if pause is None or error.errno not in (errno.EIO, errno.ESTALE):
                reason = f"cannot be opened ({error.strerror})"
                raise UnreadableImage(str(path), reason, lasting=False) from None
            time.sleep(pause)
    raise AssertionError("unreachable")


def flatten(picture: Image.Image, *, channels: int | None, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Any Pillow mode as L or RGB: 8 bits, no transparency. CMYK is converted without its ink profile.

    Without `channels` it is whichever of the two loses nothing.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        sheet = Image.new("RGBA", picture.size, (*background, 255))
        picture = Image.alpha_composite(sheet, picture.convert("RGBA"))
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    mode = {None: picture.mode, 1: "L", 3: "RGB"}[channels]
    return picture if picture.mode == mode else picture.convert(mode)


@contextmanager
def readable(picture: Image.Image, name: str) -> Generator[None]:
    """Turns whatever Pillow raises into the reason why a picture cannot be used."""
    try:
        yield
    except _UnknownScaleError as error:
        raise UnreadableImage(name, str(error)) from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsing stumbles on
        raise UnreadableImage(name, _damage(picture.format or f"{picture.mode} picture", error)) from None


def opened(data: bytes, name: str, *, most_megapixels: int = MOST_MEGAPIXELS) -> Image.Image:
    """A picture whose header was read and whose size is within the limits.

    Raises:
        UnreadableImage: not a picture, or too large.
    """
    if not data:
        raise UnreadableImage(name, "empty file")
    try:
        picture = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        picture = _large(data, name, most_megapixels)
    except MemoryError:
        raise
    except Exception:  # as above: the header's parsers raise anything
        raise UnreadableImage(name, _not_an_image(data)) from None
    if reason := _too_large(*picture.size, most_megapixels):
        raise UnreadableImage(name, reason, lasting=False)  # another limit may let it through
    return picture


def _too_large(width: int, height: int, most_megapixels: int) -> str:
    if max(width, height) > LONGEST_SIDE:
        return f"{width}×{height} px is over the limit of {LONGEST_SIDE} px a side"
    if width * height > most_megapixels * 1_000_000:
        return f"{width}×{height} px is {OVER.format(most_megapixels)}"
    return ""


def _large(data: bytes, name: str, most_megapixels: int) -> Image.Image:
    """A file that `Image.open` refuses for its size without telling the sides; nothing of it is decoded here.

    Pillow's own limit belongs to the whole process, and other threads may rely on it, so it is left as it is.
    """
    for kind in FORMATS:
        factory, accepts = Image.OPEN[kind]
        if accepts is None or accepts(data[:16]) is True:
            with suppress(Exception):
                return factory(BytesIO(data), "")
    raise UnreadableImage(name, OVER.format(most_megapixels), lasting=False)


def _not_an_image(data: bytes) -> str:
    kind = next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), None)
    if kind:
        return f"damaged {kind} (its header cannot be read)"
    if data[4:8] == b"ftyp":
        return f"{data[8:12].decode('ascii', 'replace').upper()} is not supported; save it as JPEG or PNG"
    start = data[:200].decode("utf-8", "replace").lstrip("\ufeff \r\n\t").split("\n")[0][:20].strip()
    return f"not an image (starts with '{start}')" if start and start.isprintable() else "not an image"


def _damage(kind: str, error: Exception) -> str:
    message = str(error).split("\n")[0] or type(error).__name__
    if "truncated" in message.lower():
        return f"truncated {kind} ({message})"
    return f"damaged {kind} ({message})"


def turn_of(picture: Image.Image) -> Image.Transpose | None:
    """How to turn the picture upright. EXIF that cannot be read is no reason to lose the picture."""
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        return None


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Deep greys scaled by what their type can hold, not by what this picture happens to hold."""
    values = np.asarray(picture)
    low, high, full = float(values.min()), float(values.max()), _full_scale(picture, float(values.max()))
    if not 0 <= low <= high <= full:
        raise _UnknownScaleError(f"values from {low:g} to {high:g} have no known scale; save it with 8 or 16 bits")
    grey = Image.fromarray(np.rint(values * np.float32(255 / full)).astype(np.uint8))
    if "transparency" in picture.info:
        grey.putalpha(Image.fromarray((values != picture.info["transparency"]).astype(np.uint8) * 255))
    return grey


def _full_scale(picture: Image.Image, high: float) -> float:
    if picture.mode == "F":
        return next((full for full in (1.0, 255.0) if high <= full), 65535.0)
    if isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_BITS_PER_SAMPLE) == (12,):
        return 4095.0
    return 65535.0
