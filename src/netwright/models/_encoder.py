"""A classifier's body, which shows its maps at each resolution, for networks that give scores for each pixel."""

import math
from bisect import bisect_left
from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError, listed
from netwright.core.spec import Spec
from netwright.models import TIMM, create_model, list_models, model_options, summaries
from netwright.models._family import Family

SIDES = (1024, 2048)  # of images that are never computed: far larger than what borders take, multiples of all strides

LEAN = {"hidden": (1, 1), "side": 1}  # dense layers behind the maps: why draw 120 million weights and drop them


class Encoder(nn.Module):
    """The part of a classifier that makes its maps; layers that do not, such as heads, are left out.

    Submodules have the names that they have in the classifier, and so its weights fit. They belong to both: a layer
    that is exchanged in one is exchanged in the other.

    Args:
        network: the classifier. Its unused layers are taken out of it.
        in_channels: channels of its images.

    Attributes:
        channels: of each map, from large to small.
        origins: the pixel of the image, counted from 0, that the first value of each map looks at in the middle; where
            every map has side/stride values, the middle (stride − 1)/2 of the square that it stands for.
        strides: how many pixels of the image lie between neighbouring values of each map, as (2, 4, 8, 16, 32).
        dropped: names of the layers that were left out, as ("fc",).
        smallest: side in pixels of the smallest image that leaves something of every map.

    Raises:
        NetwrightError: the network has no maps at several resolutions.
    """

    def __init__(self, network: Family, in_channels: int = 3) -> None:
        super().__init__()
        self.channels, self.strides, self.origins, used = _measured(network, in_channels)
        self.dropped = _without_unused(network, used)
        self.smallest = max(network.smallest, self.strides[-1])  # timm's do not say theirs
        # Not registered, lest its names get a prefix. The dictionaries are shared, so that it sees what happens here.
        self.__dict__["network"] = network
        for parts in ("_modules", "_parameters", "_buffers"):
            self.__dict__[parts] = network.__dict__[parts]

    network: Family

    def shifts(self, first: int = 0) -> tuple[int, ...]:
        """By how many values each enlarged map moves to the right and down when it is laid on the next finer one.

        So that it ends in the image within half a step of that finer map from where it looks.

        Args:
            first: place of the finest map, from 0, which is laid on the image; finer ones have no part in it.
        """
        found: list[int] = []
        origin, stride, error = 0.0, 1, 0.0  # the error is of where the finer map comes to lie, in pixels
        for coarser, step in zip(self.origins[first:], self.strides[first:], strict=True):
            off = (coarser - origin) / stride - (step / stride - 1) / 2
            wanted = off - error / stride
            shift = int(math.copysign(math.ceil(abs(wanted) - 0.5), wanted))
            found.append(shift)
            origin, stride, error = coarser, step, error + stride * (shift - off)
        return tuple(found)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The last map at each resolution, from large to small: N C H W -> [N C_i h_i w_i].

        Networks with convolutions that are not padded have maps somewhat smaller than H/stride.
        """
        return self.network.stages(x)

    def train(self, mode: bool = True) -> "Encoder":
        """Training mode for the layers and for the network that calls them."""
        super().train(mode)
        self.network.training = mode
        return self


def make_encoder(spec: str | Spec, in_channels: int = 3) -> Encoder:
    """The body of any classifier with maps at several resolutions: `resnet18`, `vgg16(norm='batch')`, `timm/resnet10t`.

    Args:
        spec: the classifier, with options where the default ones won't do.
        in_channels: channels of the images.

    Raises:
        NetwrightError: unknown name or option, or a network with a single map or none.
    """
    spec = Spec.parse(spec)
    for option in ("classes", "in_channels"):
        if option in spec.options:
            fix = f"leave it out of {spec.name}: the network that the encoder is part of has its own"
            raise NetwrightError(f"an encoder has no option {option}", fix)
    if spec.name in summaries() and spec.name not in list_models():
        what = "a network for each pixel" if summaries()[spec.name].task == "segmentation" else "an autoencoder"
        raise _unsuitable(spec.name, f"is {what} itself, and an encoder is part of one")
    offered = () if spec.name.startswith(TIMM) else (option.name for option in model_options(spec))
    lean = {name: LEAN[name] for name in offered if name in LEAN}
    spec = Spec(spec.name, {**lean, **spec.options})
    return Encoder(create_model(spec, classes=0, in_channels=in_channels), in_channels)


Measured = tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...], set[str]]


def _measured(network: Family, in_channels: int) -> Measured:
    """Channels, strides and origins of a network's maps, and the names of the parameters that they depend on.

    Two images whose sides differ by a multiple of every stride have maps whose sides differ by that multiple, whatever
    is lost at the borders.
    """
    name = network.reference or type(network).__name__
    shadow = _shadow(network)
    try:
        images = (torch.empty(1, in_channels, side, side, device="meta") for side in SIDES)
        with torch.enable_grad():
            smaller, larger = map(shadow.stages, images)
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise _unsuitable(name, f"does not take images of {SIDES[0]}x{SIDES[0]} pixels: {reason}") from None
    grown = [two.shape[-1] - one.shape[-1] for one, two in zip(smaller, larger, strict=True)]
    if not all(grown):
        raise _unsuitable(name, "sees images at one size, whatever theirs is: it has no maps in space")
    strides = tuple(round((SIDES[1] - SIDES[0]) / more) for more in grown)
    if len(strides) < 2 or any(after <= before for before, after in pairwise(strides)):
        raise _unsuitable(name, f"has maps at {listed(f'1/{stride}' for stride in strides)} of the image's sides alone")
    torch.autograd.backward([map_.sum() for map_ in larger])
    used = {name for name, parameter in shadow.named_parameters() if parameter.grad is not None}
    return tuple(map_.shape[1] for map_ in larger), strides, _origins(shadow, in_channels, strides), used


def _origins(shadow: Family, in_channels: int, strides: tuple[int, ...]) -> tuple[float, ...]:
    """The middle of what the first value of each map sees, in pixels of the image.

    The smallest image with n values in a map ends where the last one's sight does: as far behind its middle as the
    image begins before the middle of the first. So its side is 2·origin + stride·(n − 1) + 1.
    """
    for layer in shadow.modules():
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            layer.ceil_mode = False  # which adds values behind, and moves none

    @cache
    def sizes(side: int) -> tuple[int, ...]:
        with torch.no_grad():
            maps = shadow.stages(torch.empty(1, in_channels, side, side, device="meta"))
        return tuple(map_.shape[-1] for map_ in maps)

    whole = sizes(SIDES[0])
    if all(size * stride == SIDES[0] for size, stride in zip(whole, strides, strict=True)):
        return tuple((stride - 1) / 2 for stride in strides)
    found: list[float] = []
    for place, (size, stride) in enumerate(zip(whole, strides, strict=True)):
        sides = range(SIDES[0] - stride + 1, SIDES[0] + 1)
        least = sides[bisect_left(sides, size, key=lambda side: sizes(side)[place])]
        found.append((least - 1 - stride * (size - 1)) / 2)
    return tuple(found)


def _shadow(network: Family) -> Family:
    """A copy on the meta device, where nothing is computed; no value is copied either."""
    tensors = [*network.parameters(), *network.buffers()]
    memo: dict[int, Any] = {id(t): t.to("meta") for t in tensors if not isinstance(t, nn.Parameter)}
    memo |= {id(t): nn.Parameter(t.detach().to("meta")) for t in tensors if isinstance(t, nn.Parameter)}
    return deepcopy(network, memo).eval()


def _without_unused(network: nn.Module, used: set[str]) -> tuple[str, ...]:
    """Take out the outermost layers that have parameters and use none of them; their names."""
    dropped: list[str] = []
    for name, layer in list(network.named_modules()):
        own = [f"{name}.{parameter}" for parameter, _ in layer.named_parameters()]
        if name and own and used.isdisjoint(own) and not name.startswith(tuple(f"{outer}." for outer in dropped)):
            network.set_submodule(name, nn.Identity())
            dropped.append(name)
    return tuple(dropped)


def _unsuitable(name: str, reason: str) -> NetwrightError:
    return NetwrightError(f"{name} {reason}", "choose a convolutional network as encoder, such as resnet18")
