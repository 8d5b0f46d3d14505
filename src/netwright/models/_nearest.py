"""Which of the variants a file's tensors would fit: by their number first, then by what they are called."""

import math
import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import torch

from netwright.core.errors import NetwrightError
from netwright.models import create_model, summaries
from netwright.models._placed import STATISTICS, Fit, State, fit_of, heads_of, placed, unwrapped

PUBLISHED = (1000, 10, 100, 21, 11, 2)  # numbers of classes that parameter counts are published for
FAMILIES, VARIANTS = 2, 5  # that are built where no count decides
NEAR = 0.5  # of values, or of names: what fits less than that is not called near
MOST_EXACT = 6


class Near(NamedTuple):
    """A variant and how well a file fits it."""

    name: str
    fit: Fit

    @property
    def score(self) -> tuple[float, float, int]:
        """The larger, the nearer."""
        return self.fit.values, self.fit.named / max(1, self.fit.tensors), -self.fit.tensors


def nearest_variant(state: State) -> Near | None:
    """The variant, at its own options, that these tensors fit best; None where none is near.

    A second or two at most: only a few variants are built, and without values.
    """
    state = unwrapped(state)
    by_count = _best(state, _exact(state))
    if by_count is not None and by_count.fit.whole:
        return by_count
    best = _best(state, _alike(state))
    found = [near for near in (by_count, best) if near is not None]
    near = max(found, key=lambda near: near.score, default=None)
    if near is None or max(near.fit.values, near.fit.named / max(1, near.fit.tensors)) < NEAR:
        return None
    return near


def _exact(state: State) -> list[str]:
    """Variants whose published count, with one of the tensors for their head, is that of the file.

    A head of K classes on F features has K(F + 1) parameters, so V − P = (K − C)(F + 1) for a variant published with P
    parameters at C classes. Without any head in the file K is 0.
    """
    values = parameters(state)
    shapes = {(len(tensor), tensor[0].numel()) for tensor in state.values() if tensor.ndim in (2, 4) and len(tensor)}
    heads = shapes | {(0, features) for _, features in shapes} | {(0, outputs) for outputs, _ in shapes}
    differences = {(k - c) * (f + 1) for k, f in heads for c in PUBLISHED}
    return [name for name, summary in summaries().items() if values - summary.params in differences][:MOST_EXACT]


def _alike(state: State) -> list[str]:
    """The variants of like size of the families whose names are most like the file's."""
    families: dict[str, list[str]] = {}
    counted = {name: summary for name, summary in summaries().items() if summary.params}  # published networks
    for name, summary in sorted(counted.items(), key=lambda item: item[1].params):
        families.setdefault(summary.family, []).append(name)
    wanted = _patterns(state), _patterns(_without_holder([*state]))
    likeness = {family: max(_likeness(w, names[0]) for w in wanted) for family, names in families.items()}
    values = max(1, parameters(state))
    chosen: list[str] = []
    for family in sorted(families, key=lambda family: -likeness[family])[:FAMILIES]:
        if likeness[family] > 0:
            distance = {name: abs(math.log(summaries()[name].params / values)) for name in families[family]}
            chosen += sorted(distance, key=lambda name: distance[name])[:VARIANTS]
    return chosen


def _likeness(wanted: set[str], name: str) -> float:
    """Name patterns that both have, as a share of those that either has."""
    own = _patterns(_shapes(name)[0])
    return len(wanted & own) / len(wanted | own)


def _without_holder(names: list[str]) -> list[str]:
    """Names without the parts that all of them begin with."""
    while names and all("." in name for name in names) and len({name.split(".")[0] for name in names}) == 1:
        names = [name.split(".", 1)[1] for name in names]
    return names


def _patterns(names: Iterable[str]) -> set[str]:
    """Names with every number alike: blocks are counted otherwise in deeper networks."""
    return {re.sub(r"\d+", "#", name) for name in names if not name.endswith(STATISTICS)}


def _best(state: State, names: list[str]) -> Near | None:
    found: list[Near] = []
    for name in names:
        own, heads = _shapes(name)
        try:
            found.append(Near(name, fit_of(placed(state, own).state, own, heads)))
        except NetwrightError:  # it is there twice, which is near enough, but no file to advise
            continue
    return max(found, key=lambda near: near.score, default=None)


@cache
def _shapes(name: str) -> tuple[State, tuple[str, ...]]:
    with torch.device("meta"):
        model = create_model(name, classes=PUBLISHED[0])
    return model.state_dict(), heads_of(model)


def parameters(state: State) -> int:
    """Values that training changes: all but the statistics of norms."""
    return sum(tensor.numel() for name, tensor in state.items() if not name.endswith(STATISTICS))
