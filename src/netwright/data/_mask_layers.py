"""Masks with a layer for each class, in which a pixel may be of several."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError, listed
from netwright.data._mask_codes import IGNORED, Layered, table_of
from netwright.data._mask_meaning import Meaning, legend_colours, refuse_first
from netwright.data._mask_sample import Seen
from netwright.data.legend import BACKGROUND, Legend
from netwright.data.listing import Blobs

WHITE = 255


def of_layers(blobs: Blobs, seen: Seen, legend: Legend | None, ignore: int | None) -> Meaning:
    """What masks with layers mean; see `of_masks`.

    Raises:
        NetwrightError: layers of different numbers, or with more values than 0, 1 and an ignored one.
    """
    last = seen.last
    layers = seen.shapes[0][-1 if last else 0]
    tables = np.stack([_layer_table(blobs, seen, layer, ignore) for layer in range(layers)])
    exclusive = seen.covered == (1, 1) and layers > 1 and ignore is None
    code = Layered(tables, last, exclusive)
    if len({shape[-1 if last else 0] for shape in seen.shapes}) > 1 or len(seen.places) != seen.kinds["stack"]:
        refuse_first(blobs, seen, code)
    names = _layer_names(seen, legend, layers)
    notes = ["layers are on the last axis of the arrays"] if last else []
    if exclusive:
        notes.append("each pixel is in exactly one layer: layers are classes that exclude one another")
        background = names[0].casefold() in BACKGROUND
        return Meaning(
            code,
            names,
            f"{layers} layers, one for each class: {listed(names, 8)}",
            background=background,
            notes=tuple(notes),
        )
    told = f"{layers} layers: {listed(names, 8)} (a pixel may be of several)"
    colours = legend_colours(legend) if legend else None
    return Meaning(code, names, told, colours, background=False, several=True, notes=tuple(notes))


def _layer_table(blobs: Blobs, seen: Seen, layer: int, ignore: int | None) -> NDArray[np.uint8]:
    """What the values of one layer stand for: 255 is ignored only where most masks that have it also have 1 there."""
    held = seen.held.get((-1 if seen.last else 0, layer), Counter[frozenset[int]]())
    present = sorted(frozenset[int]().union(*held) - {0, ignore})
    white = sum(count for values, count in held.items() if WHITE in values)
    beside = sum(count for values, count in held.items() if WHITE in values and len(values - {0, WHITE, ignore}))
    if ignore is None and present == [1, WHITE] and 2 * beside > white:
        ignore = WHITE
        present.remove(WHITE)
    if len(present) > 1:
        file = blobs.names[seen.busiest[1]]
        problem = f"layer {layer + 1} of the masks holds {listed(map(str, present), 8)} besides 0 (as {file})"
        raise NetwrightError(problem, "write each layer with 0 and 1; ignored pixels with the value given as ignore=")
    meaning = {0: 0} | dict.fromkeys(present or [1, WHITE], 1)
    return table_of(meaning | ({ignore: IGNORED} if ignore is not None else {}))


def _layer_names(seen: Seen, legend: Legend | None, layers: int) -> tuple[str, ...]:
    if legend is not None:
        if len(legend.entries) != layers:
            problem = f"{legend.source} names {len(legend.entries)} classes, and masks have {layers} layers"
            raise NetwrightError(problem, "name as many classes as there are layers, in their order")
        return tuple(entry.name for entry in legend.entries)
    return seen.layers or tuple(f"class {at}" for at in range(1, layers + 1))
