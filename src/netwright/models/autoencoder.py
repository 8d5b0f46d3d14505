"""Autoencoder on any classifier's body: pictures through a code of few numbers (Hinton & Salakhutdinov 2006).

Hinton & Salakhutdinov 2006, doi:10.1126/science.1127647, had dense layers; Masci et al. 2011,
doi:10.1007/978-3-642-21735-7_7, convolutions.
"""

from netwright.models._bodies import Bodied, ImageSize, LatentSize, both_sides, make_body
from netwright.models._family import Classes, Count, Variant
from netwright.nn.activation import ActivationKind
from netwright.nn.norm import NormKind
from netwright.nn.upsample import UpsampleKind


class Autoencoder(Bodied):
    """code = W·map(x) + b with the last map of a classifier's body, and a decoder that enlarges W'·code + b' again.

    Args:
        encoder: the classifier whose body is the encoder, with its own options; `mlp(widths=(512, 256))` has dense
            layers, which the decoder has too, in reverse.
        latent: numbers of a code.
        upsample: how maps are enlarged.
        width: channels of the decoder at full resolution, twice as many for each halving, up to 16 times as many.
        norm: of the decoder, after each 3x3 convolution.
        activation: of the decoder.
        observation: what the decoder's numbers mean: "gaussian(sigma=1.0)" or "bernoulli".
        image_size: side of the pictures in pixels, or height and width.
        in_channels: channels of the pictures.
        classes: with 0 the network gives codes; else of no consequence.

    Raises:
        NetwrightError: an encoder or observation model that does not exist, or an encoder without maps.
    """

    def __init__(
        self,
        *,
        encoder: str = "resnet20",
        latent: LatentSize = 64,
        upsample: UpsampleKind = "nearest",
        width: Count = 16,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        observation: str = "gaussian(sigma=1.0)",
        image_size: ImageSize = 32,
        in_channels: Count = 3,
        classes: Classes = 10,
    ) -> None:
        super().__init__(
            make_body(encoder, in_channels, both_sides(image_size)),
            latent=latent,
            observation=observation,
            image_size=image_size,
            in_channels=in_channels,
            classes=classes,
        )
        self.decoder = self.mirror(upsample=upsample, width=width, norm=norm, activation=activation)


# Counted: resnet20's 269,072 without its head, 4096·64 + 64 to the code and 64·4096 + 4096 back to the last map, 25,840
# in the decoder's two levels, 51 in its last convolution.
VARIANTS = {"autoencoder": Variant(params=823_411, image_size=32, classes=10, task="reconstruction")}
