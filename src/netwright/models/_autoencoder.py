"""What every network offers that turns pictures into codes and codes into pictures."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models._family import Family
from netwright.nn.observation import Observation
from netwright.nn.output import Decoded


class Autoencoding(Family):
    """An encoder to codes of `latent` numbers, N D, and a decoder back to pictures of one size.

    A subclass sets the attributes below and writes `encoded` and `decoded`.

    Attributes:
        latent: numbers of a code.
        in_channels: channels of the pictures; 0 leaves it to the layers.
        image_size: height and width of the pictures.
        observation: what the decoder's numbers mean.
        beta: the weight of the divergence, where codes are random.
        random: whether codes are drawn, around a mean.
        conditional: whether it takes a picture's class besides; then `forward`, `encode` and `decode` want labels.
        classes: how many there are of them.
        embeds: whether the network gives mean codes, N D, as one made for no classes does.
        code: what is done to the mean code; nothing, unless a trick puts something there.
        decoder: makes pictures from codes; its last parameter is the last layer's bias.
    """

    head_name = "code"  # an autoencoder has no scores: what is behind its features is the code
    latent: int
    in_channels: int = 0
    image_size: tuple[int, int]
    observation: Observation
    beta: float = 1.0
    random: bool = False
    conditional: bool = False
    classes: int = 0
    embeds: bool = False
    code: nn.Module
    decoder: nn.Module

    @abstractmethod
    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The mean code and the logarithm of its variance, N D each, the latter None unless `random`."""

    @abstractmethod
    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        """What the observation model reads, for codes N D: N C H W."""

    def encode(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Codes of pictures, N C H W: mean and logarithm of the variance, N D each; the latter None unless `random`.

        Raises:
            NetwrightError: pictures of another size or other channels, or no labels where it takes them.
        """
        if tuple(x.shape[-2:]) != self.image_size:
            here, own = (f"{height}x{width}" for height, width in (x.shape[-2:], self.image_size))
            problem = f"this autoencoder takes pictures of {own} pixels, and these have {here}"
            raise NetwrightError(problem, f"prepare them at {own}, or train one with --image-size {x.shape[-1]}")
        self._require_channels(x.shape[1])
        self._require(label)
        return self.encoded(x, label)

    def decode(self, code: Tensor, label: Tensor | None = None) -> Tensor:
        """What the observation model reads, for codes: N D -> N C H W; `observation.pixels` makes pictures of it.

        Raises:
            NetwrightError: codes of another length, or no labels where it takes them.
        """
        if code.shape[-1] != self.latent:
            problem = f"this decoder takes codes of {self.latent} numbers, and these have {code.shape[-1]}"
            raise NetwrightError(problem, "give codes of a network with the same latent size")
        self._require(label)
        return self.decoded(code, label)

    def embedding(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The mean code of pictures: N C H W -> N D."""
        return self.encode(x, label)[0]

    def forward(self, x: Tensor, label: Tensor | None = None) -> Any:
        """Codes and reconstructions: in training a random code is drawn, in evaluation it is its mean.

        Made for no classes it gives the mean code, N D, as a classifier gives what its head would see.
        """
        mean, log_variance = self.encode(x, label)
        if self.embeds:
            return mean
        code = mean
        if log_variance is not None and self.training:
            code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        natural = self.decode(code, label)
        return Decoded(natural, code, mean, log_variance, self.observation, self.beta)

    @torch.no_grad()
    def begin_at(self, colour: Sequence[float]) -> None:
        """Let the first pictures be near one colour, C values in [0, 1]: the decoder's bias stands for it.

        What all pictures have in common is then not what the first hundred updates are about.

        Raises:
            NetwrightError: the network is for other channels.
        """
        self._require_channels(len(colour))
        *_, bias = self.decoder.parameters()
        natural = self.observation.natural(torch.tensor(colour)).to(bias)
        bias.copy_(natural.repeat_interleave(len(bias) // len(natural)))  # of channels, or of all values of each

    def with_label(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Features or codes, N F, with a 1 at the place of each picture's class behind them, where it takes classes."""
        if not self.conditional or label is None:
            return x
        places = torch.arange(self.classes, device=label.device)
        return torch.cat([x, (label[:, None] == places).to(x.dtype)], 1)

    def _require_channels(self, channels: int) -> None:
        if self.in_channels and channels != self.in_channels:
            problem = f"this autoencoder takes pictures of {self.in_channels} channels, and these have {channels}"
            raise NetwrightError(problem, "prepare them as those that it was trained with, or train one with these")

    def _require(self, label: Tensor | None) -> None:
        if self.conditional and label is None:
            problem = "this autoencoder is conditional: it wants each picture's class"
            raise NetwrightError(problem, "give the classes, as numbers, N")
        if self.conditional and label is not None and label.device.type == "cpu" and not torch.compiler.is_compiling():
            self._check(label)  # elsewhere a look at them would stop the device

    def _check(self, label: Tensor) -> None:
        wrong = label[(label < 0) | (label >= self.classes)]
        if len(wrong):
            problem = (
                f"this autoencoder has {self.classes} classes, from 0 to {self.classes - 1}, and no {int(wrong[0])}"
            )
            raise NetwrightError(problem, "give the classes that it was trained with, as numbers")
