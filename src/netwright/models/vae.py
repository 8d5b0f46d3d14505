"""Variational autoencoder: codes are drawn, near a normal prior (Kingma & Welling 2014, arXiv:1312.6114).

`beta` is that of Higgins et al. 2017 (openreview.net/forum?id=Sy2fzU9gl), the conditional one that of Sohn, Lee & Yan
2015 (Learning structured output representation using deep conditional generative models, NIPS 28).
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.models._bodies import Bodied, ImageSize, LatentSize, both_sides, make_body, start_linear
from netwright.models._family import Classes, Count, Variant
from netwright.nn.activation import ActivationKind
from netwright.nn.norm import NormKind
from netwright.nn.upsample import UpsampleKind

BOUND = 20.0  # |log variance| stays below: variances of 2e-9 to 5e8


class VAE(Bodied):
    """q(z | x) = N(m(x), diag s²(x)) with two dense layers on the encoder's features, and p(x | z) as observed.

    Args:
        encoder: the classifier whose body is the encoder, with its own options; `mlp(widths=(512, 256))` has dense
            layers, which the decoder has too, in reverse.
        latent: numbers of a code.
        beta: weight of KL(q(z | x) ‖ N(0, I)); 1 is the evidence bound.
        upsample: how maps are enlarged.
        width: channels of the decoder at full resolution, twice as many for each halving, up to 16 times as many.
        norm: of the decoder, after each 3x3 convolution.
        activation: of the decoder.
        observation: what the decoder's numbers mean: "gaussian(sigma=0.1)" or "bernoulli".
        image_size: side of the pictures in pixels, or height and width.
        in_channels: channels of the pictures.
        classes: of a conditional one; with 0 the network gives mean codes, and no class is read.
        conditional: whether encoder and decoder are given the picture's class besides.

    Raises:
        NetwrightError: an encoder or observation model that does not exist, or an encoder without maps.
    """

    random = True

    def __init__(
        self,
        *,
        encoder: str = "resnet20",
        latent: LatentSize = 32,
        beta: Annotated[float, Between(0, 1e6)] = 1.0,
        upsample: UpsampleKind = "nearest",
        width: Count = 16,
        norm: NormKind = "batch",
        activation: ActivationKind = "relu",
        observation: str = "gaussian(sigma=0.1)",
        image_size: ImageSize = 32,
        in_channels: Count = 3,
        classes: Classes = 10,
        conditional: bool = False,
    ) -> None:
        super().__init__(
            make_body(encoder, in_channels, both_sides(image_size)),
            latent=latent,
            observation=observation,
            image_size=image_size,
            in_channels=in_channels,
            classes=classes,
            conditional=conditional,
        )
        self.decoder = self.mirror(upsample=upsample, width=width, norm=norm, activation=activation)
        self.beta = beta
        self.to_log_variance = nn.Linear(self.to_mean.in_features, latent)
        start_linear(self.to_log_variance, 0.01)  # variances near the prior's to begin with

    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, in float32 under any autocast: N C H W -> N D, N D."""
        features = self.features(x, label)
        with exact(features.device.type):
            features = features.float()
            return self.code(self.to_mean(features)), bounded(self.to_log_variance(features))


def exact(device: str) -> AbstractContextManager[Any]:
    """No autocast on a kind of device, where there is any."""
    there = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if there else nullcontext()


def bounded(raw: Tensor) -> Tensor:
    """20·tanh(raw / 20): near 0 the same, and never so large that its exponential overflows. Same shape."""
    return BOUND * torch.tanh(raw / BOUND)


# Counted: resnet20's 269,072 without its head, 2·(4096·32 + 32) to the code's mean and variance, 32·4096 + 4096 back to
# the last map, 25,891 behind it. Ten classes are 2·10·32 weights more before the code, and 10·4096 behind it.
VARIANTS = {
    "vae": Variant(params=692_339, image_size=32, classes=10, task="reconstruction"),
    "conditional_vae": Variant(
        params=733_939, options={"conditional": True}, image_size=32, classes=10, task="reconstruction"
    ),
}
