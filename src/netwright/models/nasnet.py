"""NASNet-A, cells found by search on small images, stacked for large ones (Zoph et al. 2017, arXiv:1707.07012)."""

from collections import OrderedDict
from dataclasses import dataclass
from math import sqrt
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.drop_path import DropPath
from netwright.nn.head import make_head
from netwright.nn.init import keep_scale
from netwright.nn.norm import NormKind, make_norm
from netwright.nn.output import Outputs

Operation = Literal["same", "max3", "avg3", "sep3", "sep5", "sep7"]
State = Literal["now", "before"] | int  # the output of the last cell, that of the one before it, or a row's sum
Term = tuple[Operation, State]
Fit = Literal["squeezed", "halved", "raw"]


@dataclass(frozen=True)
class Plan:
    """A cell of figure 4: each row is a sum of two terms, and some states together are its output.

    In a cell of stride 2, that is the stride of all operations on "now" and "before".
    """

    stride: int
    rows: tuple[tuple[Term, Term], ...]
    output: tuple[State, ...]


NORMAL = Plan(
    stride=1,
    rows=(
        (("sep5", "now"), ("sep3", "before")),
        (("sep5", "before"), ("sep3", "before")),
        (("avg3", "now"), ("same", "before")),
        (("avg3", "before"), ("avg3", "before")),
        (("sep3", "now"), ("same", "now")),
    ),
    output=("before", 0, 1, 2, 3, 4),
)
REDUCTION = Plan(
    stride=2,
    rows=(
        (("sep5", "now"), ("sep7", "before")),
        (("max3", "now"), ("sep7", "before")),
        (("avg3", "now"), ("sep5", "before")),
        (("same", 1), ("avg3", 0)),
        (("sep3", 0), ("max3", "now")),
    ),
    output=(1, 2, 3, 4),
)


@dataclass(frozen=True)
class Style:
    """What all cells of a network have in common, and the layers made of it."""

    norm: NormKind
    activation: ActivationKind

    def make_norm(self, channels: int) -> nn.Module:
        """With the constant of the authors' code, which timm keeps."""
        return make_norm(self.norm, channels, eps=1e-3)

    def squeeze(self, in_channels: int, channels: int) -> nn.Sequential:
        """N C H W -> N channels H W."""
        convolution = conv(in_channels, channels, 1, norm=self.norm)
        return named(act=make_activation(self.activation), conv=convolution, bn=self.make_norm(channels))

    def separable(self, in_channels: int, channels: int, kernel_size: int, stride: int) -> nn.Sequential:
        """A convolution of each channel by itself, then one of 1x1: N C H W -> N channels H/stride W/stride."""
        around = 0 if stride == 2 else kernel_size // 2
        return named(
            pad=PadToHalve(kernel_size) if stride == 2 else nn.Identity(),
            depthwise_conv2d=nn.Conv2d(
                in_channels, in_channels, kernel_size, stride, around, groups=in_channels, bias=False
            ),
            pointwise_conv2d=conv(in_channels, channels, 1, norm=self.norm),
        )

    def separable_twice(self, in_channels: int, channels: int, kernel_size: int, stride: int) -> nn.Sequential:
        """Twice activation, separable convolution and norm: N C H W -> N channels H/stride W/stride."""
        return named(
            act_1=make_activation(self.activation),
            separable_1=self.separable(in_channels, channels, kernel_size, stride),
            bn_sep_1=self.make_norm(channels),
            act_2=make_activation(self.activation),
            separable_2=self.separable(channels, channels, kernel_size, 1),
            bn_sep_2=self.make_norm(channels),
        )

    def operation(self, name: Operation, in_channels: int, channels: int, stride: int) -> nn.Module:
        """An operation of a cell; pooling and "same" keep the channels."""
        match name, stride:
            case "same", 1:
                return nn.Identity()
            case "max3", 2:
                return nn.Sequential(PadToHalve(3, -torch.inf), nn.MaxPool2d(3, 2))
            case "avg3", 1:
                return nn.AvgPool2d(3, 1, 1, count_include_pad=False)
            case "avg3", 2:  # zeros beyond the edge count, as in timm; in the authors' code they do not
                return nn.Sequential(PadToHalve(3), nn.AvgPool2d(3, 2))
            case "sep3" | "sep5" | "sep7", _:
                return self.separable_twice(in_channels, channels, int(name[-1]), stride)
            case _:
                raise AssertionError(f"no cell has {name} of stride {stride}")


class PadToHalve(nn.Module):
    """Edges with which a kernel of stride 2 halves a map's sides, rounded up; an uneven one goes below and right."""

    def __init__(self, kernel_size: int, value: float = 0.0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H' W'."""
        high, wide = (self.kernel_size - 2 + side % 2 for side in x.shape[-2:])
        return F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2), value=self.value)


class Cell(nn.Module):
    """A plan applied to the outputs of the last two cells, which are first brought to equal channels and sizes.

    Args:
        plan: what it computes.
        widths: channels of the last output, and of the one before.
        channels: of each state.
        fit: what the output before needs: a 1x1 convolution, one that halves its sides too, or nothing.
        drop_path: share of operations left out, each by itself, in training.
        style: of the network.
    """

    def __init__(
        self,
        plan: Plan,
        widths: tuple[int, int],
        channels: int,
        fit: Fit,
        drop_path: float,
        style: Style,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.fit = fit
        self.conv_1x1 = style.squeeze(widths[0], channels)
        if fit == "squeezed":
            self.conv_prev_1x1 = style.squeeze(widths[1], channels)
        if fit == "halved":
            self.act = make_activation(style.activation)
            self.path_1 = named(conv=conv(widths[1], channels // 2, 1, 2, norm=style.norm))
            shift = nn.ZeroPad2d((-1, 1, -1, 1))  # so that the other path sees the pixels between
            self.path_2 = named(pad=shift, conv=conv(widths[1], channels // 2, 1, 2, norm=style.norm))
            self.final_path_bn = style.make_norm(channels)
        for number, row in enumerate(plan.rows):
            for side, (operation, state) in zip(("left", "right"), row, strict=True):
                in_channels = widths[1] if (fit, state) == ("raw", "before") else channels
                stride = plan.stride if state in ("now", "before") else 1
                layer = style.operation(operation, in_channels, channels, stride)
                self.add_module(f"comb_iter_{number}_{side}", layer)
        self.drop_path = DropPath(drop_path)

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        """N C H W and N C' H' W' -> N states·channels H/stride W/stride."""
        states: dict[State, Tensor] = {"now": self.conv_1x1(now), "before": self.fitted(before)}
        for number, (left, right) in enumerate(self.plan.rows):
            first = self.term(f"comb_iter_{number}_left", left, states)
            states[number] = first + self.term(f"comb_iter_{number}_right", right, states)
        return torch.cat([states[state] for state in self.plan.output], 1)

    def fitted(self, before: Tensor) -> Tensor:
        """The output before, with the channels and the size of the last."""
        if self.fit == "halved":
            x = self.act(before)
            return self.final_path_bn(torch.cat([self.path_1(x), self.path_2(x)], 1))
        return self.conv_prev_1x1(before) if self.fit == "squeezed" else before

    def term(self, layer: str, term: Term, states: dict[State, Tensor]) -> Tensor:
        """One of a row's two terms."""
        operation, state = term
        y = self.get_submodule(layer)(states[state])
        return y if operation == "same" else self.drop_path(y)


class AuxiliaryHead(nn.Module):
    """Class scores from two thirds of the way up, by a 1x1 and a 5x5 convolution."""

    def __init__(self, in_channels: int, classes: int, style: Style) -> None:
        super().__init__()
        self.activation = make_activation(style.activation)
        self.conv0 = conv(in_channels, 128, 1, norm=style.norm)
        self.bn0 = style.make_norm(128)
        # The convolution leaves one pixel, whose instance norm would be its own bias whatever the image.
        last_norm: NormKind = "none" if style.norm == "instance" else style.norm
        self.conv1 = conv(128, 768, 5, norm=last_norm, padding=0)
        self.bn1 = make_norm(last_norm, 768, eps=1e-3)
        self.fc = make_head(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        # The authors' windows of 5x5 and stride 3 leave 4x4 or 6x6, and their convolution is as large as that.
        x = F.adaptive_avg_pool2d(self.activation(x), 5)
        x = self.activation(self.bn0(self.conv0(x)))
        x = self.activation(self.bn1(self.conv1(x)))  # N 128 5 5 -> N 768 1 1
        return self.fc(x.flatten(1))


class Place(NamedTuple):
    """A cell of the network: `keeps_before` where the next cell sees the same output before as this one."""

    name: str
    plan: Plan
    channels: int
    keeps_before: bool = False


class NASNet(Family):
    """NASNet-A (repeats @ features): two reduction cells, then normal cells, reduction, normal, reduction, normal.

    Args:
        repeats: normal cells at each of the three resolutions, the paper's N.
        features: channels that the head pools, from which those of all cells follow; a multiple of 96.
        stem: channels of the first convolution.
        over_reduction: whether the cell after a reduction sees, besides it, what the reduction saw as the output
            before, as in the large network; otherwise what it saw as the last output, as in the mobile one.
        classes: number of class scores; with none there is no auxiliary head either.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, all but depthwise convolutions get a bias.
        activation: before each convolution.
        dropout: share of the pooled features that is dropped before `last_linear`.
        drop_path: share of operations left out of the last cell in training, in proportion less in those before. The
            authors raise it from 0 to 0.3 while they train the large network.
        aux: whether there is the authors' auxiliary head, which speaks in training alone; timm's weights have none.
    """

    head_name = "last_linear"
    smallest = 32

    def __init__(
        self,
        *,
        repeats: Count = 6,
        features: Count = 4032,
        stem: Count = 96,
        over_reduction: bool = True,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        dropout: Share = 0.5,
        drop_path: Share = 0.0,
        aux: bool = False,
    ) -> None:
        super().__init__()
        refuse_features(features)
        style = Style(norm, activation)
        self.conv0 = named(conv=conv(in_channels, stem, 3, 2, norm=norm, padding=0), bn=style.make_norm(stem))
        self.places = layout(repeats, features // 24, over_reduction)
        now, before, fit = stem, stem, "raw"
        for number, place in enumerate(self.places, start=1):
            share = drop_path * number / len(self.places)
            self.add_module(place.name, Cell(place.plan, (now, before), place.channels, fit, share, style))
            before = before if place.keeps_before else now
            now = place.channels * len(place.plan.output)
            fit = "squeezed" if place.plan.stride == 1 else "halved"
        self.activation = make_activation(activation)
        self.aux_logits = AuxiliaryHead(features // 2, classes, style) if aux and classes > 0 else None
        self.auxiliary_names = ("aux_logits",) if self.aux_logits is not None else ()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = make_head(features, classes)
        self.apply(keep_scale if norm == "none" else initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """165x165, 83x83, 42x42, 21x21 and 11x11 for a 331x331 image; all but the last are not activated yet."""
        x = self.conv0(x)
        before, maps = x, list[Tensor]()
        for place in self.places:
            if place.plan.stride == 2:
                maps.append(x)
            y = self.get_submodule(place.name)(x, before)
            before = before if place.keeps_before else x
            x = y
        return [*maps, self.activation(x)]

    def forward(self, x: Tensor) -> Tensor | Outputs:
        """Class scores: N C H W -> N K; in training those of `aux_logits` too, where there is one."""
        maps = self.stages(x)
        scores = self.last_linear(self.dropout(self.avgpool(maps[-1]).flatten(1)))
        if not self.training or self.aux_logits is None:
            return scores
        return Outputs(scores, (self.aux_logits(maps[-2]),))


def layout(repeats: int, channels: int, over_reduction: bool) -> list[Place]:
    """The cells from the image on; `channels` are those of the first normal cell's states."""
    places = [Place("cell_stem_0", REDUCTION, channels // 4), Place("cell_stem_1", REDUCTION, channels // 2)]
    for level in range(3):
        if level > 0:
            places.append(Place(f"reduction_cell_{level - 1}", REDUCTION, channels * 2**level, over_reduction))
        numbers = range(level * repeats, (level + 1) * repeats)
        places += [Place(f"cell_{number}", NORMAL, channels * 2**level) for number in numbers]
    return places


def named(**layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, by name."""
    return nn.Sequential(OrderedDict(layers))


def initialise(layer: nn.Module) -> None:
    """Convolutions normal with variance 2/fan-out, as in the authors' code; timm has torch's defaults.

    A convolution of each channel by itself has a fan-out of its kernel's size, unlike in torch's initialisers.
    """
    if isinstance(layer, nn.Conv2d):
        fan_out = layer.weight[:, 0].numel() // layer.groups
        nn.init.normal_(layer.weight, std=sqrt(2 / fan_out))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def refuse_features(features: int) -> None:
    """Refuse features of which the narrowest cell's share is no whole number.

    Raises:
        NetwrightError: not a multiple of 96.
    """
    if features % 96:
        nearest = max(1, round(features / 96)) * 96
        raise NetwrightError(f"features cannot be {features}", f"give a multiple of 96, such as {nearest}")


VARIANTS = {
    "nasnetalarge": Variant(params=88_753_150, image_size=331, reference="timm/nasnetalarge"),
    # The paper's 5.3 million; by its cells, proven on the large network, and by the number of the public PyTorch port.
    "nasnetamobile": Variant(
        params=5_289_978, options={"repeats": 4, "features": 1056, "stem": 32, "over_reduction": False}
    ),
}
