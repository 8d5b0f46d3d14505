"""What autoencoders are made of: a classifier's body as encoder, and a decoder that mirrors it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between, check
from netwright.core.spec import Spec
from netwright.models._autoencoder import Autoencoding
from netwright.models._encoder import Encoder, make_encoder
from netwright.models.mlp import MLP
from netwright.models.unet import WIDEST, Level, initialise, steps
from netwright.nn.activation import ActivationKind, make_activation
from netwright.nn.norm import NormKind
from netwright.nn.observation import make_observation
from netwright.nn.upsample import UpsampleKind

Side = Annotated[int, Between(4, 4096)]
ImageSize = Side | tuple[Side, Side]
LatentSize = Annotated[int, Between(1, 65_536)]
MaybeActivation = ActivationKind | Literal["none"]

DENSE = "mlp"  # the classifier without maps that may be an encoder
QUIET = 0.1  # gain of the last layer: Adam remembers squares for 1,000 steps, and a loud start's would stall it


class DenseEncoder(nn.Module):
    """The hidden layers of an `mlp`, under the names that they have there.

    Attributes:
        network: the `mlp`, which takes weights.
        dropped: nothing; see `Encoder`.
        hidden: the layers.
        widths: units of each.
        channels: of its only map.
    """

    network: MLP
    hidden: nn.Sequential
    dropped: tuple[str, ...] = ()

    def __init__(self, network: MLP, image_size: tuple[int, int], in_channels: int) -> None:
        super().__init__()
        self.hidden = network.hidden
        self.image_size = image_size
        self.widths = tuple(layer.out_features for layer in dense_layers(self.hidden))
        self.channels = (self.widths[-1] if self.widths else in_channels * image_size[0] * image_size[1],)
        self.__dict__["network"] = network  # not registered, lest its names get a prefix

    def forward(self, x: Tensor) -> list[Tensor]:
        """The last hidden layer, as maps of one pixel: N C H W -> [N F 1 1]."""
        if x.shape[-2:] != self.image_size:
            x = F.adaptive_avg_pool2d(x, self.image_size)
        return [self.hidden(x.flatten(1))[:, :, None, None]]


class DenseDecoder(nn.Module):
    """y = layers(code), laid out as pictures: N D -> N C H W.

    Args:
        widths: of the code, of each hidden layer.
        shape: of a picture, C H W.
        activation: after each hidden layer.
    """

    def __init__(self, widths: Sequence[int], shape: tuple[int, int, int], activation: MaybeActivation) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            self.layers.extend([nn.Linear(before, after), activated(activation)])
        channels, height, width = shape
        self.head = nn.Linear(widths[-1], channels * height * width)
        self.apply(start_dense)
        start_linear(self.head, QUIET)

    def forward(self, code: Tensor) -> Tensor:
        """N D -> N C H W."""
        return self.head(self.layers(code)).unflatten(1, self.shape)


class MapDecoder(nn.Module):
    """A dense layer to the encoder's last map, then a U-Net's levels without skips up to the picture.

    Args:
        code: numbers that it is given.
        encoder: whose maps are mirrored.
        sizes: height and width of the encoder's maps and of the (padded) picture, from small to large.
        channels: of the picture.
        upsample, width, norm, activation: see `Autoencoder`.
    """

    def __init__(
        self,
        code: int,
        encoder: Encoder,
        sizes: list[tuple[int, int]],
        channels: int,
        *,
        upsample: UpsampleKind,
        width: int,
        norm: NormKind,
        activation: ActivationKind,
    ) -> None:
        super().__init__()
        self.start_shape = (encoder.channels[-1], *sizes[0])
        self.sizes = sizes[1:]
        height, across = sizes[0]
        self.start = nn.Sequential(
            nn.Linear(code, encoder.channels[-1] * height * across), make_activation(activation, inplace=True)
        )
        self.levels = nn.ModuleList()
        before = encoder.channels[-1]
        options: dict[str, Any] = {"upsample": upsample, "start": "bilinear", "norm": norm, "activation": activation}
        for step in steps(encoder):
            wide = width * min(step.stride, WIDEST)
            self.levels.append(Level(before, 0, wide, step.factor, shift=step.shift, skip=False, **options))
            before = wide
        self.head = nn.Conv2d(before, channels, 1)
        self.apply(initialise)
        self.start.apply(start_dense)
        start_linear(self.head, QUIET)

    def forward(self, code: Tensor) -> Tensor:
        """N D -> N C H W, of the padded size."""
        y = self.start(code).unflatten(1, self.start_shape)
        for level, size in zip(self.levels, self.sizes, strict=True):
            y = level(y, y.new_empty(1, 0, *size))
        return self.head(y)


def make_body(spec: str, in_channels: int, image_size: tuple[int, int]) -> Encoder | DenseEncoder:
    """The body of a classifier with maps, or the hidden layers of an `mlp`.

    Raises:
        NetwrightError: unknown name or option, or a network that has neither.
    """
    parsed = Spec.parse(spec)
    if parsed.name != DENSE:
        return make_encoder(parsed, in_channels)
    if taken := [name for name in ("classes", "in_channels", "image_size") if name in parsed.options]:
        fix = f"leave it out of {parsed.name}: the network that the encoder is part of has its own"
        raise NetwrightError(f"an encoder has no option {taken[0]}", fix)
    options = check(DENSE, MLP, parsed.options)
    mlp = MLP(**options, classes=0, in_channels=in_channels, image_size=image_size)
    return DenseEncoder(mlp, image_size, in_channels)


def dense_body(
    widths: Sequence[int], in_channels: int, image_size: tuple[int, int], activation: MaybeActivation
) -> DenseEncoder:
    """Dense layers of some widths from a picture on."""
    named: ActivationKind = "relu" if activation == "none" else activation
    mlp = MLP(widths=tuple(widths), classes=0, in_channels=in_channels, image_size=image_size, activation=named)
    body = DenseEncoder(mlp, image_size, in_channels)
    if activation == "none":
        for place, layer in enumerate(body.hidden):
            if isinstance(layer, nn.ReLU):
                body.hidden[place] = nn.Identity()
    return body


def dense_layers(layers: nn.Module) -> list[nn.Linear]:
    """The dense layers among some, in their order."""
    return [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]


def activated(activation: MaybeActivation) -> nn.Module:
    """An activation layer, or none."""
    return nn.Identity() if activation == "none" else make_activation(activation)


def start_dense(layer: nn.Module) -> None:
    """Weights as He et al. 2015 (arXiv:1502.01852), for ReLU; no bias to begin with."""
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


def start_linear(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> None:
    """Weights that keep the scale of what no activation follows, or change it by a factor; no bias to begin with."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    with torch.no_grad():
        layer.weight.mul_(gain)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(layer.bias)


def both_sides(image_size: ImageSize) -> tuple[int, int]:
    """Height and width."""
    return (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])


class Bodied(Autoencoding):
    """An autoencoder whose encoder is a classifier's body; a subclass gives it a `decoder`, such as `mirror` makes.

    Pictures are padded to sides that the encoder divides without remainder, and what is decoded is cropped back.

    Args:
        encoder: the body.
        latent: numbers of a code.
        observation: what the decoder's numbers mean.
        image_size: side of the pictures in pixels, or height and width.
        in_channels: channels of the pictures.
        classes: with 0 the network gives codes.
        conditional: whether encoder and decoder are given the picture's class besides.
    """

    encoder_name = "encoder"  # the submodule that holds a classifier's body

    def __init__(
        self,
        encoder: Encoder | DenseEncoder,
        *,
        latent: int,
        observation: str,
        image_size: ImageSize,
        in_channels: int,
        classes: int,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.latent, self.image_size, self.classes = latent, both_sides(image_size), classes
        self.embeds, self.conditional = classes == 0, conditional and classes > 0
        self.observation = make_observation(observation)
        self.encoder, self.in_channels = encoder, in_channels
        self.beside = classes if self.conditional else 0
        self.sizes = self._sizes()
        height, width = self.sizes[-1]
        self.to_mean = nn.Linear(encoder.channels[-1] * height * width + self.beside, latent)
        start_linear(self.to_mean)
        self.code = nn.Identity()

    def features(self, x: Tensor, label: Tensor | None) -> Tensor:
        """What codes are made of: the last map of pictures, and their classes where it takes them. N F."""
        return self.with_label(self.maps(x)[-1].flatten(1), label)

    def encoded(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The code: N C H W -> N D."""
        return self.code(self.to_mean(self.features(x, label))), None

    def decoded(self, code: Tensor, label: Tensor | None) -> Tensor:
        """N D -> N C H W."""
        height, width = self.image_size
        return self.decoder(self.with_label(code, label))[..., :height, :width]

    def maps(self, x: Tensor) -> list[Tensor]:
        """The encoder's maps of the padded pictures, from large to small."""
        return self.encoder(padded(x, *self._padded_size(x.shape[-2], x.shape[-1])))

    def get_encoder(self) -> nn.Module:
        """The classifier's body; it gives maps, from large to small."""
        return self.encoder

    def mirror(
        self, *, upsample: UpsampleKind, width: int, norm: NormKind, activation: ActivationKind
    ) -> DenseDecoder | MapDecoder:
        """A decoder with the encoder's layers in reverse; it is given a code, and a class where it takes one."""
        given = self.latent + self.beside
        if isinstance(self.encoder, DenseEncoder):
            shape = (self.in_channels, *self.image_size)
            return DenseDecoder((given, *reversed(self.encoder.widths)), shape, activation)
        up = [*reversed(self.sizes)]
        if self.encoder.strides[0] > 1:
            up.append(self._padded_size(*self.image_size))
        return MapDecoder(
            given,
            self.encoder,
            up,
            self.in_channels,
            upsample=upsample,
            width=width,
            norm=norm,
            activation=activation,
        )

    def _sizes(self) -> list[tuple[int, int]]:
        """Height and width of each of the encoder's maps, from large to small; nothing is computed."""
        training = self.encoder.training
        meta = {name: tensor.to("meta") for name, tensor in self.encoder.state_dict().items()}
        size = self._padded_size(*self.image_size)
        with torch.no_grad():
            image = torch.empty(1, self.in_channels, *size, device="meta")
            maps = torch.func.functional_call(self.encoder.eval(), meta, (image,))
        self.encoder.train(training)
        return [(map_.shape[-2], map_.shape[-1]) for map_ in maps]

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.encoder, DenseEncoder):
            return height, width
        least, stride = self.encoder.smallest, self.encoder.strides[-1]
        return -(-max(height, least) // stride) * stride, -(-max(width, least) // stride) * stride


def padded(x: Tensor, height: int, width: int) -> Tensor:
    """Pictures with their last column and row repeated up to a size: N C H W -> N C height width."""
    right, bottom = width - x.shape[-1], height - x.shape[-2]
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x
