"""One picture decoded once: the pixels that are kept for training, and the facts that are kept about it."""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.data.decode import MOST_MEGAPIXELS, Pixels, flatten, opened, quiet, readable, turn_of
from netwright.data.facts import (
    EXACT,
    FACT,
    Odd,
    pixel_digest,
    thumbnail,
)
from netwright.data.listing import Encoded
from netwright.data.preprocess import Preprocess

ORDINARY = ("1", "L", "RGB")
SIDEWAYS = (
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)
LOOK = 32  # side in pixels at which a picture is looked at for colour


def examine(
    blob: Encoded, name: str, geometry: Preprocess, *, most_megapixels: int = MOST_MEGAPIXELS
) -> tuple[Pixels, NDArray[np.void]]:
    """A picture as it is kept, S S C, and its row of FACT (a zero-dimensional array) without
    what `complete` fills in. Larger files than `most_megapixels` are refused.

    Raises:
        UnreadableImage: not a picture, damaged, or too large.
    """
    if isinstance(blob, bytes):
        return _from_file(blob, name, geometry, most_megapixels)
    array = blob[..., 0] if blob.ndim == 3 and blob.shape[2] == 1 else blob
    picture = Image.fromarray(np.ascontiguousarray(array))
    fact = np.zeros((), FACT)
    fact["format"], fact["mode"], fact["bytes"] = b"ARRAY", picture.mode.encode(), blob.nbytes
    fact["odd"] = _oddities(picture)
    flat = flatten(picture, channels=None)
    return geometry.resized(_described(fact, flat, pixel_digest(np.asarray(flat)))), fact


def _from_file(data: bytes, name: str, geometry: Preprocess, most_megapixels: int) -> tuple[Pixels, NDArray[np.void]]:
    fact = np.zeros((), FACT)
    with quiet, opened(data, name, most_megapixels=most_megapixels) as picture:
        format_, size = str(picture.format), picture.size
        with readable(picture, name):
            picture.draft(None, (2 * geometry.stored_size, 2 * geometry.stored_size))
            picture.load()
            odd = _oddities(picture)
            flat = flatten(picture, channels=None)
        turn = turn_of(picture)
        if turn is not None:
            flat = flat.transpose(turn)
        fact["odd"] = odd | (Odd.WARNED if quiet.warned else 0) | (Odd.TURNED if turn is not None else 0)
        fact["format"], fact["mode"], fact["bytes"] = format_.encode(), picture.mode.encode(), len(data)
    digest = pixel_digest(np.asarray(flat)) if format_ in EXACT else sha256(data).digest()
    kept = geometry.resized(_described(fact, flat, digest))
    fact["width"], fact["height"] = size[::-1] if turn in SIDEWAYS else size  # `flat` may be a draft
    return kept, fact


def _described(fact: NDArray[np.void], flat: Image.Image, digest: bytes) -> Image.Image:
    """Fills in what the flat picture, mode L or RGB, tells."""
    fact["digest"] = np.void(digest)
    fact["thumb"] = thumbnail(flat)
    fact["width"], fact["height"] = flat.size
    fact["grey"] = flat.mode == "L" or _colourless(flat)
    return flat


def _colourless(picture: Image.Image) -> bool:
    small = np.asarray(picture.resize((LOOK, LOOK), Image.Resampling.NEAREST))
    return bool((small[..., 1:] == small[..., :1]).all())


def _oddities(picture: Image.Image) -> Odd:
    """What is unusual about a picture, before it is flattened."""
    odd = Odd(0)
    mode = picture.mode
    if getattr(picture, "n_frames", 1) > 1:
        odd |= Odd.SEVERAL_FRAMES
    if picture.has_transparency_data:
        odd |= Odd.TRANSPARENT
    if mode in ("I", "F") or mode.startswith("I;16"):
        odd |= Odd.DEEP
    elif mode == "CMYK":
        odd |= Odd.INK
    elif mode == "P":
        odd |= Odd.PALETTE
    elif mode not in (*ORDINARY, "LA", "RGBA", "PA", "RGBX"):
        odd |= Odd.OTHER_COLOURS
    return odd | _exif_fault(picture)


def _exif_fault(picture: Image.Image) -> Odd:
    try:
        picture.getexif()
    except Exception:  # whatever its parsing stumbles on
        return Odd.BAD_EXIF
    return Odd(0)
