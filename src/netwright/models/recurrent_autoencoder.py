"""Recurrent autoencoder: a picture read row by row into a code, and written again (Srivastava et al. 2015)."""

from typing import Literal

import torch
from torch import Tensor, nn

from netwright.models._autoencoder import Autoencoding
from netwright.models._bodies import QUIET, ImageSize, LatentSize, both_sides, start_linear
from netwright.models._family import Classes, Count, Variant
from netwright.nn.observation import make_observation


class RecurrentAutoencoder(Autoencoding):
    """h_t = GRU(row_t, h_{t-1}), code = W·h_T + b; then g_0 = tanh(V·code + c), g_t = GRU(code, g_{t-1}), rows U·g_t.

    An encoder that reads a sequence and a decoder that writes it again are those of Srivastava, Mansimov &
    Salakhutdinov 2015 (arXiv:1502.04681); GRUs, and the code at each step of the decoder, those of Cho et al. 2014
    (arXiv:1406.1078). What was written is not read again, so that all steps train at once on what they are given when
    they are used.

    Args:
        hidden: units of each GRU.
        latent: numbers of a code.
        over: what is a step: the rows of a picture, from the top, or its columns, from the left.
        observation: what the decoder's numbers mean: "gaussian(sigma=1.0)" or "bernoulli".
        image_size: side of the pictures in pixels, or height and width.
        in_channels: channels of the pictures.
        classes: with 0 the network gives codes; else of no consequence.

    Raises:
        NetwrightError: an observation model that does not exist.
    """

    def __init__(
        self,
        *,
        hidden: Count = 128,
        latent: LatentSize = 32,
        over: Literal["rows", "columns"] = "rows",
        observation: str = "gaussian(sigma=1.0)",
        image_size: ImageSize = 28,
        in_channels: Count = 1,
        classes: Classes = 10,
    ) -> None:
        super().__init__()
        self.latent, self.image_size, self.classes = latent, both_sides(image_size), classes
        self.embeds, self.over, self.in_channels = classes == 0, over, in_channels
        self.observation = make_observation(observation)
        height, width = self.image_size
        self.steps, across = (height, width) if over == "rows" else (width, height)
        self.reader = nn.GRU(in_channels * across, hidden, batch_first=True)
        self.to_mean = nn.Linear(hidden, latent)
        self.code = nn.Identity()
        start_linear(self.to_mean)
        self.decoder = RowDecoder(latent, hidden, self.steps, in_channels * across)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The reader's last state, as maps of one pixel that stands for the whole picture."""
        _, last = self.reader(self._rows(x))
        return [last[0][:, :, None, None]]

    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The code: N C H W -> N D."""
        return self.code(self.to_mean(self.maps(x)[-1].flatten(1))), None

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        """N D -> N C H W."""
        rows = self.decoder(code).unflatten(2, (self.in_channels, -1))  # N steps C across
        return rows.permute(0, 2, 1, 3) if self.over == "rows" else rows.permute(0, 2, 3, 1)

    def _rows(self, x: Tensor) -> Tensor:
        """N C H W -> N steps C·across."""
        return (x.permute(0, 2, 1, 3) if self.over == "rows" else x.permute(0, 3, 1, 2)).flatten(2)


class RowDecoder(nn.Module):
    """g_0 = tanh(V·code + c), g_t = GRU(code, g_{t-1}), row_t = U·g_t + d.

    Args:
        latent: numbers of a code.
        hidden: units of the GRU.
        steps: rows.
        values: of each row.
    """

    def __init__(self, latent: int, hidden: int, steps: int, values: int) -> None:
        super().__init__()
        self.steps = steps
        self.start = nn.Linear(latent, hidden)
        self.writer = nn.GRU(latent, hidden, batch_first=True)
        self.head = nn.Linear(hidden, values)
        start_linear(self.start)
        start_linear(self.head, QUIET)

    def forward(self, code: Tensor) -> Tensor:
        """N D -> N steps values."""
        first = torch.tanh(self.start(code))
        states, _ = self.writer(code[:, None].expand(-1, self.steps, -1), first[None])
        return self.head(states)


# Counted: 3·(28·128 + 128² + 2·128) in the reader, 3·(32·128 + 128² + 2·128) in the writer, 128·32 + 32 to the code,
# 32·128 + 128 to the writer's first state, 128·28 + 28 to a row.
VARIANTS = {
    "recurrent_autoencoder": Variant(params=134_844, image_size=28, classes=10, in_channels=1, task="reconstruction")
}
