"""What masks of a data set mean, once it is concluded: names for classes, and how stored values become them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data._mask_codes import Code
from netwright.data._mask_raw import raw
from netwright.data._mask_sample import Seen
from netwright.data.legend import Legend
from netwright.data.listing import Blobs

THING = "foreground"


@dataclass(frozen=True, eq=False)
class Meaning:
    """What masks mean; see `Masks`. `colours` is None where the data has none."""

    code: Code
    classes: tuple[str, ...]
    encoding: str
    colours: NDArray[np.uint8] | None = None
    background: bool = True
    several: bool = False
    notes: tuple[str, ...] = ()


def legend_colours(legend: Legend) -> NDArray[np.uint8] | None:
    """The colours of a legend's classes, K 3, or None if it has none."""
    colours = [entry.colour for entry in legend.classes]
    return None if None in colours else np.array(colours, np.uint8)


def refuse_first(blobs: Blobs, seen: Seen, code: Code) -> None:
    """Raises the error of the first mask looked at that a code refuses.

    Raises:
        NetwrightError: it names the file.
    """
    for place in seen.places:
        code(raw(blobs.read(place), blobs.names[place]), blobs.names[place])
