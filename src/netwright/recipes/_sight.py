"""An autoencoder, and the pictures of a split that it was shown: what the report is made from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netwright.engine.augment import prepare
from netwright.engine.device import Profile
from netwright.engine.normalise import Normalise
from netwright.engine.run import Task
from netwright.models._autoencoder import Autoencoding
from netwright.recipes._assemble import Parts
from netwright.tasks.reconstruction import psnr, squared_error

AT_ONCE = 2**21  # values of pictures that go through the network together


@dataclass(frozen=True)
class Sight:
    """A network, how pictures become its input, and where it computes. Pictures have values in [0, 1], N C H W."""

    network: Autoencoding
    normalise: Normalise
    profile: Profile
    task: Task

    def seen(self, parts: Parts, split: str, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Pictures of a split and their labels, on the CPU, as evaluation sees them."""
        source = parts.inputs.source(split, self.profile, 0)
        found = [
            (self.task.batch(prepare(raw, self.normalise, self.profile), raw.label).cpu(), raw.label.cpu())
            for raw in source.batches(np.array_split(positions, max(1, len(positions) // 256)))
        ]
        return torch.cat([picture for picture, _ in found]), torch.cat([label for _, label in found])

    def image(self, picture: Tensor) -> Tensor:
        """What the network sees of pictures, on its device."""
        return self.profile.layout(self.normalise(picture.to(self.profile.device)))

    @torch.no_grad()
    def encoded(self, picture: Tensor, label: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean codes and logarithms of their variances, float32 on the CPU. N D each, the latter None if not random."""
        means: list[Tensor] = []
        variances: list[Tensor] = []
        for part in self._parts(len(picture), picture[0].numel()):
            with self.profile.autocast():
                mean, variance = self.network.encode(self.image(picture[part]), self._given(label[part]))
            means.append(mean.float().cpu())
            variances += [] if variance is None else [variance.float().cpu()]
        return torch.cat(means), torch.cat(variances) if variances else None

    @torch.no_grad()
    def decoded(self, code: Tensor, label: Tensor) -> Tensor:
        """Pictures of codes, clipped to [0, 1], on the CPU. N D -> N C H W."""
        made: list[Tensor] = []
        height, width = self.network.image_size
        for part in self._parts(len(code), 3 * height * width):
            with self.profile.autocast():
                natural = self.network.decode(code[part].to(self.profile.device), self._given(label[part]))
            made.append(self.network.observation.pixels(natural.float()).clamp(0, 1).cpu())
        return torch.cat(made)

    def again(self, picture: Tensor, label: Tensor) -> Tensor:
        """Reconstructions by mean codes. N C H W -> N C H W."""
        return self.decoded(self.encoded(picture, label)[0], label)

    def _given(self, label: Tensor) -> Tensor | None:
        return label.to(self.profile.device) if self.network.conditional else None

    def _parts(self, n: int, values: int) -> Iterator[slice]:
        step = int(np.clip(AT_ONCE // max(1, values), 1, 256))
        return (slice(start, min(start + step, n)) for start in range(0, n, step))


@dataclass(frozen=True)
class Looked:
    """Pictures of a split, their codes, and what was made of these again.

    Attributes:
        split: its name.
        positions: of the pictures in it. N.
        names: N.
        picture: N C H W.
        label: N.
        mean: of codes, N D.
        log_variance: of codes, N D; None where they are not random.
        again: the reconstructions, N C H W.
        psnr: of each, in dB. N.
    """

    split: str
    positions: np.ndarray
    names: list[str]
    picture: Tensor
    label: Tensor
    mean: Tensor
    log_variance: Tensor | None
    again: Tensor
    psnr: np.ndarray


def looked_at(sight: Sight, parts: Parts, split: str, most: int) -> Looked:
    """Pictures from all over a split, at most so many."""
    names = parts.inputs.names(split)
    positions = spread(len(names), most)
    picture, label = sight.seen(parts, split, positions)
    mean, variance = sight.encoded(picture, label)
    again = sight.decoded(mean, label)
    return Looked(
        split, positions, [names[place] for place in positions], picture, label, mean, variance, again,
        decibels(again, picture),
    )  # fmt: skip


def decibels(again: Tensor, picture: Tensor) -> np.ndarray:
    """PSNR of each reconstruction. N C H W, N C H W -> N."""
    return psnr(squared_error(again, picture)).double().numpy()


def spread(n: int, most: int) -> np.ndarray:
    """Places from the first to the last, all of them if there are no more than `most`."""
    return np.linspace(0, n - 1, min(most, n)).astype(np.int64)
