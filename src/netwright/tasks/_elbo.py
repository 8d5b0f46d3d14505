"""Bounds of log p(x) by draws of codes: the ELBO (Kingma & Welling, arXiv:1312.6114), and the tighter bound of K draws
(Burda, Grosse & Salakhutdinov, Importance Weighted Autoencoders, 2016, arXiv:1509.00519)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.nn.observation import Observation
from netwright.nn.output import normal_divergence

Nats = NDArray[np.float64]
VALUES = 2**19  # of decoded pictures that are held at once


class Coder(Protocol):
    """A network with random codes, as `models._autoencoder.Autoencoding` is one."""

    observation: Observation
    random: bool

    def encode(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean and logarithm of the variance of codes. N C H W -> N D, N D."""
        ...

    def decode(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """What the observation model reads. N D -> N C H W."""
        ...


@dataclass(frozen=True)
class Bounds:
    """Lower bounds of log p(x) of each picture, in nats, with all constants. N each.

    Attributes:
        elbo: −distortion − rate.
        weighted: log of the mean of p(x, z) / q(z | x) over `draws` codes; the more draws, the nearer to log p(x).
        rate: KL(q(z | x) ‖ N(0, I)), in closed form.
        distortion: −log p(x | z), the mean over the draws.
        effective: how many of the draws count, (Σ w)² / Σ w²; few of many mean that the bound is still loose.
        draws: codes of each picture.
    """

    elbo: Nats
    weighted: Nats
    rate: Nats
    distortion: Nats
    effective: Nats
    draws: int


@torch.no_grad()
def bounds(
    model: Coder, image: Tensor, picture: Tensor, *, draws: int = 64, label: Tensor | None = None, seed: int = 0
) -> Bounds:
    """Both bounds of pictures' log-likelihoods, by the same draws. β plays no part in either.

    Args:
        model: with random codes, in evaluation mode.
        image: what it sees, N C H W.
        picture: the same pictures with values in [0, 1], of which it gives the likelihood, N C H W.
        draws: codes of each picture.
        label: classes, N, for a conditional network.
        seed: of the draws.

    Raises:
        NetwrightError: codes are not random, or fewer than one draw.
    """
    weights, distortion, rate = log_weights(model, image, picture, draws=draws, label=label, seed=seed)
    mean = distortion.mean(0)
    elbo, tight, rate, mean, count = (
        each.cpu().numpy() for each in (-mean - rate, weighted(weights), rate, mean, effective(weights))
    )
    return Bounds(elbo, tight, rate, mean, count, draws)


@torch.no_grad()
def log_weights(
    model: Coder, image: Tensor, picture: Tensor, *, draws: int = 64, label: Tensor | None = None, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x, z) − log q(z | x) and −log p(x | z) of each draw, K N, and the rate, N; float64, in nats.

    Raises:
        NetwrightError: codes are not random, or fewer than one draw.
    """
    if not model.random:
        problem = "this autoencoder's codes are not random: it has no likelihood, and so no bound of one"
        raise NetwrightError(problem, "train a vae; for others there is the reconstruction error")
    if draws < 1:
        raise NetwrightError(f"a bound by {draws} draws", "draw one code at least")
    mean, variance = model.encode(image, label)
    if variance is None:
        raise NetwrightError("the network says that its codes are random, and gives no variance", "give one in encode")
    generator = torch.Generator(mean.device).manual_seed(seed)
    rate = normal_divergence(mean, variance).double().sum(1)
    mean, deviation = mean.double(), (0.5 * variance.double()).exp()
    weights, distortions = (torch.empty(draws, len(mean), dtype=torch.float64, device=mean.device) for _ in range(2))
    for rows, columns in _parts(draws, len(mean), max(1, VALUES // picture[0].numel())):
        shape = (rows.stop - rows.start, *mean[columns].shape)
        noise = torch.randn(shape, generator=generator, device=mean.device, dtype=torch.float64)
        code = mean[columns] + deviation[columns] * noise  # K N D
        drawn = code.flatten(0, 1).to(image.dtype)
        natural = model.decode(drawn, None if label is None else label[columns].repeat(len(noise)))
        many = picture[columns].repeat(len(noise), 1, 1, 1)
        distortion = model.observation.distortion(natural, many).double().view(code.shape[:2])
        # The logarithms of 2π in prior and posterior are the same.
        odds = 0.5 * (noise.square() - code.square()).sum(2) + deviation[columns].log().sum(1)
        weights[rows, columns], distortions[rows, columns] = odds - distortion, distortion
    return weights, distortions, rate


def weighted(log_weight: Tensor) -> Tensor:
    """log of the mean of weights over draws, L_K of Burda et al. Shape: K N -> N."""
    return log_weight.logsumexp(0) - math.log(len(log_weight))


def effective(log_weight: Tensor) -> Tensor:
    """(Σ w)² / Σ w²: from 1, where one draw decides alone, to K. Shape: K N -> N."""
    return (2 * log_weight.logsumexp(0) - (2 * log_weight).logsumexp(0)).exp()


def _parts(draws: int, pictures: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Draws and pictures of which at most `most` are decoded at once."""
    wide = min(pictures, most)
    deep = max(1, most // max(1, wide))
    for left in range(0, pictures, max(1, wide)):
        for top in range(0, draws, deep):
            yield slice(top, min(top + deep, draws)), slice(left, min(left + wide, pictures))
