"""Pages and pictures of vectors: what was found, with thumbnails of the pictures themselves where they can be read."""

import base64
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from netwright.bundle.embed import blobs_of
from netwright.data.decode import UnreadableImage
from netwright.data.gate.pictures import _picture
from netwright.data.listing import Blobs
from netwright.lab.neighbours import Evaluation, Neighbourhood
from netwright.lab.projection import Projection
from netwright.lab.protocol import label_set
from netwright.lab.search import SCORES
from netwright.records.vectors import Vectors
from netwright.report.map import Point, map_page, map_picture
from netwright.report.neighbours import Shown, Strip, page

SIDE, QUALITY = 112, 78  # of a thumbnail
MOST_THUMBNAILS = 3000  # on one page: about 4 kB each
STRIPS = 12  # in each part of the page
NO_PICTURES = "the pictures are not where they were embedded, so none are shown: say where with --pictures PATH"


def neighbours_page(found: Evaluation, name: str, against: str | None, pictures: str | None) -> str:
    """Neighbours of the pictures for which they are worst and best, and of those that may be labelled wrongly.

    Args:
        found: what was measured.
        name: of the file of vectors.
        against: of the other file, if there was one.
        pictures: where the pictures lie, if not where the file says.

    Raises:
        NetwrightError: `pictures` holds none of them.
    """
    vectors, near = found.vectors, found.near
    known = np.flatnonzero(np.isfinite(near.precision))
    # Of the worst those that are surest come first: their nearest neighbour is very near.
    closeness = near.scores[:, 0] if found.metric == "cosine" else -near.scores[:, 0]
    order = known[np.lexsort((-closeness[known], near.precision[known]))]
    best = known[np.lexsort((closeness[known], -near.precision[known]))]
    rows = np.arange(len(near.queries))
    odd_rows = {int(query): row for row, query in enumerate(found.everyone.queries)}
    odd = [odd_rows[place] for place, _, _ in found.odd[:STRIPS]]
    parts: list[tuple[str, Neighbourhood, list[int]]] = [
        ("odd", found.everyone, odd),
        ("worst", near, order[:STRIPS].tolist() if len(known) else []),
        ("best", near, best[:STRIPS].tolist() if len(known) else []),
        ("some", near, [] if len(known) else rows[:STRIPS].tolist()),
    ]
    wanted = {
        int(place) for _, hood, chosen in parts for row in chosen for place in (hood.queries[row], *hood.places[row])
    }
    drawn = thumbnails(vectors, wanted, pictures)
    strips = {part: [_strip(vectors, hood, row, drawn) for row in chosen] for part, hood, chosen in parts}
    notes = [*found.notes, *([] if drawn else [NO_PICTURES])]
    return page(
        title=name,
        against=against,
        says=found.protocol.says,
        k=near.places.shape[1],
        score=SCORES[found.metric],
        measures=[measure.to_json() for measure in found.measures],
        probe=found.probed and f"C = {found.probed.c:g}, {found.probed.chosen_on}",
        odd=len(found.odd),
        strips=strips,
        notes=notes,
    )


def map_as(
    ending: str, vectors: Vectors, made: Projection, name: str, pictures: str | None
) -> tuple[str | bytes, list[str]]:
    """A map as .html, .png or .svg, and what a user should know.

    Raises:
        NetwrightError: `pictures` holds none of the pictures.
    """
    title = f"{len(vectors):,} pictures of {_data_name(vectors) or name}"
    if ending != ".html":
        return map_picture(ending, made.points, vectors.labels, title=title, says=made.says()), []
    places = range(len(vectors))
    shown = places if len(vectors) <= MOST_THUMBNAILS else spread(len(vectors), MOST_THUMBNAILS)
    drawn = thumbnails(vectors, shown, pictures)
    notes = [] if drawn else [NO_PICTURES]
    if drawn and len(drawn) < len(vectors):
        notes.append(f"{len(drawn):,} of {len(vectors):,} pictures are shown as such, evenly spread")
    points = [
        Point(float(x), float(y), vectors.names[row], vectors.labels[row], vectors.splits[row], drawn.get(row))
        for row, (x, y) in enumerate(made.points)
    ]
    return map_page(points, title=title, says=[*made.says(), *notes]), notes


def thumbnails(vectors: Vectors, places: Iterable[int], pictures: str | None) -> dict[int, str]:
    """Small pictures as data URIs, by place; those that cannot be read are left out."""
    found = blobs_of(vectors, pictures)
    if found is None:
        return {}
    blobs, rows = found
    drawn = ((place, thumbnail(blobs, rows[vectors.names[place]])) for place in places if vectors.names[place] in rows)
    return {place: uri for place, uri in drawn if uri is not None}


def thumbnail(blobs: Blobs, place: int) -> str | None:
    """A small picture as a data URI; None where it cannot be read."""
    with suppress(UnreadableImage):
        picture = _picture(blobs.read(place)).convert("RGB")
        picture.thumbnail((SIDE, SIDE))
        file = BytesIO()
        picture.save(file, "JPEG", quality=QUALITY)
        return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return None


def spread(n: int, most: int) -> list[int]:
    """Places from the first to the last, evenly."""
    chosen: NDArray[np.intp] = np.linspace(0, n - 1, most).astype(np.intp)
    return chosen.tolist()


def _data_name(vectors: Vectors) -> str:
    """What the embedded data was called, where the file says."""
    said = vectors.meta.get("data")
    return str(said.get("name") or "") if isinstance(said, dict) else ""


def _strip(vectors: Vectors, hood: Neighbourhood, row: int, drawn: dict[int, str]) -> Strip:
    query, near = int(hood.queries[row]), hood.places[row].tolist()

    def shown(place: int, score: float | None) -> Shown:
        fits = bool(own & sets[place]) if own and score is not None else None
        return Shown(vectors.names[place], vectors.labels[place], score, fits, drawn.get(place))

    sets = {place: label_set(vectors, place) for place in (query, *near)}
    own = sets[query]
    return Strip(shown(query, None), tuple(map(shown, near, hood.scores[row].tolist())))
