"""What is learnt of a picture when it is decoded: its identity, its shape, and what is odd about it."""

from dataclasses import dataclass
from enum import IntFlag
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.data.decode import Pixels
from netwright.data.gate.likeness import THUMB, hashes
from netwright.data.listing import Encoded, Listing


class Odd(IntFlag):
    """Properties of a file that are no faults, but that a user may want to know of."""

    TURNED = 1  # its EXIF asks for a rotation or a flip, which was made
    BAD_EXIF = 2  # its EXIF cannot be read
    SEVERAL_FRAMES = 4  # an animation or a file of several pages, of which the first is read
    TRANSPARENT = 8  # laid on white
    DEEP = 16  # more than 8 bits a value, scaled down
    INK = 32  # CMYK, converted without its ink profile
    PALETTE = 64  # colours from a table
    OTHER_COLOURS = 128  # Lab, YCbCr and the like, converted
    WARNED = 256  # the decoder gave a warning


FACT = np.dtype(
    [
        ("digest", "V32"),  # identity: SHA-256 of the file, or of its pixels where the format keeps them exactly
        ("hash", "<u8"),  # perceptual hash of the picture as it is
        ("thumb", "u1", (THUMB, THUMB)),  # the whole picture squeezed to grey 16×16
        ("width", "<u4"),
        ("height", "<u4"),
        ("bytes", "<u8"),  # of the file
        ("format", "S8"),  # JPEG, PNG, …; ARRAY for pixels
        ("mode", "S8"),  # Pillow's name, as RGB, L, I;16
        ("odd", "<u4"),  # flags of Odd
        ("grey", "?"),  # no colour anywhere
        ("brightness", "<f4"),  # mean grey value, 0 to 1
        ("contrast", "<f4"),  # standard deviation of the grey values, 0 to 0.5
    ]
)
EXACT = ("PNG", "BMP", "GIF", "PPM", "TIFF", "ARRAY")  # formats that give the same pixels with any decoder


@dataclass(frozen=True, eq=False)
class Examined:
    """Every picture of a data set, looked at once.

    Attributes:
        listing: names, labels, classes.
        sides: for each picture its index in `SPLITS`, after what was not split has been. N int8.
        facts: one row of FACT for each picture, in the listing's order; zeros where it cannot be read.
        unreadable: for these, their place and the reason.
    """

    listing: Listing
    sides: NDArray[np.int8]
    facts: NDArray[np.void]
    unreadable: dict[int, str]


def content_digest(blob: Encoded) -> bytes:
    """What the cache knows a picture by: SHA-256 of its file, or of its pixels where it is an array."""
    return sha256(blob).digest() if isinstance(blob, bytes) else pixel_digest(blob)


def pixel_digest(pixels: Pixels) -> bytes:
    """The identity of a picture whose pixels are exact, H W or H W C."""
    shape = "x".join(map(str, pixels.shape[:2] if pixels.shape[2:] == (1,) else pixels.shape))
    return sha256(shape.encode() + pixels.tobytes()).digest()


def complete(facts: NDArray[np.void]) -> None:
    """Fills in what follows from the thumbnails; for many pictures at once, since one by one it takes longer than
    decoding them."""
    thumbs = facts["thumb"]
    facts["hash"] = hashes(thumbs)
    facts["brightness"], facts["contrast"] = thumbs.mean((1, 2)) / 255, thumbs.std((1, 2)) / 255


def thumbnail(picture: Image.Image) -> NDArray[np.uint8]:
    """The whole picture (mode L or RGB) squeezed to grey 16×16, so that turning it and squeezing it may change places.

    Pillow's box filter would not do: it counts whole pixels, those on the edge of a box to one side alone.
    """
    grey = picture if picture.mode == "L" else picture.convert("L")
    return np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.HAMMING, reducing_gap=None))
