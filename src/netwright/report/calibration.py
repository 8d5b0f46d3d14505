"""Does 90 % sure mean right nine times in ten? Reliability by confidence and its mean gap (Guo et al. 2017)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.records.intervals import Indices, Interval, resample, wilson

Floats = NDArray[np.float64]
BINS = 15


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies between two edges."""

    low: float
    high: float
    confidence: float
    accuracy: Interval


def reliability(confidence: Floats, correct: NDArray[np.bool_]) -> list[Bin]:
    """The bins that hold any image, by rising confidence."""
    places = _places(confidence)
    return [_bin(index, confidence[places == index], correct[places == index]) for index in np.unique(places)]


def calibration_error(confidence: Floats, correct: NDArray[np.bool_], *, seed: int = 0) -> Interval:
    """The expected calibration error with its percentile bootstrap interval."""
    gap, places, n = correct - confidence, _places(confidence), confidence.size

    def error(rows: Indices) -> Floats:  # R N -> R
        cells = places[rows] + BINS * np.arange(len(rows))[:, None]
        sums = np.bincount(cells.ravel(), gap[rows].ravel(), minlength=BINS * len(rows))
        return np.abs(sums.reshape(-1, BINS)).sum(axis=1) / n

    value = mean_gap(confidence, correct)
    low, high = np.quantile(resample(error, n, seed=seed), (0.025, 0.975))
    # Resampling adds noise to every bin, so the quantiles lie high; the interval must still hold what was measured.
    return Interval(value, min(value, float(low)), max(value, float(high)), n, "percentile")


def mean_gap(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, bin by bin."""
    sums = np.bincount(_places(confidence), correct - confidence, minlength=BINS)
    return float(np.abs(sums).sum() / confidence.size)


def _places(confidence: Floats) -> NDArray[np.int64]:
    # Bins are closed above, as in the paper: a confidence of exactly 1 belongs to the last one.
    return np.clip(np.ceil(confidence * BINS) - 1, 0, BINS - 1).astype(np.int64)


def _bin(index: int, confidence: Floats, correct: NDArray[np.bool_]) -> Bin:
    accuracy = wilson(int(correct.sum()), correct.size)
    return Bin(index / BINS, (index + 1) / BINS, float(confidence.mean()), accuracy)
