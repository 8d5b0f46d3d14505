"""What the `data` and `optim` stations pass along: which samples, and which parameters with which rates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from netwright.nn.ends import first_kernel, head_parameters


@dataclass(frozen=True)
class Raw:
    """Samples as they are stored.

    Attributes:
        image: uint8 N H W C from the cache, or float N C H W from a user's own dataset; or N F, what a network that
            stands still made of them.
        label: N for classes, N H W for masks (-1 where it counts nowhere), N K H W for those that overlap.
        id: int64 N, one stable number a sample; augmentation is a function of it.
    """

    image: Tensor
    label: Tensor
    id: Tensor


class Source(Protocol):
    """Samples that can be fetched by position."""

    @property
    def labels(self) -> np.ndarray | None:
        """Class index of each sample, or None when only fetching tells."""
        ...

    def __len__(self) -> int: ...

    def batches(self, positions: Sequence[np.ndarray], *, stream: int = 0) -> Iterator[Raw]:
        """One `Raw` for each array of positions, in order; a source that draws at random draws from `stream`."""
        ...


@runtime_checkable
class WholePictures(Source, Protocol):
    """Pictures of many sizes, each of which is looked at as a whole; a batch holds pictures of one size."""

    def chunks(self, batch_size: int) -> list[np.ndarray]:
        """All positions, those of a batch together: as many as fit, and `batch_size` at most."""
        ...


@dataclass(frozen=True)
class DataPlan:
    """Which training samples are drawn, and how many at a time.

    Attributes:
        train: the training samples.
        classes: how many classes.
        batch_size: samples for one update.
        weights: how often each sample is drawn, relative to the others; None means each once an epoch.
        repeats: how often a sample that is drawn stands in its batch.
    """

    train: Source
    classes: int
    batch_size: int
    weights: np.ndarray | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and weight decay.

    Attributes:
        parameters: name and tensor of each.
        rate: multiplies the optimiser's learning rate.
        decay: multiplies the optimiser's weight decay.
        until: the part of the run in which these are trained; their schedule ends there, and then they stand still.
        since: the part of the run from which on these are trained, at the rate that the schedule has then.
        ends: names of the network's first kernel and of its heads' parameters, for optimisers that spare them.
    """

    parameters: tuple[tuple[str, nn.Parameter], ...]
    rate: float = 1.0
    decay: float = 1.0
    until: float = 1.0
    since: float = 0.0
    ends: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OptimPlan:
    """All trainable parameters, in groups."""

    groups: tuple[Group, ...]

    @classmethod
    def of(cls, model: nn.Module) -> "OptimPlan":
        """One group with every parameter that wants a gradient."""
        ends = head_parameters(model) | {first_kernel(model) or ""}
        return cls((Group(tuple((name, p) for name, p in model.named_parameters() if p.requires_grad), ends=ends),))

    def split(self, wanted: Callable[[str, nn.Parameter], bool], **changes: float) -> "OptimPlan":
        """Put the parameters for which `wanted(name, parameter)` holds in groups of their own, changed as said."""
        groups: list[Group] = []
        for group in self.groups:
            chosen = tuple(pair for pair in group.parameters if wanted(*pair))
            others = tuple(pair for pair in group.parameters if not wanted(*pair))
            groups += [replace(group, parameters=others)] if others else []
            groups += [replace(group, parameters=chosen, **changes)] if chosen else []
        return replace(self, groups=tuple(groups))

    def parted(
        self, value: Callable[[str, nn.Parameter], float], changed: Callable[[Group, float], Group]
    ) -> "OptimPlan":
        """Put parameters with one `value(name, parameter)` in groups of their own, each as `changed(group, value)`."""
        groups: list[Group] = []
        for group in self.groups:
            for one in sorted({value(*pair) for pair in group.parameters}):
                alike = tuple(pair for pair in group.parameters if value(*pair) == one)
                groups.append(changed(replace(group, parameters=alike), one))
        return replace(self, groups=tuple(groups))
