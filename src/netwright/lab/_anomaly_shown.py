"""Which pictures a page of anomalies shows, each with its reconstruction and a heat map of where the two differ."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netwright.explain._colour import VEIL, Bytes, coloured, rgb
from netwright.lab._anomaly_scores import Scorer
from netwright.report.anomaly import Histogram, Shown

if TYPE_CHECKING:
    from netwright.lab.anomaly import Anomalies

WORST, SOME = 12, 6
SATURATED = 0.995  # of the pixels shown: one single pixel must not make all others dark


def chosen(found: "Anomalies") -> dict[str, list[int]]:
    """Places of pictures by part of the page: the oddest, what was missed or flagged wrongly, and ordinary ones."""
    scores, flagged = found.scores[found.kind], found.flagged
    falling = np.argsort(-scores, kind="stable")
    sane = found.known & ~found.other
    parts = {"worst": falling[:WORST]}
    if found.other.any():
        parts["missed"] = falling[::-1][(found.other & ~flagged)[falling[::-1]]][:SOME]
    if sane.any():
        parts["alarms"] = falling[(sane & flagged)[falling]][:SOME]
    ordinary = falling[(sane if sane.any() else np.ones(len(scores), bool))[falling]]
    spread = np.linspace(0.1, 0.9, SOME) * (len(ordinary) - 1)
    parts["ordinary"] = ordinary[np.unique(spread.round().astype(np.int64))]
    return {part: places.tolist() for part, places in parts.items() if len(places)}


def shown(
    found: "Anomalies", scorer: Scorer, parts: Mapping[str, Sequence[int]]
) -> tuple[dict[str, list[Shown]], float]:
    """The pictures of each part as they are to be drawn, and the error at which their common scale of colours ends."""
    places = sorted({place for each in parts.values() for place in each})
    pictures, made, heats = scorer.seen(found.pictures.split, places)
    top = max(float(np.quantile(heats, SATURATED)), 1e-6)
    drawn = {
        place: _drawn(found, place, pictures[row], made[row], heats[row] / top) for row, place in enumerate(places)
    }
    return {part: [drawn[place] for place in each] for part, each in parts.items()}, top


def histogram_of(found: "Anomalies") -> Histogram:
    """The scores of normal pictures and of those that were scored."""
    scores = found.scores[found.kind]
    series = [("normal, held out", found.normal)]
    if found.other.any():
        sane = found.known & ~found.other
        series += [("normal, scored", scores[sane])] if sane.any() else []
        series += [("others", scores[found.other])]
    else:
        series += [("scored", scores)]
    return Histogram(tuple(series), found.threshold.value, found.kind)


def heated(picture: Bytes, share: NDArray[np.float32]) -> Bytes:
    """A picture turned grey under a heat map from 0 to 1: the hotter, the less of it is left. H W 3, H W -> H W 3."""
    heat = share.clip(0, 1)[..., None]
    veil = VEIL * heat**0.5
    mixed = (1 - veil) * 0.85 * picture.mean(2, keepdims=True) + veil * coloured(heat[..., 0])
    return mixed.round().clip(0, 255).astype(np.uint8)


def _drawn(
    found: "Anomalies", place: int, picture: NDArray[np.float32], made: NDArray[np.float32], share: NDArray[np.float32]
) -> Shown:
    seen, back = (rgb((each * 255).round().astype(np.uint8).transpose(1, 2, 0)) for each in (picture, made))
    own = found.pictures
    numbers = float(found.scores[found.kind][place]), float(found.p[place]), bool(found.flagged[place])
    return Shown(own.split.names[place], str(own.labels[place]), *numbers, seen, back, heated(seen, share))
