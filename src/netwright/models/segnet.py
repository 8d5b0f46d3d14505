"""SegNet: what pooling chose says where to unpool (Badrinarayanan, Kendall & Cipolla 2017, arXiv:1511.00561)."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.spec import Spec
from netwright.models._encoder import make_encoder
from netwright.models._family import Classes, Count, Share, Variant, refuse_layers
from netwright.models._segmenter import Segmenter
from netwright.models.vgg import WIDEST
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.norm import NormKind, make_norm

PUBLISHED = (2, 2, 3, 3, 3)
MOST = 8  # blocks: at 1/256 of the image's sides little is left to point at


class SegNet(Segmenter):
    """VGG's convolutions, and the same mirrored: each pooling hands on the places of its maxima, and nothing else.

    The encoder is VGG's, whose weights fit: `weights="imagenet"` starts from those of vgg16_bn, as the paper does.

    Args:
        layers: convolutions in each block of the encoder, and from the last to the first of the decoder.
        width: channels of the first block; each block has twice those of the one before, up to 512.
        classes: number of class scores; with none, the decoder's last map is the answer.
        in_channels: channels of the images.
        norm: normalisation after each convolution but the last.
        activation: after each normalisation.
        dropout: share of the values before the last convolution that is dropped.
    """

    def __init__(
        self,
        *,
        layers: tuple[Count, ...] = PUBLISHED,
        width: Annotated[int, Between(1, WIDEST)] = 64,
        classes: Classes = 11,
        in_channels: Count = 3,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        refuse_layers(layers, PUBLISHED)
        refuse_blocks(layers)
        self.encoder = make_encoder(encoder_of(layers, width, norm, activation), in_channels)
        self.stride = self.smallest = 2 ** len(layers)
        widths = [min(width * 2**index, WIDEST) for index in range(len(layers))]
        self.decoder = nn.ModuleList()
        for index in reversed(range(len(layers))):
            narrower = widths[max(0, index - 1)]
            count = layers[index] - (index == 0)  # the mirror of the first convolution is the head
            block = nn.Sequential()
            for position in range(count):
                channels = narrower if position == layers[index] - 1 else widths[index]
                block.append(nn.Conv2d(widths[index], channels, 3, padding=1))  # with a bias, as the encoder's
                block.extend([make_norm(norm, channels), make_activation(activation)])
            self.decoder.append(block)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(widths[0], classes, 3, padding=1) if classes else nn.Identity()
        for part in (self.decoder, self.head):
            part.apply(initialise)

    def scores(self, x: Tensor) -> Tensor:
        """N C H W -> N K H W."""
        *larger, x = self.encoder(x)  # each block before its pooling, and the last one after it
        for block, map_ in zip(self.decoder, reversed(larger), strict=True):
            _, places = F.max_pool2d(map_, 2, return_indices=True)
            x = block(F.max_unpool2d(x, places, [2, 2]))  # squares do not overlap: no place is written twice
        return self.head(self.dropout(x))


def refuse_blocks(layers: tuple[int, ...]) -> None:
    """Refuse more poolings than images have pixels for.

    Raises:
        NetwrightError: they are too many.
    """
    if len(layers) > MOST:
        problem = f"segnet: layers={layers!r} has {len(layers)} blocks, whose last map is at 1/{2 ** len(layers)}"
        raise NetwrightError(problem, f"give at most {MOST} numbers, as in layers={PUBLISHED}")


def encoder_of(layers: tuple[int, ...], width: int, norm: NormKind, activation: ActivationKind) -> Spec:
    """The VGG whose body it is. Its dense layers are taken out at once, and so have one unit."""
    own = {"layers": layers, "blocks": len(layers), "width": width, "norm": norm, "activation": activation}
    return Spec("vgg16_bn", {**own, "hidden": (1, 1), "side": 1})


def initialise(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852), as in the paper."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


VARIANTS = {
    "segnet": Variant(params=29_449_355, image_size=360, classes=11, task="segmentation"),
}
