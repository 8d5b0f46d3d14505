"""How odd a picture is to an autoencoder: what it cannot give back, where, and how far its code lies from others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from netwright.core.errors import NetwrightError, unknown
from netwright.data.loader import ArraySource
from netwright.data.split import Split
from netwright.engine.augment import prepare
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.explain._colour import blurred
from netwright.models._autoencoder import Autoencoding
from netwright.nn.output import normal_divergence
from netwright.tasks.reconstruction import Reconstruction

Floats = NDArray[np.float64]
KINDS = {
    "error": "squared error, summed over the picture",
    "relative": "squared error as a share of the picture's own contrast",
    "patch": "squared error of the worst patch, an eighth of the side wide",
    "elbo": "negative ELBO in nats, over draws of the code",
    "latent": "squared Mahalanobis distance of the code from those of training",
}
BATCH = 256
FLAT = 1e-4  # mean square contrast that is added: without any, a blank picture would be all odd
PATCH = 8  # patches along a side
DRAWS = 16  # of a random code: eight and their mirror images, the same for every picture
LEAST = 1e-4  # of the largest variance of codes: a dimension that never moves must not decide alone
SOFT = 1 / 28  # deviation of the blur of a heat map, as a share of the side


@dataclass(frozen=True, eq=False)
class Codes:
    """The Gaussian of codes of training pictures.

    Attributes:
        mean: D.
        root: D D; the length of (code − mean) root is the Mahalanobis distance.
    """

    mean: Tensor
    root: Tensor

    @classmethod
    def fitted(cls, mean: Any, covariance: Any) -> "Codes":
        """From the moments of codes, D and D D."""
        mean, spread = (torch.as_tensor(np.asarray(each), dtype=torch.float64) for each in (mean, covariance))
        values, vectors = torch.linalg.eigh((spread + spread.T) / 2)
        least = max(LEAST * float(values[-1]), torch.finfo(torch.float64).tiny)
        return cls(mean, vectors / values.clamp(min=least).sqrt())

    def distance(self, code: Tensor) -> Tensor:
        """Squared Mahalanobis distance, N D -> N."""
        return ((code.double().cpu() - self.mean) @ self.root).square().sum(1)


@dataclass(frozen=True, eq=False)
class Scorer:
    """An autoencoder that scores pictures; the same picture always gets the same score.

    Attributes:
        network: in evaluation mode, on the profile's device.
        normalise: as in training.
        profile: the device.
        codes: those of training pictures, for `latent`; None where nobody knows them.
    """

    network: Autoencoding
    normalise: Normalise
    profile: Profile
    codes: Codes | None = None

    def kinds(self) -> tuple[str, ...]:
        """The scores that this network can give."""
        can = {"elbo": self.network.random, "latent": self.codes is not None}
        return tuple(kind for kind in KINDS if can.get(kind, True))

    def refuse(self, kind: str) -> None:
        """Refuse a score that this network cannot give.

        Raises:
            NetwrightError: says why, and what it can.
        """
        if kind not in KINDS:
            raise unknown("score", kind, KINDS)
        if kind not in self.kinds():
            random = "codes of this network are not drawn, so that there is no ELBO"
            why = random if kind == "elbo" else "nothing was kept of the codes of training pictures"
            raise NetwrightError(f"--score {kind} cannot be had: {why}", f"take one of {', '.join(self.kinds())}")

    def scores(self, split: Split, kinds: Sequence[str]) -> dict[str, Floats]:
        """The scores of a split's pictures, in its order. N by kind.

        Raises:
            NetwrightError: one that this network cannot give, or one that takes a class to reconstruct.
        """
        for kind in kinds:
            self.refuse(kind)
        found: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
        for image, picture in self._batches(split, np.arange(len(split))):
            for kind, score in self._scored(image, picture, kinds).items():
                found[kind].append(score.double().cpu())
        return {kind: torch.cat(parts).numpy() if parts else np.zeros(0) for kind, parts in found.items()}

    @torch.inference_mode()
    def seen(self, split: Split, places: Sequence[int]) -> tuple[NDArray[np.float32], ...]:
        """Some pictures, their reconstructions, N C H W each in [0, 1], and where these differ: N H W.

        The last is the squared error of each pixel, mean over channels, smoothed a little.
        """
        parts: list[tuple[Tensor, ...]] = []
        for image, picture in self._batches(split, np.asarray(places, np.int64)):
            made = self._decoded(self._encoded(image)[0])[1]
            heat = blurred((picture - made).square().mean(1, keepdim=True), SOFT)[:, 0]
            parts.append((picture.cpu(), made.cpu(), heat.cpu()))
        return tuple(torch.cat(each).numpy() for each in zip(*parts, strict=True))

    @torch.inference_mode()
    def mean_codes(self, split: Split) -> Floats:
        """Codes of pictures, N D."""
        parts = [self._encoded(image)[0].double().cpu() for image, _ in self._batches(split, np.arange(len(split)))]
        return torch.cat(parts).numpy()

    @torch.inference_mode()
    def _scored(self, image: Tensor, picture: Tensor, kinds: Sequence[str]) -> Mapping[str, Tensor]:
        mean, log_variance = self._encoded(image)
        found: dict[str, Tensor] = {}
        if {"error", "relative", "patch"} & set(kinds):
            squared = (picture - self._decoded(mean)[1]).square()
            error = squared.flatten(1).sum(1)
            found = {"error": error, "relative": error / contrast(picture), "patch": worst_patch(squared)}
        if "elbo" in kinds and log_variance is not None:
            found["elbo"] = self._surprise(mean, log_variance, picture)
        if "latent" in kinds and self.codes is not None:
            found["latent"] = self.codes.distance(mean)
        return {kind: found[kind] for kind in kinds}

    def _surprise(self, mean: Tensor, log_variance: Tensor, picture: Tensor) -> Tensor:
        """−ELBO in nats: the distortion's mean over draws of the code, and the divergence from the prior. N."""
        half = torch.randn(DRAWS // 2, mean.shape[1], generator=torch.Generator().manual_seed(0)).to(mean)
        total = normal_divergence(mean, log_variance).sum(1)
        for draw in torch.cat([half, -half]):
            natural, _ = self._decoded(mean + (0.5 * log_variance).exp() * draw)
            total = total + self.network.observation.distortion(natural, picture) / DRAWS
        return total

    def _encoded(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        with self.profile.autocast():
            mean, log_variance = self.network.encode(image)
        return mean.float(), None if log_variance is None else log_variance.float()

    def _decoded(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """What the observation model reads, and the pictures, clipped: N C H W each."""
        with self.profile.autocast():
            natural = self.network.decode(code).float()
        return natural, self.network.observation.pixels(natural).clamp(0, 1)

    def _batches(self, split: Split, places: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
        """Pictures as the network takes them and as it is to give them back, N C H W each."""
        if self.network.conditional:
            problem = "this autoencoder is conditional: it would have to be told what each picture shows"
            raise NetwrightError(problem, "train one that is not: --model vae, autoencoder or mlp_autoencoder")
        task = Reconstruction(tuple(self.normalise.mean), tuple(self.normalise.std))
        chunks = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
        for raw in ArraySource(split, self.profile).batches(chunks):
            image = prepare(raw, self.normalise, self.profile)
            yield image, task.batch(image, raw.label)


def contrast(picture: Tensor) -> Tensor:
    """Σ (x − mean of x)² over a picture's values, and a little. N C H W -> N."""
    values = picture.flatten(1)
    return (values - values.mean(1, keepdim=True)).square().sum(1) + FLAT * values.shape[1]


def worst_patch(squared: Tensor) -> Tensor:
    """The largest sum of squared errors in a window, an eighth of the shorter side wide, at least 3. N C H W -> N."""
    height, width = squared.shape[-2:]
    side = min(max(3, round(min(height, width) / PATCH)), height, width)
    return F.avg_pool2d(squared.sum(1, keepdim=True), side, stride=1).flatten(1).amax(1) * side**2
