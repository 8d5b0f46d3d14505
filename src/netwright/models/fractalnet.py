"""Fractal networks: many depths at once, without residuals (Larsson, Maire & Shakhnarovich 2016, arXiv:1605.07648)."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm

JoinKind = Literal["mean", "sum"]


@dataclass(frozen=True)
class Style:
    """What all units of a block have in common."""

    norm: NormKind
    activation: ActivationKind
    dropout: float


class Unit(nn.Module):
    """The paper's conv: 3x3 convolution, norm, activation; dropout follows the convolution, as its authors have it."""

    def __init__(self, in_channels: int, channels: int, style: Style) -> None:
        super().__init__()
        self.conv = conv(in_channels, channels, 3, norm=style.norm)
        self.dropout = nn.Dropout(style.dropout)
        self.norm = make_norm(style.norm, channels)
        self.activation = make_activation(style.activation)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H W."""
        return self.activation(self.norm(self.dropout(self.conv(x))))


class Join(nn.Module):
    """The element-wise mean or sum of the columns that end here; in training, of those that drop-path leaves."""

    def __init__(self, kind: JoinKind, drop_path: float) -> None:
        super().__init__()
        self.kind = kind
        self.drop_path = drop_path

    def forward(self, columns: list[Tensor], only: Tensor | None) -> Tensor:
        """Columns from the shallowest to the deepest, each N C H W -> N C H W.

        Args:
            columns: what to join.
            only: the column that global drop-path leaves, or -1 for a local draw; see `paths_kept`. None to drop none.
        """
        if only is None or len(columns) == 1:
            joined, count = sum(columns[1:], start=columns[0]), len(columns)
        else:
            # A factor of 0 instead of a path not taken: every parameter gets a gradient, if only of zeros.
            kept = paths_kept(len(columns), only, self.drop_path).to(columns[0].dtype)
            joined = sum((keep * x for keep, x in zip(kept[1:], columns[1:], strict=True)), start=kept[0] * columns[0])
            count = kept.sum()
        return joined / count if self.kind == "mean" else joined


class Fractal(nn.Module):
    """f_1(z) = conv(z) and f_{C+1}(z) = (f_C ∘ f_C)(z) ⊕ conv(z), where ⊕ joins all the columns that meet at once.

    To that end it gives the columns of its last f_1, …, f_C unjoined: a join of joins would be a mean of means.

    Args:
        columns: C.
        in_channels: channels of z.
        channels: of all units.
        column: the only column to make, 1 for the shallowest; None for all.
        join: where a copy of f_C follows another.
        style: of all units.
    """

    def __init__(
        self, columns: int, in_channels: int, channels: int, column: int | None, join: Join, style: Style
    ) -> None:
        super().__init__()
        self.join = join
        self.conv = Unit(in_channels, channels, style) if column in (None, 1) else None
        self.first = self.second = None
        if columns > 1 and column != 1:
            inner = None if column is None else column - 1
            self.first = Fractal(columns - 1, in_channels, channels, inner, join, style)
            self.second = Fractal(columns - 1, channels, channels, inner, join, style)

    def forward(self, z: Tensor, only: Tensor | None) -> list[Tensor]:
        """N C H W -> N channels H W from each column, from the shallowest to the deepest."""
        shallowest = [] if self.conv is None else [self.conv(z)]
        if self.first is None or self.second is None:
            return shallowest
        return [*shallowest, *self.second(self.join(self.first(z, only), only), only)]


class Block(nn.Module):
    """A fractal whose columns are max-pooled and then joined, in the order in which the paper trains them."""

    def __init__(self, fractal: Fractal, join: Join) -> None:
        super().__init__()
        self.fractal = fractal
        self.pool = nn.MaxPool2d(2)
        self.join = join

    def forward(self, x: Tensor, only: Tensor | None) -> Tensor:
        """N C H W -> N channels H/2 W/2."""
        return self.join([self.pool(y) for y in self.fractal(x, only)], only)


class FractalNet(Family):
    """A chain of fractal blocks, each at half the resolution of the one before.

    Args:
        channels: of each block's convolutions.
        columns: C; the deepest path of a block is 2^(C-1) convolutions.
        column: the only column to make, 1 for the shallowest: a plain network, into which the weights of a whole
            fractal fit (`load_weights(…, strict=False)`); None for the fractal.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        join: what becomes of columns that meet.
        drop_path: how likely, in training, each input of a join is left out.
        global_path: share of the batches in training that take one column through the whole network instead.
        dropout: share dropped after each convolution of the last block; from none in the first, it rises evenly.
    """

    head_name = "fc"

    def __init__(
        self,
        *,
        channels: tuple[Count, ...] = (64, 128, 256, 512, 512),
        columns: Count = 3,
        column: Annotated[int, Between(1)] | None = None,
        classes: Classes = 10,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        join: JoinKind = "mean",
        drop_path: Share = 0.15,
        global_path: Share = 0.5,
        dropout: Share = 0.4,
    ) -> None:
        super().__init__()
        refuse_nonsense(channels, columns, column)
        self.columns = columns
        self.global_path = global_path
        self.smallest = 2 ** len(channels)
        self.blocks = nn.ModuleList()
        before = in_channels
        for index, width in enumerate(channels):
            style = Style(norm, activation, dropout * (index / (len(channels) - 1) if index else len(channels) == 1))
            meeting = Join(join, drop_path)
            self.blocks.append(Block(Fractal(columns, before, width, column, meeting, style), meeting))
            before = width
        self.fc = make_head(before, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Each block, pooled and joined, at 1/2, 1/4, …."""
        # The paper samples one subnetwork for a whole mini-batch, half of them local and half global.
        only = global_column(self.columns, self.global_path, x.device) if self.training else None
        maps: list[Tensor] = []
        for block in self.blocks:
            x = block(x, only)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.fc(self.stages(x)[-1].mean((2, 3)))


def global_column(columns: int, share: float, device: torch.device) -> Tensor:
    """With probability `share` one of the columns, counted from the deepest, which is 0; else -1."""
    column = torch.randint(columns, (), device=device)
    return torch.where(torch.rand((), device=device) < share, column, -1)


def paths_kept(inputs: int, only: Tensor, drop_path: float) -> Tensor:
    """Which inputs of a join stay, from the shallowest column to the deepest; at least one does.

    Where `only` is -1, each is left out with probability `drop_path`, and if all are, one comes back. Else `only` names
    a column, counted from the deepest, which is 0, and that one stays. A join that it does not pass through keeps all
    its inputs: nothing of them reaches the scores, but the running statistics of the norms behind it stay sound.
    """
    column = torch.arange(inputs - 1, -1, -1, device=only.device)
    alone = (column == only) | (only >= inputs)
    survivor = column == torch.randint(inputs, (), device=only.device)
    drawn = torch.rand(inputs, device=only.device) >= drop_path
    return torch.where(only < 0, torch.where(drawn.any(), drawn, survivor), alone)


def initialise(layer: nn.Module) -> None:
    """Weights as Glorot & Bengio 2010, which the paper adopts; no bias to begin with."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def refuse_nonsense(channels: tuple[int, ...], columns: int, column: int | None) -> None:
    """Refuse option values that no network can be built from.

    Raises:
        NetwrightError: no blocks, or the only column is none of them.
    """
    if not channels:
        raise NetwrightError("channels cannot be ()", "give one number a block: channels=(64, 128, 256, 512, 512)")
    if column is not None and column > columns:
        raise NetwrightError(f"there is no column {column} among {columns}", f"give a column between 1 and {columns}")


# Table 3 of the paper, for CIFAR-100, rounds the narrow ones to 2.1, 4.8, 10.2 and 21.1 M. The wide one is quoted with
# 38.6 M (in DenseNet's table 2, for one), but its channels and the authors' own generator come to 33.7 M.
NARROW = {"channels": (16, 32, 64, 128, 128)}

VARIANTS = {
    "fractalnet20": Variant(params=33_724_618, image_size=32, classes=10),
    "fractalnet20_narrow": Variant(params=2_125_204, options=NARROW, image_size=32, classes=100),
    "fractalnet40_narrow": Variant(params=4_778_820, options={**NARROW, "columns": 4}, image_size=32, classes=100),
    "fractalnet80_narrow": Variant(params=10_184_692, options={**NARROW, "columns": 5}, image_size=32, classes=100),
    "fractalnet160_narrow": Variant(params=21_095_076, options={**NARROW, "columns": 6}, image_size=32, classes=100),
}
