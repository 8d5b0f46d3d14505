"""Dense networks on pixels, the baseline before convolutions (LeCun, Bottou, Bengio & Haffner 1998, section III)."""

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._family import Classes, Count, Family, Share, Variant
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.head import make_head


class MLP(Family):
    """Dense layers over all pixels of an image; images of another size are averaged to `image_size`.

    Args:
        widths: units of each hidden layer; with none, the scores are a linear function of the pixels.
        classes: number of class scores.
        in_channels: channels of the images.
        image_size: side in pixels of the images that the first layer sees, or height and width.
        activation: after each hidden layer; the paper squashes with a scaled tanh, ReLU trains faster.
        dropout: share of each hidden layer that is dropped.
    """

    head_name = "output"

    def __init__(
        self,
        *,
        widths: tuple[Count, ...] = (300, 100),
        classes: Classes = 10,
        in_channels: Count = 1,
        image_size: Count | tuple[Count, Count] = 28,
        activation: ActivationKind = "relu",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.hidden = nn.Sequential()
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        features = in_channels * height * width
        for width in widths:
            self.hidden.extend([nn.Linear(features, width), make_activation(activation), nn.Dropout(dropout)])
            features = width
        self.output = make_head(features, classes)
        self.apply(initialise)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The last hidden layer, as maps of one pixel that stands for the whole image."""
        x = F.adaptive_avg_pool2d(x, self.image_size).flatten(1)  # N C H W -> N C·h·w
        return [self.hidden(x)[:, :, None, None]]

    def forward(self, x: Tensor) -> Tensor:
        """Class scores: N C H W -> N K."""
        return self.output(self.stages(x)[-1].flatten(1))


def initialise(layer: nn.Module) -> None:
    """Weights as He et al. 2015 (arXiv:1502.01852), for ReLU; no bias to begin with."""
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


# The paper's "28x28-300-100-10": 784·300 + 300·100 + 100·10 weights and 410 biases.
VARIANTS = {"mlp": Variant(params=266_610, image_size=28, classes=10, in_channels=1)}
