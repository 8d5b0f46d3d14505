"""A mask as it is stored, upright and not understood; and the flips and rotations that EXIF data ask for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from netwright.data._mask_codes import is_grey, packed
from netwright.data._mask_raw import raw
from netwright.data.decode import MOST_WITH_MASK, opened, quiet, turn_of
from netwright.data.gate._mask_figures import in_bits
from netwright.data.gate.likeness import TURNS
from netwright.data.listing import Encoded

GREY, COLOUR = ("grey", "grey as colour", "deep"), "colour"
_PROBE = np.arange(6, dtype=np.uint8).reshape(2, 3)


@dataclass(frozen=True, eq=False)
class Stored:
    """A mask as it is stored, upright: values H W (of colours packed, of a stack its layers in bits); and its file."""

    values: NDArray[np.integer]
    form: str
    format: str
    turn: int
    palette: NDArray[np.uint8] | None = None


def mask_as_stored(blob: Encoded, name: str) -> Stored:
    """A mask's own values, turned as its EXIF says and not scaled, flattened or looked up.

    Raises:
        UnreadableImage: it cannot be read.
        NetwrightError: it is read, but is no mask.
    """
    found = raw(blob, name)
    format_, turn = "ARRAY", 0
    if isinstance(blob, bytes) and not blob.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        with quiet, opened(blob, name, most_megapixels=MOST_WITH_MASK) as picture:
            format_, turn = str(picture.format), turn_number(picture)
    values, form = found.values, "deep" if found.deep else found.kind
    if found.kind == COLOUR:
        form = "grey as colour" if is_grey(values) else COLOUR
        values = values[..., 0] if is_grey(values) else packed(values)
    elif found.kind == "stack":
        values = in_bits(values)
    return Stored(values, form, format_, turn, found.palette)


def turn_number(picture: Image.Image) -> int:
    """The place in `TURNS` of what a picture's EXIF asks for."""
    transpose = turn_of(picture)
    if transpose is None:
        return 0
    seen = np.asarray(Image.fromarray(_PROBE).transpose(transpose))
    return next(number for number, turn in enumerate(TURNS) if np.array_equal(turn.thumbs(_PROBE[None])[0], seen))


def turn_between(seen: int, wanted: int) -> int:
    """The symmetry that makes what was turned by `seen` as if it had been turned by `wanted`."""
    probe = np.arange(9, dtype=np.uint8).reshape(1, 3, 3)
    given, asked = TURNS[seen].thumbs(probe), TURNS[wanted].thumbs(probe)
    return next(number for number, turn in enumerate(TURNS) if np.array_equal(turn.thumbs(given), asked))
