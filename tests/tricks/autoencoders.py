"""A tiny real run of an autoencoder: 8x8 pictures through codes of three numbers, with layers of every kind."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.engine.evaluate import predict
from netwright.engine.run import Run
from netwright.engine.trick import Trick
from netwright.models._autoencoder import Autoencoding
from netwright.nn.drop_path import DropPath
from netwright.nn.observation import make_observation
from netwright.tasks.reconstruction import Reconstruction
from tests.support import CLASSES, CPU, NORMALISE, Pictures, one_thread, tiny_run

SIDE, LATENT = 8, 3


class TinyAutoencoder(Autoencoding):
    """Convolutions, batch norms, a residual branch that can be dropped, dense layers; codes are random or not."""

    smallest, encoder_name = SIDE, "encoder"

    def __init__(self, *, random: bool = False, latent: int = LATENT) -> None:
        super().__init__()
        self.latent, self.image_size, self.random = latent, (SIDE, SIDE), random
        self.observation = make_observation("gaussian(sigma=1.0)")
        self.encoder = TinyEncoder()
        self.to_mean = nn.Linear(6 * 16, latent)
        self.to_log_variance = nn.Linear(6 * 16, latent) if random else None
        self.code: nn.Module = nn.Identity()
        self.decoder = nn.Sequential(
            nn.Linear(latent, 4 * 16), nn.ReLU(), nn.Unflatten(1, (4, 4, 4)), nn.BatchNorm2d(4),
            nn.ConvTranspose2d(4, 4, 2, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 1),
        )  # fmt: skip

    def maps(self, x: Tensor) -> list[Tensor]:
        return self.encoder(x)

    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        features = self.maps(x)[-1].flatten(1)
        mean = self.code(self.to_mean(features))
        return mean, None if self.to_log_variance is None else self.to_log_variance(features)

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        return self.decoder(code)


class TinyEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.down = nn.MaxPool2d(2)
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6))
        self.drop_path = DropPath()
        self.end = nn.ReLU()

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.stem(x)
        coarse = self.down(fine)
        return [fine, self.end(coarse + self.drop_path(self.branch(coarse)))]


class Pictured(Reconstruction):
    """With the number of classes that runs of tests ask a task for."""

    classes = CLASSES


def tiny_variational() -> nn.Module:
    return TinyAutoencoder(random=True)


def tiny_picture_run(
    *tricks: Trick | str, n: int = 8, network: Callable[[], nn.Module] = TinyAutoencoder, **options: Any
) -> Run:
    """As `tiny_run`, of an autoencoder on pictures."""
    given = {"batch_size": 4, "optimizer": "sgd(lr=0.001, weight_decay=0.01)", "held_out": Pictures(4, SIDE, seed=1)}
    task = Pictured(tuple(NORMALISE.mean), tuple(NORMALISE.std))
    return tiny_run(*tricks, n=n, size=SIDE, network=network, task=task, **given | options)


def reconstructions(run: Run) -> np.ndarray:
    """What the run's predictor makes of held-out pictures, N C H W."""
    with one_thread():
        found = predict(run.predictor(), Pictures(4, SIDE, seed=2), NORMALISE, CPU)
        return torch.cat([output.pixels for _, output in found]).numpy()


def changed(output: Any, **parts: Any) -> Any:
    """An output of which some parts are others."""
    return dataclasses.replace(output, **parts)
