"""What codes look like over many pictures: which dimensions are used, and how far they are from the prior."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netwright.nn.output import Decoded

BIT = math.log(2)  # nats
ACTIVE = 0.01  # nats of divergence from which on a dimension counts as used
MOVING = 0.01  # of a posterior's variance, that means have to vary by between pictures: half a hundredth of a nat
MOST_DIMENSIONS = 256  # that are listed one by one, and whose covariance is kept: 65,536 numbers
DEAD = 1e-3  # of the largest deviation among dimensions, below which one says nothing


@dataclass
class Latent:
    """Sums over pictures, from which statistics of each dimension of their codes follow."""

    n: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def add(self, output: Decoded) -> None:
        """Take a batch's codes into account."""
        mean = output.mean.double().cpu()
        self.n += len(mean)
        self._add("mean", mean)
        self._add("square", mean.square())
        self._add("used", (output.code != 0).double().cpu())
        if output.divergence is not None and output.log_variance is not None:
            self._add("divergence", output.divergence.double().cpu())
            self._add("variance", output.log_variance.double().cpu().exp())

    @property
    def random(self) -> bool:
        """Whether codes are drawn, so that there is a prior."""
        return "divergence" in self.sums

    @property
    def mean(self) -> np.ndarray:
        """The mean code. D."""
        return self._mean("mean")

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation of mean codes over pictures. D."""
        return np.sqrt(np.maximum(0, self._mean("square") - self.mean**2))

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation of drawn codes, which a prior of N(0, 1) would make 1. D."""
        inner = self._mean("variance") if self.random else np.zeros_like(self.mean)
        return np.sqrt(self.deviation**2 + inner)

    @property
    def divergence(self) -> np.ndarray:
        """The mean KL divergence of each dimension in nats. D; zeros where codes are not random."""
        return self._mean("divergence") if self.random else np.zeros_like(self.mean)

    @property
    def used(self) -> np.ndarray:
        """The share of pictures in which each dimension of the code is not zero. D."""
        return self._mean("used")

    @property
    def active(self) -> int:
        """Dimensions that say something of the picture, as `saying` has it where codes are random."""
        return int(self._saying.sum()) if self.random else len(self.mean) - self.dead

    @property
    def dead(self) -> int:
        """Dimensions that are the same for every picture, or nearly so beside the one that changes most."""
        deviation = self.deviation
        still = deviation <= DEAD * deviation.max(initial=0)
        return int((still & ~self._saying).sum() if self.random else still.sum())

    @property
    def rate(self) -> float:
        """The mean KL divergence of whole codes in nats; 0 where they are not random."""
        return float(self.divergence.sum())

    @property
    def collapsed(self) -> bool:
        """Whether a random code says less than one bit of a picture, so that the decoder looks at next to nothing.

        With less, not even two kinds of pictures can be told apart. While a code fades, its dimensions stay above the
        threshold of use for long.
        """
        return self.random and (self.active == 0 or self.rate < BIT)

    def numbers(self) -> dict[str, float]:
        """What a row of metrics says."""
        found: dict[str, float] = {"dead_units": self.dead}
        return {"active_units": self.active, **found} if self.random else found

    def to_json(self) -> dict[str, Any]:
        """Everything, for a record; of many dimensions only those that are used most, and `places` says which."""
        listed = ("mean", "deviation", "spread", "used", *(("divergence",) if self.random else ()))
        places = most_used(self.divergence if self.random else self.deviation)
        rows = {name: getattr(self, name)[places].round(6).tolist() for name in listed}
        counts: dict[str, Any] = {"n": self.n, "dimensions": len(self.mean), "active": self.active, "dead": self.dead}
        counts |= {"rate": round(self.rate, 6), "collapsed": self.collapsed} if self.random else {}
        return {**counts, **rows, **({"places": places.tolist()} if len(places) < len(self.mean) else {})}

    @property
    def _saying(self) -> np.ndarray:
        if self.n < 2:  # of one picture nobody knows what changes
            return self.divergence > ACTIVE
        return saying(self.divergence, self.deviation**2, self._mean("variance"))

    def _add(self, name: str, values: Tensor) -> None:
        self.sums[name] = self.sums.get(name, torch.zeros(values.shape[1], dtype=torch.float64)) + values.sum(0)

    def _mean(self, name: str) -> np.ndarray:
        return (self.sums[name] / max(1, self.n)).numpy()


def saying(divergence: np.ndarray, between: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Which dimensions of random codes say something of the picture. D each -> D, bool.

    A divergence alone is no sign of it: a posterior that is not the prior, and the same for every picture, has one.
    The means have to differ too (Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016,
    arXiv:1509.00519, have Var > 0.01, where the posterior's variance is about 1).

    Args:
        divergence: in nats.
        between: the variance of mean codes over pictures.
        within: the mean variance of codes of one picture.
    """
    return (divergence > ACTIVE) & (between > MOVING * within)


def most_used(used: np.ndarray) -> np.ndarray:
    """The places of so many dimensions as are listed one by one, in their order: all of them, or those used most."""
    if len(used) <= MOST_DIMENSIONS:
        return np.arange(len(used))
    return np.sort(np.argsort(-used, kind="stable")[:MOST_DIMENSIONS])
