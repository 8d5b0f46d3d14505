"""The grid of the study of depth: its networks, what they cost, and their runs as arrays by level, seed and picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.lab.anova import Analysis, analyse
from netwright.lab.trial import Trial
from netwright.lab.two_way import two_way
from netwright.nn.norm import NormKind
from netwright.records.intervals import Interval, wilson

Floats = NDArray[np.float64]
ARMS, FACTORS = ("norm", "skip"), ("blocks", "layers")


@dataclass(frozen=True, eq=False)
class Cell:
    """One network.

    Attributes:
        norm: after each convolution.
        skip: whether blocks have shortcuts.
        blocks: how often the map is halved.
        layers: convolutions in each block.
        model: its spec.
        params: trainable values.
        macs: multiply-adds for one picture.
        receptive_field: side in pixels of what one value of the last map depends on.
        trials: its runs, seed by seed.
    """

    norm: NormKind
    skip: bool
    blocks: int
    layers: int
    model: str
    params: int
    macs: int
    receptive_field: int
    trials: tuple[Trial, ...] = ()

    @property
    def name(self) -> str:
        """Its place in the grid."""
        return f"{self.blocks} × {self.layers}"

    @property
    def arm(self) -> str:
        """How all networks of its grid are built."""
        words = [f"{self.norm} norm"] * (self.norm != "none") + ["shortcuts"] * self.skip
        return ", ".join(words) or "plain"

    @cached_property
    def correct(self) -> Floats:
        """Which pictures each seed was right about. S N."""
        return np.stack([trial.correct for trial in self.trials])

    @cached_property
    def accuracy(self) -> Interval:
        """Over seeds and pictures."""
        return two_way(self.correct, difference=False)

    @property
    def by_seed(self) -> Floats:
        """Each seed's accuracy. S."""
        return self.correct.mean(1)

    @property
    def deviation(self) -> float:
        """Standard deviation between seeds."""
        return float(self.by_seed.std(ddof=1))

    @property
    def dead(self) -> list[int]:
        """The places of seeds that were not clearly better than always naming the most frequent class."""
        labels = self.trials[0].labels
        guessing = float(np.bincount(labels).max()) / len(labels)
        return [place for place, row in enumerate(self.correct) if wilson(int(row.sum()), len(row)).low <= guessing]

    @property
    def seconds(self) -> float:
        """That a run took, the median."""
        return float(np.median([trial.seconds for trial in self.trials]))

    @property
    def speed(self) -> float:
        """Pictures in a second of training, the median."""
        return float(np.median([trial.images_per_second for trial in self.trials]))


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells by the levels of what differs among them.

    Attributes:
        cells: in the order norm, skip, blocks, layers.
        factors: of blocks, layers, norm and skip those with two levels or more.
        levels: of each of these, in order.
        correct: L1 … Lk S N.
    """

    cells: tuple[Cell, ...]
    factors: tuple[str, ...]
    levels: dict[str, list[Any]]
    correct: Floats

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> "Grid":
        """The grid of some cells, in the order in which the study names them."""
        levels = {name: list(dict.fromkeys(getattr(cell, name) for cell in cells)) for name in (*ARMS, *FACTORS)}
        correct = np.stack([cell.correct for cell in cells])
        shaped = correct.reshape(*(len(found) for found in levels.values()), *correct.shape[1:])
        several = [place for place, found in enumerate(levels.values()) if len(found) > 1]
        kept = shaped[tuple(slice(None) if place in several else 0 for place in range(len(levels)))]
        factors = [name for name, found in levels.items() if len(found) > 1]
        order = sorted(range(len(factors)), key=lambda place: (*FACTORS, *ARMS).index(factors[place]))
        named = tuple(factors[place] for place in order)
        moved = kept.transpose(*order, kept.ndim - 2, kept.ndim - 1)
        return cls(tuple(cells), named, {name: levels[name] for name in named}, moved)

    @cached_property
    def analysis(self) -> Analysis:
        """Of the runs' accuracies."""
        return analyse(self.correct.mean(-1), self.factors)

    def level(self, factor: str, place: int) -> Floats:
        """At one level of a factor, the mean over all others. S N."""
        axis = self.factors.index(factor)
        taken = np.take(self.correct, place, axis)
        return taken.mean(tuple(range(taken.ndim - 2)))

    def effect(self, factor: str, level: int = -1, other: int = 0) -> Floats:
        """One level minus another, by seed and picture. S N."""
        return self.level(factor, level) - self.level(factor, other)
