"""Small pictures of what the data gate found, as text that a page can hold."""

import base64
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from itertools import chain
from typing import Any

import numpy as np
from PIL import Image

from netwright.core.errors import NetwrightError
from netwright.data.decode import MOST_WITH_MASK, Pixels, UnreadableImage, upright, upright_picture
from netwright.data.gate.mask_stored import COLOUR, Stored, mask_as_stored
from netwright.data.gate.verdict import Finding, Item, Verdict
from netwright.data.listing import Blobs, Encoded
from netwright.data.masks import IGNORED, palette

SIDE = 160  # px
MOST_COLOURS = 32
MOST_SINGLE, MOST_TOGETHER = 12, 24  # examples of one finding: single pictures, and those to be seen side by side


def thumbnails(verdict: Verdict, blobs: Blobs, masks: Blobs | None = None) -> dict[str, str]:
    """A data URI for each picture that a page shows, by name, and for each mask by `mask:` and its name.

    Those that cannot be read are left out.
    """
    items = {(item.mask, item.place): item for finding in verdict.findings for item in _shown(finding)}
    drawn = {
        f"mask:{item.name}" if mask else item.name: _drawn_mask(masks, place) if mask else _thumbnail(blobs, place)
        for (mask, place), item in items.items()
        if place >= 0
    }
    return {name: uri for name, uri in drawn.items() if uri is not None}


def _shown(finding: Finding) -> Iterable[Item]:
    together = any(len(example) > 1 for example in finding.examples)
    return chain.from_iterable(finding.examples[: MOST_TOGETHER if together else MOST_SINGLE])


def _thumbnail(blobs: Blobs, place: int) -> str | None:
    with suppress(UnreadableImage):
        picture = _picture(blobs.read(place))
        picture.thumbnail((SIDE, SIDE))
        return _uri(picture, "JPEG", quality=80)
    return None


def _drawn_mask(blobs: Blobs | None, place: int) -> str | None:
    """A mask in colours that can be told apart, whatever its values are; those of colours as they are."""
    if blobs is None:
        return None
    with suppress(NetwrightError):
        stored = mask_as_stored(blobs.read(place), blobs.names[place])
        step = max(1, min(stored.values.shape) // (4 * SIDE))  # of a large one every so many pixels
        picture = Image.fromarray(_coloured(replace(stored, values=stored.values[::step, ::step])))
        picture.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
        return _uri(picture, "PNG")
    return None


def _coloured(stored: Stored) -> Pixels:
    """H W 3."""
    values = stored.values.astype(np.int64)
    if stored.form == COLOUR:
        return np.stack([values >> 16, values >> 8 & 255, values & 255], -1).astype(np.uint8)
    present, places = np.unique(values, return_inverse=True)
    if len(present) > MOST_COLOURS:  # greys that run together
        grey = (values * (255 / max(1, int(present[-1])))).astype(np.uint8)
        return np.repeat(grey[..., None], 3, -1)
    colours = palette(MOST_COLOURS + 1)
    colours[MOST_COLOURS] = 255
    numbers = np.where(
        present == 0, 0, np.where(present == IGNORED, MOST_COLOURS, np.maximum(1, present % MOST_COLOURS))
    )
    return colours[numbers][places.reshape(values.shape)]


def _uri(picture: Image.Image, format_: str, **options: Any) -> str:
    file = BytesIO()
    picture.save(file, format_, **options)
    return f"data:image/{format_.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _picture(blob: Encoded) -> Image.Image:
    if isinstance(blob, bytes):
        return upright(blob, target=SIDE, most_megapixels=MOST_WITH_MASK)
    return upright_picture(Image.fromarray(blob[..., 0] if blob.shape[2:] == (1,) else blob), "array")
