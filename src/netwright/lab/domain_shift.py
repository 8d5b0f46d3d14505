"""Do pictures reach a learnt network as those did that it learnt from? Statistics by stage, mended and not.

Li et al. 2016, Revisiting batch normalization for practical domain adaptation, arXiv:1603.04779, refresh norms.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.engine.normalise import Normalise
from netwright.engine.unit_statistics import Activity, Moved, UnitStatistics, unit_statistics
from netwright.nn.norm import batch_norms, refresh_
from netwright.records.intervals import Interval, bootstrap_mean

AS_WANTED, OWN_MOMENTS, REFRESHED = "as the weights want", "own moments", "bn_refresh"
FAR = 1.0  # deviations by which a mean may lie elsewhere
WIDE = 2.0  # factor by which a deviation may be another
MORE = 0.05  # share of values, or of units, that saturates beyond what it does with mended statistics

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StageShift:
    """One stage under one condition; numbers that a network without activations or batch norms has not are None.

    Attributes:
        stage: from 0; one more than the last map for the head.
        units: how many there are of activations.
        dead: how many of them answered nothing, at any place of any picture.
        flat: for each picture, the share of values at which the activation's slope is nearly 0. N.
        scale: root mean square of what activations give.
        shift: median and 95th percentile over channels of |mean − running mean| / running deviation.
        log_ratio: the same of |ln(variance / running variance)|.
    """

    stage: int
    units: int
    dead: int
    flat: Floats
    scale: float | None
    shift: tuple[float, float] | None
    log_ratio: tuple[float, float] | None

    @property
    def flat_share(self) -> Interval:
        """The mean over pictures."""
        return bootstrap_mean(self.flat)

    def to_json(self) -> dict[str, Any]:
        """The fields, the shares of pictures as their mean."""
        return {**asdict(self), "flat": self.flat_share.to_json() if len(self.flat) else None}


@dataclass(frozen=True, eq=False)
class Condition:
    """The network under one preprocessing, with its own statistics or fresh ones.

    Attributes:
        mean: of the values that reach the network, for each channel.
        std: their deviation.
    """

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stages: tuple[StageShift, ...]

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        stages = [stage.to_json() for stage in self.stages]
        return {"name": self.name, "mean": list(self.mean), "std": list(self.std), "stages": stages}


@dataclass(frozen=True, eq=False)
class Rise:
    """By how much more saturates in a stage than where statistics are mended.

    Attributes:
        mended: the condition it is compared with.
        flat: difference of the shares of flat values, paired by picture.
        dead: difference of the numbers of dead units.
    """

    stage: int
    mended: str
    flat: Interval
    dead: int
    units: int

    @property
    def holds(self) -> bool:
        """Whether it is more than may be: the whole interval, or dead units that can be counted."""
        return self.flat.low > MORE or self.dead > MORE * self.units

    @property
    def size(self) -> float:
        """The larger share, for comparing."""
        return max(self.flat.value, self.dead / self.units)

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        return {**asdict(self), "flat": self.flat.to_json(), "holds": self.holds}


@dataclass(frozen=True, eq=False)
class DomainShift:
    """The table, and what follows from it.

    Attributes:
        pictures: how many were looked at.
        conditions: as the weights want, with the pictures' own moments, and, where there are batch norms, refreshed.
        rises: of each stage, for each mended condition.
    """

    pictures: int
    conditions: tuple[Condition, ...]
    rises: tuple[Rise, ...]

    @property
    def inputs_differ(self) -> bool:
        """Whether a channel that reaches the network is far from mean 0 and deviation 1, those of pretraining."""
        first = self.conditions[0]
        far = max(map(abs, first.mean)) > FAR
        return far or max(first.std) > WIDE or min(first.std) < 1 / WIDE

    @property
    def norms_differ(self) -> bool:
        """Whether half the channels of a stage lie elsewhere, or are wider or narrower, than the running statistics."""
        known = [stage for stage in self.conditions[0].stages if stage.shift and stage.log_ratio]
        return any(s.shift[0] > FAR or s.log_ratio[0] > 2 * math.log(WIDE) for s in known if s.shift and s.log_ratio)

    @property
    def scale(self) -> float:
        """How many times as large values are as with the pictures' own moments, in the most extreme stage."""
        pairs = zip(self.conditions[0].stages, self.conditions[1].stages, strict=True)
        ratios = [a.scale / b.scale for a, b in pairs if a.scale and b.scale]
        return max(ratios, key=lambda ratio: abs(math.log(ratio)), default=1.0)

    @property
    def worst(self) -> Rise | None:
        """Where mending takes most saturation away, if that is more than may be."""
        return max((rise for rise in self.rises if rise.holds), key=lambda rise: rise.size, default=None)

    @property
    def saturates(self) -> bool:
        """Whether the statistics differ, and units saturate that do not once these are mended."""
        return (self.inputs_differ or self.norms_differ) and self.worst is not None

    def condition(self, name: str) -> Condition:
        """One of the conditions."""
        return next(found for found in self.conditions if found.name == name)

    def to_json(self) -> dict[str, Any]:
        """For a record."""
        return {
            "pictures": self.pictures,
            "inputs_differ": self.inputs_differ,
            "norms_differ": self.norms_differ,
            "saturates": self.saturates,
            "scale": self.scale,
            "fix": self.worst.mended if self.saturates and self.worst else None,
            "rises": [rise.to_json() for rise in self.rises],
            "conditions": [condition.to_json() for condition in self.conditions],
        }


def domain_shift(network: nn.Module, batches: Sequence[Tensor], wanted: Normalise) -> DomainShift:
    """Statistics of a network's units on some pictures, as its weights want these, and with statistics mended.

    What saturates is judged beside the same network on the same pictures with the moments of pretraining: mean 0 and
    deviation 1 in each channel. No other pictures, and no noise, stand in for the pretraining's.

    Args:
        network: with its learnt weights; it is left as it was.
        batches: bytes, or values in [0, 1], N C H W each, on the network's device.
        wanted: the mean and deviation that the weights were trained with.

    Raises:
        NetwrightError: no pictures, or a network whose activations and norms cannot be seen.
    """
    pictures = sum(len(batch) for batch in batches)
    if not pictures:
        raise NetwrightError("there are no pictures to look at", "give at least one batch")
    conditions = [_condition(AS_WANTED, network, batches, wanted)]
    conditions.append(_condition(OWN_MOMENTS, network, batches, _own(batches, wanted)))
    if batch_norms(network):
        refreshed = copy.deepcopy(network)
        refresh_(refreshed, [wanted(batch) for batch in batches])
        conditions.append(_condition(REFRESHED, refreshed, batches, wanted))
    if not any(stage.units or stage.shift for stage in conditions[0].stages):
        fix = "use activations and batch norms that are modules of torch.nn"
        raise NetwrightError(f"{type(network).__name__} has no activations or norms that can be watched", fix)
    rises = [rise for mended in conditions[1:] for rise in _rises(conditions[0], mended)]
    return DomainShift(pictures, tuple(conditions), tuple(rises))


def _own(batches: Sequence[Tensor], wanted: Normalise) -> Normalise:
    """The pictures' own mean and deviation."""
    mean, std = _moments([Normalise((0.0,) * batch.shape[1], (1.0,) * batch.shape[1])(batch) for batch in batches])
    # One flat colour has no spread; dividing by one grey level keeps its values finite.
    return replace(wanted, mean=mean, std=tuple(max(deviation, 1 / 255) for deviation in std))


def _moments(batches: Sequence[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    wide = torch.cat([batch.transpose(0, 1).flatten(1) for batch in batches], 1)  # C …
    mean = wide.double().mean(1)
    std = (wide.double() - mean[:, None]).square().mean(1).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _condition(name: str, network: nn.Module, batches: Sequence[Tensor], normalise: Normalise) -> Condition:
    seen = [normalise(batch) for batch in batches]
    mean, std = _moments(seen)
    return Condition(name, mean, std, _stages(unit_statistics(network, seen)))


def _stages(found: UnitStatistics) -> tuple[StageShift, ...]:
    places = sorted({part.stage for part in (*found.activations, *found.norms)})
    return tuple(
        _stage(
            place,
            [part for part in found.activations if part.stage == place],
            [part for part in found.norms if part.stage == place],
        )
        for place in places
    )


def _stage(place: int, activations: list[Activity], norms: list[Moved]) -> StageShift:
    units = sum(part.dead.size for part in activations)
    weights = [part.dead.size / units for part in activations]
    flat = (
        np.sum([w * part.flat for w, part in zip(weights, activations, strict=True)], 0) if activations else np.zeros(0)
    )
    scale = float(np.sqrt(np.mean([part.scale**2 for part in activations]))) if activations else None
    shift = _spread(np.concatenate([part.shift for part in norms])) if norms else None
    ratio = _spread(np.abs(np.concatenate([part.log_ratio for part in norms]))) if norms else None
    return StageShift(place, units, sum(int(part.dead.sum()) for part in activations), flat, scale, shift, ratio)


def _spread(values: Floats) -> tuple[float, float]:
    return float(np.median(values)), float(np.quantile(values, 0.95))


def _rises(wanted: Condition, mended: Condition) -> list[Rise]:
    pairs = [(a, b) for a, b in zip(wanted.stages, mended.stages, strict=True) if a.units]
    return [
        Rise(
            before.stage, mended.name, bootstrap_mean(before.flat - after.flat), before.dead - after.dead, before.units
        )
        for before, after in pairs
    ]
