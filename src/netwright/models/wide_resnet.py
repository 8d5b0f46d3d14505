"""Wide residual networks for 32x32 images (Zagoruyko & Komodakis 2016, arXiv:1605.07146)."""

from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import resnet
from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.preact_resnet import PreActBasic, make_shortcut
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv
from netwright.nn.head import make_head
from netwright.nn.norm import NormKind, make_norm


class WideResNet(Family):
    """A pre-activation network of few blocks and many channels, with dropout between the convolutions of each block.

    The last map is normalised and activated, as the head sees it; those before it are the bare sums.

    Args:
        depth: 6n+4 convolutions: the first, two in each of n blocks at three resolutions, and those of shortcuts.
        widen: how many times as many channels as 16, 32 and 64.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation before each activation; with none, convolutions get a bias.
        activation: before each convolution and before the head.
        skip: whether blocks add their input.
        dropout: share of what passes between a block's convolutions that is dropped; the paper tries 0.3 on CIFAR.
    """

    head_name = "fc"
    smallest = 4

    def __init__(
        self,
        *,
        depth: Count = 28,
        widen: Count = 10,
        classes: Classes = 10,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        skip: bool = True,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        blocks = blocks_of(depth)
        style = resnet.Style(norm, activation)
        self.conv1 = conv(in_channels, 16, 3, norm=norm)

        def layer(before: int, channels: int, first_stride: int) -> nn.Sequential:
            made = nn.Sequential()
            for position in range(blocks):
                start, stride = (before, first_stride) if position == 0 else (channels, 1)
                shortcut = make_shortcut(start, channels, stride, norm, opens=False) if skip else None
                made.append(PreActBasic(start, channels, stride, shortcut, style, dropout=dropout))
            return made

        self.layer1 = layer(16, 16 * widen, 1)
        self.layer2 = layer(16 * widen, 32 * widen, 2)
        self.layer3 = layer(32 * widen, 64 * widen, 2)
        self.norm = make_norm(norm, 64 * widen)
        self.activation = make_activation(activation)
        self.fc = make_head(64 * widen, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The three layers, at 1/1, 1/2 and 1/4."""
        full = self.layer1(self.conv1(x))
        half = self.layer2(full)
        return [full, half, self.activation(self.norm(self.layer3(half)))]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.fc(self.stages(x)[-1].mean((2, 3)))


def blocks_of(depth: int) -> int:
    """Blocks at each resolution.

    Raises:
        NetwrightError: no number of blocks makes this depth.
    """
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        nearest = 6 * max(1, round((depth - 4) / 6)) + 4
        raise NetwrightError(f"depth cannot be {depth}", f"it is 6n+4, such as 16, 28 or 40; nearest: depth={nearest}")
    return blocks


def initialise(layer: nn.Module) -> None:
    """Convolutions as in a `resnet`, as the authors' code has them; a head without bias to begin with."""
    resnet.initialise(layer)
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.bias)


# All trainable parameters, norms and biases included, at 10 classes; the paper's tables round them (in M, in this
# order): 0.6, 2.2, 8.9, 35.7, 36.5, 52.5, 17.2, 2.7, 11.0.
VARIANTS = {
    "wrn40_1": Variant(params=563_930, options={"depth": 40, "widen": 1}, image_size=32, classes=10),
    "wrn40_2": Variant(params=2_243_546, options={"depth": 40, "widen": 2}, image_size=32, classes=10),
    "wrn40_4": Variant(params=8_949_210, options={"depth": 40, "widen": 4}, image_size=32, classes=10),
    "wrn40_8": Variant(params=35_748_314, options={"depth": 40, "widen": 8}, image_size=32, classes=10),
    "wrn28_10": Variant(params=36_479_194, options={"depth": 28, "widen": 10}, image_size=32, classes=10),
    "wrn28_12": Variant(params=52_517_850, options={"depth": 28, "widen": 12}, image_size=32, classes=10),
    "wrn22_8": Variant(params=17_158_106, options={"depth": 22, "widen": 8}, image_size=32, classes=10),
    "wrn16_4": Variant(params=2_748_890, options={"depth": 16, "widen": 4}, image_size=32, classes=10),
    "wrn16_8": Variant(params=10_961_370, options={"depth": 16, "widen": 8}, image_size=32, classes=10),
}
