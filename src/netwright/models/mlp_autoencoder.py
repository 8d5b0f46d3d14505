"""Autoencoder of dense layers, with tied weights if wanted (Hinton & Salakhutdinov 2006).

doi:10.1126/science.1127647. Without hidden layers its code spans what PCA's does (Baldi & Hornik 1989,
doi:10.1016/0893-6080(89)90014-2).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.models._bodies import (
    Bodied,
    DenseDecoder,
    ImageSize,
    LatentSize,
    MaybeActivation,
    activated,
    both_sides,
    dense_body,
    dense_layers,
)
from netwright.models._family import Classes, Count, Variant


class MLPAutoencoder(Bodied):
    """Dense layers to a code, and the same in reverse back to the picture; without hidden layers it is linear.

    Args:
        hidden: units of each layer between pixels and code; the decoder's are the same, in reverse.
        latent: numbers of a code.
        tied: whether the decoder's weights are the encoder's, transposed; biases are its own.
        activation: after each hidden layer; "none" makes all of it linear.
        observation: what the decoder's numbers mean: "gaussian(sigma=1.0)" or "bernoulli".
        image_size: side of the pictures in pixels, or height and width.
        in_channels: channels of the pictures.
        classes: with 0 the network gives codes; else of no consequence.

    Raises:
        NetwrightError: an observation model that does not exist.
    """

    def __init__(
        self,
        *,
        hidden: tuple[Count, ...] = (512, 256),
        latent: LatentSize = 32,
        tied: bool = False,
        activation: MaybeActivation = "relu",
        observation: str = "gaussian(sigma=1.0)",
        image_size: ImageSize = 28,
        in_channels: Count = 1,
        classes: Classes = 10,
    ) -> None:
        size = both_sides(image_size)
        body = dense_body(hidden, in_channels, size, activation)
        super().__init__(
            body,
            latent=latent,
            observation=observation,
            image_size=image_size,
            in_channels=in_channels,
            classes=classes,
        )
        self.tied, shape = tied, (in_channels, *size)
        if tied:
            self.decoder = TiedDecoder([layer.in_features for layer in self._weighted()], shape, activation)
        else:
            self.decoder = DenseDecoder((latent, *reversed(hidden)), shape, activation)

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        """N D -> N C H W."""
        if not isinstance(self.decoder, TiedDecoder):
            return super().decoded(code, label)
        return self.decoder(code, [layer.weight for layer in self._weighted()])

    def _weighted(self) -> list[nn.Linear]:
        """The encoder's layers from the code back to the picture."""
        return [self.to_mean, *reversed(dense_layers(self.encoder))]


class TiedDecoder(nn.Module):
    """y ← activation(Wᵀ y + b) with the weights W of an encoder, from its last layer to its first.

    Args:
        widths: of what each layer gives, the picture's last.
        shape: of a picture, C H W.
        activation: after each layer but the last.
    """

    def __init__(self, widths: list[int], shape: tuple[int, int, int], activation: MaybeActivation) -> None:
        super().__init__()
        self.shape = shape
        self.biases = nn.ParameterList(nn.Parameter(nn.init.zeros_(nn.Linear(1, width).bias)) for width in widths)
        self.activation = activated(activation)

    def forward(self, code: Tensor, weights: list[Tensor]) -> Tensor:
        """Codes, N D, and weights, each out x in -> N C H W."""
        *hidden, last = zip(weights, self.biases, strict=True)
        y = code
        for weight, bias in hidden:
            y = self.activation(F.linear(y, weight.T, bias))
        return F.linear(y, last[0].T, last[1]).unflatten(1, self.shape)


# Counted: 2·(784·512 + 512·256 + 256·32) weights and 512 + 256 + 32 + 256 + 512 + 784 biases.
VARIANTS = {
    "mlp_autoencoder": Variant(params=1_083_696, image_size=28, classes=10, in_channels=1, task="reconstruction")
}
