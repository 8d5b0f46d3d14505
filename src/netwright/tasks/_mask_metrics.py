"""Masks against masks over a split: counts of each picture, and measures of their sums with intervals over pictures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netwright.records.intervals import NORMAL, Interval, resample
from netwright.tasks._boundary import boundary_f1, errors_by_distance

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Ratio = Callable[[Floats], tuple[Floats, Floats]]

METHOD = "expanded percentile"


@dataclass(frozen=True)
class Tally:
    """What one picture's answer and truth have in common. Ignored pixels count nowhere.

    Attributes:
        counts: pixels of each class that are both found and there, found, and there. K 3.
        confusion: pixels by true and by found class, K K; zeros where classes overlap.
        right: pixels (where classes overlap: of every class) that are right.
        known: pixels that have a label.
        boundary: boundary F1 of each class, NaN where neither has an outline. K.
        distances: wrong and all pixels by distance from the nearest true outline. Bins 2.
    """

    counts: Integers
    confusion: Integers
    right: int
    known: int
    boundary: Floats
    distances: Integers


def tally(found: Integers, label: Integers, classes: int) -> Tally:
    """Compare class ids, H W, of which −1 in a label is ignored; or, where classes overlap, K H W of 1, 0 and −1."""
    known = label >= 0
    wrong = (found != label) & known
    if label.ndim == 3:
        matrix, seen, there = np.zeros((classes, classes), np.int64), (found == 1) & known, label == 1
        counts = np.stack([part.sum((1, 2)) for part in (seen & there, seen, there)], 1)
        boundary = [boundary_f1(*three) for three in zip(found == 1, there, known, strict=True)]
        distances = np.sum([errors_by_distance(*pair) for pair in zip(wrong, label, strict=True)], axis=0)
    else:
        counts, matrix = counted(found, label, classes)
        ids = [k if counts[k].any() else None for k in range(classes)]
        boundary = [math.nan if k is None else boundary_f1(found == k, label == k, known) for k in ids]
        distances = errors_by_distance(wrong, label)
    right, labelled = int(known.sum() - wrong.sum()), int(known.sum())
    return Tally(counts, matrix, right, labelled, np.array(boundary), distances)


def counted(found: Integers, label: Integers, classes: int) -> tuple[Integers, Integers]:
    """Pixels of each class that are both found and there, found, and there; and the confusion. K 3, K K."""
    matrix = confusion(found, label, classes)
    return np.stack([matrix.diagonal(), matrix.sum(0), matrix.sum(1)], 1), matrix


def confusion(found: Integers, label: Integers, classes: int) -> Integers:
    """Pixels by true class (rows) and found class (columns). H W, H W -> K K."""
    known = label >= 0
    return np.bincount(label[known] * classes + found[known], minlength=classes**2).reshape(classes, classes)


def iou(counts: Floats) -> tuple[Floats, Floats]:
    """Both, of found or there. … 3 -> two of …"""
    both, found, there = np.moveaxis(counts, -1, 0)
    return both, found + there - both


def dice(counts: Floats) -> tuple[Floats, Floats]:
    """Twice both, of found and there. … 3 -> two of …"""
    both, found, there = np.moveaxis(counts, -1, 0)
    return 2 * both, found + there


def precision(counts: Floats) -> tuple[Floats, Floats]:
    """Both, of found. … 3 -> two of …"""
    return counts[..., 0], counts[..., 1]


def recall(counts: Floats) -> tuple[Floats, Floats]:
    """Both, of there. … 3 -> two of …"""
    return counts[..., 0], counts[..., 2]


def share(counts: Floats) -> tuple[Floats, Floats]:
    """The first of two numbers, of the second. … 2 -> two of …"""
    return counts[..., 0], counts[..., 1]


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole, NaN where the whole is 0. Any shape."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def mean_known(values: Floats) -> Floats:
    """The mean over the last axis of what is not NaN, and 1 where that is nothing. … K -> …"""
    known = ~np.isnan(values)
    n = known.sum(-1)
    return np.where(n > 0, np.where(known, values, 0.0).sum(-1) / np.maximum(n, 1), 1.0)


class Bootstrap:
    """Measures of sums over pictures, with bootstrap intervals from drawing whole pictures anew.

    All measures of one table come from the same draws. A ratio of sums is not a mean of ratios: large regions count by
    their pixels. Ends are expanded percentiles (Hesterberg, What teachers should know about the bootstrap, 2015, §3.3):
    as wide as Student's t asks for with so few pictures. BCa holds the true value less often here, since jackknifed
    skewness of ratios with sizes of all magnitudes is mostly noise.

    Args:
        sums: what is added up, N … numbers a picture.
        seed: of the draws.
        resamples: how many.
        confidence: how often an interval made like this is to hold the true value.
    """

    def __init__(self, sums: ArrayLike, *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95) -> None:
        self.sums = np.asarray(sums, np.float64)
        self.confidence = confidence
        n, shape = len(self.sums), self.sums.shape[1:]
        flat = self.sums.reshape(n, math.prod(shape))
        self.whole = self.sums.sum(0)
        self.drawn = np.zeros((0, *shape))
        if n > 1:
            drawn = resample(lambda rows: _times(rows, n) @ flat, n, seed=seed, resamples=resamples)
            self.drawn = drawn.reshape(-1, *shape)

    def each(self, measure: Ratio) -> list[Interval]:
        """A ratio of sums for every class. The measure takes … K M and gives two of … K."""
        value, drawn = (ratio(*measure(sums)) for sums in (self.whole, self.drawn))
        n = (measure(self.sums)[1] > 0).sum(0)
        return [self._interval(float(value[k]), drawn[:, k], int(n[k])) for k in range(len(value))]

    def mean(self, measure: Ratio) -> Interval:
        """The mean of a ratio over the classes that have one; 1 where none has.

        Draws are of the same classes: those without one of them are left out, and where a class is in one picture
        alone, of whose variation nobody knows, bounds are NaN.
        """
        values, drawn = (ratio(*measure(sums)) for sums in (self.whole, self.drawn))
        present = np.isfinite(values)
        pictures = (measure(self.sums)[1] > 0).sum(0)[present]
        n = len(self.sums) if (pictures > 1).all() else 1
        kept = drawn[np.isfinite(drawn[:, present]).all(1)]
        found = self._interval(float(mean_known(values)), mean_known(kept), n)
        return replace(found, n=len(self.sums))

    def _interval(self, value: float, drawn: Floats, n: int) -> Interval:
        """From a value, those of the draws, and how many pictures it rests on; draws without a value are left out.

        Fewer than two pictures give NaN bounds.
        """
        if n < 2 or not math.isfinite(value):
            return Interval(value, math.nan, math.nan, n, METHOD)
        tail = expanded((1 - self.confidence) / 2, n)
        low, high = np.quantile(drawn[np.isfinite(drawn)], (tail, 1 - tail))
        return Interval(value, min(value, float(low)), max(value, float(high)), n, METHOD)


def expanded(tail: float, n: int) -> float:
    """The share of draws beyond each end: that of a normal beyond √(n / (n − 1)) times Student's t of n − 1 degrees."""
    from scipy.special import stdtrit

    return NORMAL.cdf(math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, tail)))


def bootstrap_ratio(part: ArrayLike, whole: ArrayLike, *, seed: int = 0, resamples: int = 2000) -> Interval:
    """The sum of parts over the sum of wholes, with its interval over the pictures. N, N."""
    both = np.stack([np.asarray(part, np.float64), np.asarray(whole, np.float64)], 1)[:, None]
    return Bootstrap(both, seed=seed, resamples=resamples).each(share)[0]


def boundary_sums(tallies: Sequence[Tally]) -> Floats:
    """Boundary F1 and whether there is one, of each picture and class, so that sums of both give means. N K 2."""
    f1 = np.stack([each.boundary for each in tallies])
    return np.stack([np.nan_to_num(f1), ~np.isnan(f1)], 2).astype(np.float64)


def _times(rows: NDArray[np.intp], n: int) -> Floats:
    """How often each of n pictures stands in each draw. R n -> R n."""
    cells = rows + n * np.arange(len(rows))[:, None]
    return np.bincount(cells.ravel(), minlength=rows.size).reshape(rows.shape).astype(np.float64)
