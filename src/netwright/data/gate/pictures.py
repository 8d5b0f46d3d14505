"""Small pictures of what the data gate found, as text that a page can hold."""

import base64
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from itertools import chain

from PIL import Image

from netwright.data.decode import UnreadableImage, upright, upright_picture
from netwright.data.gate.verdict import Finding, Item, Verdict
from netwright.data.listing import Blobs, Encoded

SIDE = 160  # px
MOST_SINGLE, MOST_TOGETHER = 12, 24  # examples of one finding: single pictures, and those to be seen side by side


def thumbnails(verdict: Verdict, blobs: Blobs) -> dict[str, str]:
    """A data URI for each picture that a page shows, by name; those that cannot be read are left out."""
    places = {item.name: item.place for finding in verdict.findings for item in _shown(finding)}
    drawn = ((name, _thumbnail(blobs, place)) for name, place in places.items())
    return {name: uri for name, uri in drawn if uri is not None}


def _shown(finding: Finding) -> Iterable[Item]:
    together = any(len(example) > 1 for example in finding.examples)
    return chain.from_iterable(finding.examples[: MOST_TOGETHER if together else MOST_SINGLE])


def _thumbnail(blobs: Blobs, place: int) -> str | None:
    with suppress(UnreadableImage):
        picture = _picture(blobs.read(place))
        picture.thumbnail((SIDE, SIDE))
        file = BytesIO()
        picture.save(file, "JPEG", quality=80)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return None


def _picture(blob: Encoded) -> Image.Image:
    if isinstance(blob, bytes):
        return upright(blob, target=SIDE)
    return upright_picture(Image.fromarray(blob[..., 0] if blob.shape[2:] == (1,) else blob), "array")
