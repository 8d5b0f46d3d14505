"""What datasets of texts and of sounds share: labels as numbers, and samples changed anew whenever they are read."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from netwright.core.errors import NetwrightError, unknown
from netwright.engine.random import key

Sample = TypeVar("Sample")
Strength = float | tuple[float, float]


class Change(Protocol[Sample]):
    """A pure function of a sample and a seed, as `functools.partial(delete_words, probability=0.2)`."""

    def __call__(self, sample: Sample, /, *, seed: int) -> Sample:
        """The changed sample; the given one stays as it is."""
        ...


def changed(sample: Sample, changes: Sequence[Change[Sample]]) -> Sample:
    """All changes one after the other, with seeds from torch's default generator.

    netwright sets that generator for each sample that it reads, from the run's seed, the epoch and the sample.
    """
    seed = int(torch.randint(1 << 62, ()))
    for place, change in enumerate(changes):
        sample = change(sample, seed=key(seed, place))
    return sample


def drawn(strength: Strength, draw: np.random.Generator) -> float:
    """The strength itself, or a number between the two of a pair."""
    return float(draw.uniform(*strength)) if isinstance(strength, tuple) else float(strength)


def check_share(name: str, value: float) -> None:
    """Refuse what is no probability.

    Raises:
        NetwrightError: it is not from 0 to 1.
    """
    if not 0 <= value <= 1:
        raise NetwrightError(f"{name} is {value}", "give a number from 0 to 1")


def numbered(labels: Sequence[Any], count: int, classes: Sequence[str] | None) -> tuple[list[int], tuple[str, ...]]:
    """Labels as class numbers, and the names of the classes.

    Args:
        labels: words, or numbers from 0.
        count: how many samples there are.
        classes: their names in order; by default the words, sorted, or the numbers.

    Raises:
        NetwrightError: not one label a sample, or a label of no class.
    """
    found = np.asarray(labels)
    if found.shape != (count,):
        raise NetwrightError(f"{count} samples have labels of shape {found.shape}", "give one label for each sample")
    if found.dtype.kind == "U":
        names = tuple(classes or map(str, np.unique(found)))
        absent = sorted(set(map(str, found)) - set(names))
        if absent:
            raise unknown("class", absent[0], names)
        return [names.index(str(label)) for label in found], names
    return _whole(found, classes)


def _whole(found: "np.ndarray[Any, Any]", classes: Sequence[str] | None) -> tuple[list[int], tuple[str, ...]]:
    if found.dtype.kind not in "iu":
        raise NetwrightError(f"labels have type {found.dtype}", "give words or whole numbers")
    names = tuple(map(str, classes or range(int(found.max(initial=0)) + 1)))
    if len(found) and not 0 <= found.min() <= found.max() < len(names):
        given = f"labels go from {found.min()} to {found.max()}, but there are {len(names)} classes"
        raise NetwrightError(given, f"count from 0 to {len(names) - 1}")
    return found.astype(int).tolist(), names
