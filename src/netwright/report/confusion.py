"""Who is taken for whom: counts of truth against guess, and what they say about each class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.records.intervals import Interval, wilson

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassResult:
    """One class: how many of its images were found, and how many guesses of it were right."""

    index: int
    n: int
    recall: Interval
    precision: Interval
    confused_with: int | None
    confused: int


def confusion(labels: Counts, guesses: Counts, classes: int) -> Counts:
    """Counts (K, K): row is the truth, column the guess."""
    return np.bincount(labels * classes + guesses, minlength=classes**2).reshape(classes, classes)


def most_confused(counts: Counts, most: int = 20) -> list[tuple[int, int, int]]:
    """The most frequent mistakes: truth, guess, how often."""
    wrong = counts - np.diag(np.diag(counts))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(counts)) for place in largest]
    return [(truth, guess, int(wrong[truth, guess])) for truth, guess in pairs if wrong[truth, guess]]


def by_class(counts: Counts) -> list[ClassResult]:
    """Every class, the lowest recall first; classes without images last."""
    results = [_class(counts, index) for index in range(len(counts))]
    return sorted(results, key=lambda result: (result.n == 0, result.recall.value if result.n else 0, result.index))


def _class(counts: Counts, index: int) -> ClassResult:
    row, right = counts[index].copy(), int(counts[index, index])
    n, guessed = int(row.sum()), int(counts[:, index].sum())
    row[index] = 0
    other = int(row.argmax())
    confused = int(row[other])
    return ClassResult(index, n, wilson(right, n), wilson(right, guessed), other if confused else None, confused)
