"""Whether drawn pictures are copies of training pictures: where their nearest real ones come from.

A sample that knows of the training pictures only how they are distributed lies as near to held-out pictures: its
nearest among both is a training picture as often as chance says. Distances alone (Meehan, Chaudhuri & Dasgupta 2020,
arXiv:2004.05675) would blame blur, which brings a picture nearer to all others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.core.errors import NetwrightError
from netwright.lab.nearest import nearest

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Read = Callable[[slice], Pixels]  # some pictures of many, N H W C
AT_ONCE = 8192  # pictures compared with at a time
MOST_ASKED = 2000  # held-out pictures whose own distance to training pictures is measured
PERMUTATIONS = 1999
SURE = 0.01  # p below which copying is told


@dataclass(frozen=True, eq=False)
class Copied:
    """What the nearest real pictures of drawn ones say.

    Attributes:
        places: of the nearest training picture of each drawn one. Q.
        distances: to it, root mean square over values in [0, 1]. Q.
        usual: the same of held-out pictures, to their nearest training picture. H.
        share: of drawn pictures whose nearest real one is a training picture.
        chance: what that would be if training and held-out pictures were the same to the network.
        p: how often chance alone gives a share as large.
        training: training pictures compared with.
        held_out: held-out pictures compared with.
    """

    places: NDArray[np.intp]
    distances: Floats
    usual: Floats
    share: float
    chance: float
    p: float
    training: int
    held_out: int

    @property
    def alarm(self) -> bool:
        """Whether drawn pictures lie nearer to training pictures than chance explains."""
        return self.share > self.chance and self.p < SURE

    @property
    def closer(self) -> float:
        """How often a drawn picture lies closer to its nearest training picture than a held-out one does."""
        order = np.sort(self.usual)
        above = len(order) - np.searchsorted(order, self.distances, "right")
        equal = np.searchsorted(order, self.distances, "right") - np.searchsorted(order, self.distances, "left")
        return float((above + equal / 2).mean() / len(order))

    @property
    def closest(self) -> NDArray[np.intp]:
        """Drawn pictures, those nearest to a training picture first. Q."""
        return np.argsort(self.distances, kind="stable")

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        medians = {"median": float(np.median(self.distances)), "usual_median": float(np.median(self.usual))}
        counts = {"pictures": len(self.distances), "training": self.training, "held_out": self.held_out}
        nearer = int((self.distances < self.usual.min()).sum())
        found = {"share": self.share, "chance": self.chance, "p": self.p, "closer": self.closer, "nearer": nearer}
        return {**counts, **found, **medians, "alarm": self.alarm}


def copied(drawn: Pixels, training: Read, n: int, held_out: Pixels, seed: int = 0) -> Copied:
    """Compare drawn pictures with those that a network was trained on, and with some that it was not.

    Args:
        drawn: Q H W C.
        training: reads training pictures; all of them are read, some at a time.
        n: how many there are.
        held_out: others like them. H H W C.
        seed: of the permutations.

    Raises:
        NetwrightError: no pictures of one of the three.
    """
    if not (len(drawn) and n and len(held_out)):
        problem = f"{len(drawn)} drawn, {n} training and {len(held_out)} held-out pictures cannot be compared"
        raise NetwrightError(problem, "give some of each")
    asked = held_out[np.linspace(0, len(held_out) - 1, min(MOST_ASKED, len(held_out))).astype(np.intp)]
    queries = _vectors(np.concatenate([drawn, asked]))
    places, distances = _nearest_of_all(queries, training, n)
    other, away = nearest(queries[: len(drawn)], _vectors(held_out), 1, metric="l2")
    ours, theirs = distances[: len(drawn)], away[:, 0]
    from_training = ours <= theirs
    hits = np.where(from_training, places[: len(drawn)], n + other[:, 0])
    p = _chance_of(hits, from_training, n, len(held_out), seed)
    scale = queries.shape[1] ** -0.5
    return Copied(
        places[: len(drawn)],
        ours * scale,
        distances[len(drawn) :] * scale,
        float(from_training.mean()),
        n / (n + len(held_out)),
        p,
        n,
        len(held_out),
    )


def _vectors(pictures: Pixels) -> NDArray[np.float32]:
    return pictures.reshape(len(pictures), -1).astype(np.float32) / np.float32(255)


def _nearest_of_all(queries: NDArray[np.float32], read: Read, n: int) -> tuple[NDArray[np.intp], Floats]:
    """The nearest of many pictures, some at a time; of equally near ones the first."""
    best, distances = np.zeros(len(queries), np.intp), np.full(len(queries), np.inf)
    for start in range(0, n, AT_ONCE):
        part = _vectors(np.asarray(read(slice(start, min(n, start + AT_ONCE)))))
        places, away = nearest(queries, part, 1, metric="l2")
        nearer = away[:, 0] < distances
        best[nearer], distances[nearer] = start + places[nearer, 0], away[nearer, 0]
    return best, distances


def _chance_of(hits: NDArray[np.intp], from_training: NDArray[np.bool_], n: int, held_out: int, seed: int) -> float:
    """p of so many hits of training pictures, if which pictures were trained on had been drawn among all of them."""
    _, counts = np.unique(hits, return_counts=True)
    draw, seen = np.random.default_rng(seed), int(from_training.sum())
    as_many = 1
    for _ in range(PERMUTATIONS):
        chosen = draw.choice(n + held_out, len(counts), replace=False, shuffle=False) < n
        as_many += int((counts * draw.permutation(chosen)).sum()) >= seen
    return as_many / (PERMUTATIONS + 1)
