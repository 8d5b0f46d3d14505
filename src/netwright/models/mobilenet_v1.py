"""MobileNet, depthwise separable convolutions for small devices (Howard et al. 2017, arXiv:1704.04861)."""

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Multiplier, Share, Variant, refuse_layers
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv, multiple_of_eight
from netwright.nn.head import make_head
from netwright.nn.init import keep_scale
from netwright.nn.norm import NormKind, make_norm


class SeparableConv(nn.Module):
    """A 3x3 convolution in two: one kernel for each channel, then a 1x1 convolution that mixes channels."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, norm: NormKind, activation: ActivationKind
    ) -> None:
        super().__init__()
        self.conv_dw = conv(in_channels, in_channels, 3, stride, norm=norm, groups=in_channels)
        self.bn1 = make_norm(norm, in_channels)
        self.conv_pw = conv(in_channels, channels, 1, norm=norm)
        self.bn2 = make_norm(norm, channels)
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N channels H/stride W/stride."""
        x = self.activation(self.bn1(self.conv_dw(x)))
        return self.activation(self.bn2(self.conv_pw(x)))


class MobileNetV1(Family):
    """A convolution and a stack of separable ones, submodules named as in timm.

    Args:
        width: multiplies the channels of every layer, rounded to multiples of eight.
        layers: separable convolutions at 1/2, 1/4, …; (1, 2, 2, 1, 2) is the paper's "shallow" network.
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each normalisation.
        dropout: share of the pooled features that is dropped before `classifier`.
    """

    head_name = "classifier"

    def __init__(
        self,
        *,
        width: Multiplier = 1.0,
        layers: tuple[int, ...] = (1, 2, 2, 6, 2),
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu6",  # the authors' and timm's; the paper says ReLU
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        refuse_layers(layers, (1, 2, 2, 6, 2))
        self.smallest = 2 ** len(layers)
        before = multiple_of_eight(32 * width)
        self.conv_stem = conv(in_channels, before, 3, 2, norm=norm)
        self.bn1 = make_norm(norm, before)
        self.activation = make_activation(activation)
        self.blocks = nn.Sequential()
        for index, count in enumerate(layers):
            channels, stage = multiple_of_eight(64 * 2**index * width), nn.Sequential()
            for position in range(count):
                stride = 2 if index > 0 and position == 0 else 1
                stage.append(SeparableConv(before, channels, stride, norm=norm, activation=activation))
                before = channels
            self.blocks.append(stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = make_head(before, classes)
        self.apply(initialise)
        if norm == "none":
            self.apply(keep_scale)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last separable convolution at 1/2, 1/4, …."""
        x = self.activation(self.bn1(self.conv_stem(x)))
        maps: list[Tensor] = []
        for stage in self.blocks:
            x = stage(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1]).flatten(1)
        return self.classifier(self.dropout(x))


def initialise(layer: nn.Module) -> None:
    """As timm: convolutions as He et al. 2015 by the fan-out of a group, the head uniform in ±1/sqrt(classes)."""
    match layer:
        case nn.Conv2d():
            fan_out = layer.out_channels * layer.weight[0, 0].numel() // layer.groups
            nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
        case nn.Linear():
            bound = layer.out_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound)
        case _:
            return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


# The paper rounds them to 4.2, 2.6, 1.3 and 0.5 M.
VARIANTS = {
    "mobilenet_v1": Variant(params=4_231_976, reference="timm/mobilenetv1_100"),
    "mobilenet_v1_075": Variant(params=2_585_560, options={"width": 0.75}),
    "mobilenet_v1_050": Variant(params=1_331_592, options={"width": 0.5}),
    "mobilenet_v1_025": Variant(params=470_072, options={"width": 0.25}),
}
