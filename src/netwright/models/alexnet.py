"""AlexNet (Krizhevsky, Sutskever & Hinton 2012), in the one-column form of Krizhevsky 2014 (arXiv:1404.5997)."""

from functools import partial

from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.conv import conv_layers
from netwright.nn.head import make_head
from netwright.nn.maps import maps_of
from netwright.nn.norm import NormKind


class AlexNet(Family):
    """Five convolutions and three dense layers, submodules named as in torchvision.

    The fourth convolution has 256 maps, as in the author's code of 2014 and in torchvision; that paper says 384.

    Args:
        classes: number of class scores.
        in_channels: channels of the images.
        norm: normalisation after each convolution; with none, convolutions get a bias.
        activation: after each convolution and each dense layer but the last.
        response_norm: whether the first two convolutions' responses are divided by those of neighbouring channels, as
            in the paper of 2012; without, as in torchvision.
        hidden: units of each of the two dense layers before the scores; the paper has 4096.
        dropout: share that is dropped of what each of the two hidden dense layers is given.
    """

    head_name = "classifier.6"
    smallest = 63

    def __init__(
        self,
        *,
        classes: Classes = 1000,
        in_channels: Count = 3,
        norm: NormKind = "none",
        activation: ActivationKind = "relu",
        response_norm: bool = False,
        hidden: tuple[Count, Count] = (4096, 4096),
        dropout: Share = 0.5,
    ) -> None:
        super().__init__()
        convolution = partial(conv_layers, norm=norm, activation=activation)
        normalised = [make_response_norm() for _ in range(2)] if response_norm else []
        self.features = nn.Sequential(
            *convolution(in_channels, 64, 11, 4, padding=2),
            *normalised[:1],
            nn.MaxPool2d(3, 2),
            *convolution(64, 192, 5),
            *normalised[1:],
            nn.MaxPool2d(3, 2),
            *convolution(192, 384, 3),
            *convolution(384, 256, 3),
            *convolution(256, 256, 3),
            nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, hidden[0]),
            make_activation(activation),
            nn.Dropout(dropout),
            nn.Linear(*hidden),
            make_activation(activation),
            make_head(hidden[1], classes),
        )  # weights start as torch makes them, as in torchvision: the papers' deviation of 0.01 suits pixels up to 255

    def maps(self, x: Tensor) -> list[Tensor]:
        """A little under 1/4, 1/8, 1/16 and 1/32 (55, 27, 13 and 6 pixels of 224), the last one pooled."""
        return maps_of(self.features, x)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        x = self.avgpool(self.stages(x)[-1])  # N 256 h w -> N 256 6 6
        return self.classifier(x.flatten(1))


def make_response_norm() -> nn.Module:
    """x / (2 + 0.0001 · sum of x² over five neighbouring channels)^0.75, the constants of the paper of 2012."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)  # torch takes the mean where the paper has a sum


VARIANTS = {"alexnet": Variant(params=61_100_840, reference="torchvision/alexnet")}
