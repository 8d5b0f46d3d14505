"""How much data it takes until one way overtakes another, from paired differences at some sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.lab.two_way import RESAMPLES, two_way_draws

Floats = NDArray[np.float64]
Kind = Literal["crossing", "ahead", "behind", "open"]
BEFORE, BEYOND = -math.inf, math.inf


@dataclass(frozen=True)
class Crossing:
    """From how many pictures a class on one way is ahead of another, and stays so.

    Attributes:
        value: pictures a class; -inf where it is ahead from the smallest size on, inf where it is behind at the
            largest.
        low: of a 95 % interval; -inf where it reaches below the smallest size.
        high: inf where it reaches beyond the largest.
        smallest: size measured.
        largest: size measured.
    """

    value: float
    low: float
    high: float
    smallest: float
    largest: float

    @property
    def kind(self) -> Kind:
        """What the interval allows to say: ahead at every size, behind at the largest, a crossing, or nothing."""
        if self.high == BEFORE:
            return "ahead"
        if self.low == BEYOND:
            return "behind"
        return "open" if (self.low, self.high) == (BEFORE, BEYOND) else "crossing"

    def to_json(self) -> dict[str, Any]:
        """As JSON, where infinity is a word."""
        words = {BEFORE: "before", BEYOND: "beyond"}
        parts = {name: getattr(self, name) for name in ("value", "low", "high")}
        found: dict[str, Any] = {name: words.get(part, part) for name, part in parts.items()}
        return {"kind": self.kind, **found, "smallest": self.smallest, "largest": self.largest}


def crossing(
    sizes: Sequence[float], values: Floats, *, seed: int = 0, resamples: int = RESAMPLES, confidence: float = 0.95
) -> Crossing:
    """Where the mean difference crosses zero upwards for the last time, and how sure that is.

    Between sizes the difference is taken as a straight line over the logarithm of the size. The interval holds what
    other seeds and other pictures would change (`two_way_draws`), not what lies between the sizes.

    Args:
        sizes: pictures a class, increasing, K.
        values: how much better one way was than the other, by size, seed and picture: K S N.
        seed: of the draws.
        resamples: how many curves are drawn.
        confidence: of the interval.
    """
    where = np.log(np.asarray(sizes, np.float64))
    means = values.mean((1, 2))
    found = last_crossing(where, np.vstack([means, two_way_draws(values, seed=seed, resamples=resamples)]))
    # Infinite ends have no middle between them: of the draws themselves, the one at that place.
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(found[1:], tails, method="inverted_cdf")
    value, low, high = (_size(each) for each in (float(found[0]), float(low), float(high)))
    return Crossing(value, min(low, value), max(high, value), float(sizes[0]), float(sizes[-1]))


def last_crossing(where: Floats, curves: Floats) -> Floats:
    """The place from which on each curve is above zero.

    Args:
        where: K places, increasing.
        curves: R K.

    Returns:
        R: -inf for a curve that is above zero everywhere, inf for one that is not at its end.
    """
    below = curves <= 0
    last = len(where) - 1 - below[:, ::-1].argmax(1)  # of the places where a curve is not above zero
    here = np.minimum(last, len(where) - 2) if len(where) > 1 else np.zeros_like(last)
    rows = np.arange(len(curves))
    low, high = curves[rows, here], curves[rows, np.minimum(here + 1, len(where) - 1)]
    rise = np.where(high > low, high - low, 1.0)
    step = where[np.minimum(here + 1, len(where) - 1)] - where[here]
    found = where[here] + step * np.clip(-low / rise, 0, 1)
    found = np.where(below[:, -1], BEYOND, found)
    return np.where(below.any(1), found, BEFORE)


def _size(place: float) -> float:
    return place if math.isinf(place) else math.exp(place)
