"""ZFNet, AlexNet with a finer first look at the image (Zeiler & Fergus 2013, arXiv:1311.2901)."""

from functools import partial

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.models.alexnet import make_response_norm
from netwright.models.vgg import dense_layers
from netwright.nn.activation import ActivationKind
from netwright.nn.conv import conv_layers
from netwright.nn.head import make_head
from netwright.nn.maps import maps_of
from netwright.nn.norm import NormKind

PIXEL_SPREAD = 0.226 * 255  # the standard deviation of the paper's images, which only had their mean subtracted


class ZFNet(Family):
    """The network of the paper's figure 3: five convolutions and three dense layers.

    The paper names no padding: it follows from the figure's sizes. Nor does it give constants for its contrast
    normalisation across maps: AlexNet's are taken.

    Args:
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each convolution and each hidden dense layer.
        response_norm: whether the first two pooled maps are divided by the strength of neighbouring channels.
        hidden: units of each of the two dense layers before the scores; the paper has 4096.
        dropout: share of each hidden dense layer that is dropped.
    """

    head_name = "classifier.6"
    smallest = 47

    def __init__(
        self,
        *,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "none",
        activation: ActivationKind = "relu",
        response_norm: bool = True,
        hidden: tuple[Count, Count] = (4096, 4096),
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        convolution = partial(conv_layers, norm=norm, activation=activation)
        normalised = [make_response_norm() for _ in range(2)] if response_norm else []
        self.features = nn.Sequential(
            *convolution(in_channels, 96, 7, 2, padding=1),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            *normalised[:1],
            *convolution(96, 256, 5, 2, padding=0),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            *normalised[1:],
            *convolution(256, 384, 3),
            *convolution(384, 384, 3),
            *convolution(384, 256, 3),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            *dense_layers(256 * 6 * 6, hidden=hidden, activation=activation, dropout=dropout),
            make_head(hidden[1], classes),
        )
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """A little under 1/2, 1/4, 1/8, 1/16 and 1/32 (110, 55, 26, 13 and 6 pixels of 224), the last one pooled."""
        return maps_of(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1])  # N 256 h w -> N 256 6 6
        return self.classifier(x.flatten(1))


def initialise(layer: nn.Module) -> None:
    """Weights of deviation 0.01 and no bias, as the paper has it; the first also make up for images of deviation 1."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        first = isinstance(layer, nn.Conv2d) and layer.kernel_size == (7, 7)
        nn.init.normal_(layer.weight, std=0.01 * PIXEL_SPREAD if first else 0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


# Counted from the layers of figure 3: 3,726,464 in convolutions, 58,631,144 in dense layers.
VARIANTS = {"zfnet": Variant(params=62_357_608)}
