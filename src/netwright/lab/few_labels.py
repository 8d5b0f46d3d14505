"""What a linear classifier makes of vectors when only a few pictures have labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.engine.random import generator
from netwright.lab.probe import Probe, Way, probe
from netwright.records.vectors import Vectors

LEAST = 2  # of each class: fewer cannot be divided to choose the penalty by
# Fifty pictures say little of how much each number varies: divided by it, axes of noise would weigh as much as others.
WAY = Way(tuple(10.0**power for power in range(-5, 4)), common=True)
Labels = NDArray[np.integer[Any]]


def drawn(labels: Labels, many: int, seed: int) -> NDArray[np.intp]:
    """Places of so many labelled pictures, as many of each class as can be; which, the seed decides.

    Draws are nested: with one seed, a larger one holds every smaller one that gives all classes the same number.

    Args:
        labels: class numbers. N.
        many: at least 2 of each class that there is.
        seed: of the draw.

    Raises:
        NetwrightError: too few, or more than there are.
    """
    kinds = np.unique(labels)
    least = LEAST * len(kinds)
    if not least <= many <= len(labels):
        problem = f"{many} labels cannot be drawn from {len(labels):,} pictures of {len(kinds)} classes"
        fix = f"give from {least} to {len(labels)}: --labels" if least <= len(labels) else "give more pictures"
        raise NetwrightError(problem, fix)
    order = generator(seed, "few labels").permutation(len(labels))
    rank = np.empty(len(labels), np.intp)
    for kind in kinds:
        own = order[labels[order] == kind]
        rank[own] = np.arange(len(own))
    turn = np.empty(len(labels), np.intp)
    turn[order] = np.arange(len(labels))
    return np.sort(np.lexsort((turn, rank))[:many])  # the first of each class, then the second of each, …


def few_labels(seen: NDArray[Any], labels: Labels, asked: NDArray[Any], truth: Labels) -> Probe:
    """The linear probe of `lab.probe`, its penalty chosen by cross-validation among the labelled pictures.

    Vectors are centred and divided by one number, the root of the mean variance over dimensions of the labelled ones.

    Args:
        seen: vectors with labels. M D.
        labels: of these, at least 2 of each class. M.
        asked: vectors to classify. Q D.
        truth: their classes. Q.

    Raises:
        NetwrightError: there is one class, or a class with a single picture.
    """
    count, whole = len(seen), np.concatenate([seen, asked]).astype(np.float32)
    names = [str(place) for place in range(len(whole))]
    splits = ["train"] * count + ["test"] * len(asked)
    kinds = np.concatenate([labels, truth])
    vectors = Vectors(names, whole, splits, [str(kind) for kind in kinds], names)
    found = probe(vectors, np.arange(count, len(whole)), kinds, crossed=False, way=WAY)
    if isinstance(found, str):
        raise NetwrightError(found, "give more labels: --labels")
    return found
