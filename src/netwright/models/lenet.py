"""LeNet-5, the network that read cheques (LeCun, Bottou, Bengio & Haffner 1998, doi:10.1109/5.726791)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.head import make_head
from netwright.nn.norm import make_norm

# Table I of the paper: the maps of S2 that each of the 16 maps of C3 sees.
C3_SEES = (
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)


class Squash(nn.Module):
    """1.7159 tanh(2x/3): passes through (1, 1) and (-1, -1), where its curvature is greatest."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, unchanged."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsample(nn.Module):
    """The sum of each 2x2 square, times one trained coefficient a map, plus one trained bias, squashed."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.squash = Squash()

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H/2 W/2."""
        return self.squash(self.coefficient * F.avg_pool2d(x, 2, divisor_override=1) + self.bias)


class PartialConv2d(nn.Module):
    """A convolution whose output maps each see only some input maps; it holds a kernel for each connection alone."""

    sources: Tensor
    targets: Tensor
    maps_seen: Tensor

    def __init__(self, in_channels: int, sees: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        super().__init__()
        pairs = [(target, source) for target, maps in enumerate(sees) for source in maps]
        self.shape = (len(sees), in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.zeros(len(pairs), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(len(sees)))
        self.register_buffer("targets", torch.tensor([target for target, _ in pairs]), persistent=False)
        self.register_buffer("sources", torch.tensor([source for _, source in pairs]), persistent=False)
        self.register_buffer("maps_seen", torch.tensor([len(maps) for maps in sees]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N maps H-k+1 W-k+1."""
        absent = self.weight.new_zeros(self.shape)
        return F.conv2d(x, absent.index_put((self.targets, self.sources), self.weight), self.bias)

    def fan_in(self) -> Tensor:
        """How many weights feed a unit of each output map."""
        return self.maps_seen * self.weight[0].numel()


class LeNet(Family):
    """LeNet-5; its Euclidean distances to fixed bitmaps (RBF units) are replaced by a linear layer.

    Images of another size than 32x32 are averaged to the 5x5 map that C5 wants. The two maps of `stages` are a little
    under 1/2 and 1/4 (14 and 5 pixels of 32), because the convolutions have no padding.

    Args:
        classes: number of class scores.
        in_channels: channels of the images.
        modern: ReLU, max-pooling, batch norm, all connections in C3 and torch's initial weights instead of the paper's.
        dropout: share of the 84 features that is dropped before the output.
    """

    head_name = "output"
    smallest = 16

    def __init__(
        self, *, classes: Classes = 10, in_channels: Count = 1, modern: bool = False, dropout: Share = 0.0
    ) -> None:
        super().__init__()
        norm = "batch" if modern else "none"
        self.activation = nn.ReLU() if modern else Squash()
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.norm1 = make_norm(norm, 6)
        self.s2 = nn.MaxPool2d(2) if modern else Subsample(6)
        self.c3 = nn.Conv2d(6, 16, 5) if modern else PartialConv2d(6, C3_SEES, 5)
        self.norm3 = make_norm(norm, 16)
        self.s4 = nn.MaxPool2d(2) if modern else Subsample(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.dropout = nn.Dropout(dropout)
        self.output = make_head(84, classes)
        if not modern:
            self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """S2 and S4: 6 maps of 14x14 and 16 maps of 5x5 for a 32x32 image."""
        s2 = self.s2(self.activation(self.norm1(self.c1(x))))
        s4 = self.s4(self.activation(self.norm3(self.c3(s2))))
        return [s2, s4]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = F.adaptive_avg_pool2d(self.stages(x)[-1], 5)
        x = self.activation(self.c5(x)).flatten(1)  # N 16 5 5 -> N 120
        x = self.activation(self.f6(x))
        return self.output(self.dropout(x))


@torch.no_grad()
def initialise(layer: nn.Module) -> None:
    """Weights and biases uniform in ±2.4/fan-in of the unit they feed (appendix A)."""
    match layer:
        case PartialConv2d():
            fan_in = layer.fan_in()
            layer.weight.uniform_(-2.4, 2.4).div_(fan_in[layer.targets].view(-1, 1, 1))
            layer.bias.uniform_(-2.4, 2.4).div_(fan_in)
        case nn.Conv2d() | nn.Linear():
            bound = 2.4 / layer.weight[0].numel()
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound)
        case Subsample():
            for parameter in layer.parameters():
                parameter.uniform_(-2.4 / 4, 2.4 / 4)
        case _:
            pass


# 60,000 for C1 to F6, as the paper counts, and 850 for the linear output in the place of the RBF units.
VARIANTS = {"lenet5": Variant(params=60_850, image_size=32, classes=10, in_channels=1)}
