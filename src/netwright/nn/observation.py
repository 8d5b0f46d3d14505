"""What a decoder's numbers say of a picture: the distribution whose surprise, in nats, is the distortion."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from netwright.core.errors import unknown
from netwright.core.options import Between, check
from netwright.core.spec import Spec

LEAST = 0.01  # of a probability that a logit is wanted for


@dataclass(frozen=True)
class Observation(ABC):
    """Pictures given what a decoder says of them; pixels are independent, and values lie in [0, 1].

    Sums are over all values of a picture, never means: a mean would change what a divergence beside it weighs, by as
    many times as a picture has values.
    """

    @abstractmethod
    def pixels(self, natural: Tensor) -> Tensor:
        """The expected picture. Shape: N C H W -> N C H W."""

    @abstractmethod
    def natural(self, pixels: Tensor) -> Tensor:
        """What a decoder has to say for `pixels` to be expected: the inverse, of any shape."""

    @abstractmethod
    def distortion(self, natural: Tensor, picture: Tensor) -> Tensor:
        """−log p(picture) in nats, summed over each picture. N C H W, N C H W -> N."""

    @property
    @abstractmethod
    def offset(self) -> float:
        """What no decoder can change of it, for each value of a picture, in nats."""


@dataclass(frozen=True)
class Gaussian(Observation):
    """Each value is normal around the decoder's, with the standard deviation `sigma` of values in [0, 1]."""

    sigma: Annotated[float, Between(1e-4, 100)] = 1.0

    def pixels(self, natural: Tensor) -> Tensor:
        """The decoder's values themselves."""
        return natural

    def natural(self, pixels: Tensor) -> Tensor:
        """The values themselves."""
        return pixels

    def distortion(self, natural: Tensor, picture: Tensor) -> Tensor:
        """Σ (x − m)² / 2σ² + log σ + ½ log 2π."""
        off = (picture.float() - natural.float()).flatten(1)
        return off.square().sum(1) / (2 * self.sigma**2) + off.shape[1] * self.offset

    @property
    def offset(self) -> float:
        """log σ + ½ log 2π."""
        return math.log(self.sigma) + 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Bernoulli(Observation):
    """Each value is 1 with a probability whose logit the decoder gives; grey values count as mixtures of both.

    For grey pictures this is a cross-entropy and no likelihood; what it cannot go below is their own entropy.
    """

    def pixels(self, natural: Tensor) -> Tensor:
        """The probabilities."""
        return natural.float().sigmoid()

    def natural(self, pixels: Tensor) -> Tensor:
        """Logits, of probabilities from 0.01 to 0.99: beyond, a start would be hard to leave."""
        return pixels.logit(LEAST)

    def distortion(self, natural: Tensor, picture: Tensor) -> Tensor:
        """−Σ x log p + (1 − x) log(1 − p)."""
        each = F.binary_cross_entropy_with_logits(natural.float(), picture.float(), reduction="none")
        return each.flatten(1).sum(1)

    @property
    def offset(self) -> float:
        """None: what is least depends on the picture."""
        return 0.0


KINDS: dict[str, type[Observation]] = {"gaussian": Gaussian, "bernoulli": Bernoulli}


def make_observation(spec: str | Spec) -> Observation:
    """An observation model by name: `gaussian(sigma=0.1)`, `bernoulli`.

    Raises:
        NetwrightError: unknown name or option, or a value out of range.
    """
    spec = Spec.parse(spec)
    if spec.name not in KINDS:
        raise unknown("observation", spec.name, KINDS)
    return KINDS[spec.name](**check(spec.name, KINDS[spec.name], spec.options))
