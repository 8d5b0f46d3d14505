"""How large values and gradients are from layer to layer before training, and what theory says of a plain stack.

Poole, Lahiri, Raghu, Sohl-Dickstein & Ganguli 2016, arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232.
"""

import copy
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from netwright.engine.residual import Node, Watch
from netwright.nn.init import (
    Scheme,
    activations_after,
    draw_,
    evaluating,
    moment,
    shown,
    unit_variance_,
    watched,
    weighted_layers,
)
from netwright.nn.norm import batch_norms
from netwright.nn.output import Decoded, main_output

AS_IT_COMES = "as it comes"
SCHEMES = (AS_IT_COMES, "he", "xavier", "lecun", "orthogonal", "lsuv")
FAR = 10.0  # a scale that grows or falls by more from end to end is not kept
RESHAPING = ("view", "clone", "alias", "detach", "permute", "transpose", "squeeze", "expand")


@dataclass(frozen=True)
class Layer:
    """One convolution or linear layer.

    Attributes:
        name: as in the network.
        shape: of what it gives for one picture.
        forward: root mean square of what it gives.
        backward: root mean square of the gradient with respect to that, where the network's outputs have gradients
            from N(0, 1), each picture for itself.
    """

    name: str
    shape: tuple[int, ...]
    forward: float
    backward: float


@dataclass(frozen=True)
class Factors:
    """What a layer multiplies the second moment by, on average from end to end, and what comes of it.

    Attributes:
        ratio: of root mean squares, forward from the first layer to the last, backward to the first from the last but
            the head.
        measured: a layer.
        theory: a layer, for a plain stack of layers and activations; None for other networks.
    """

    ratio: float
    measured: float
    theory: float | None

    @property
    def verdict(self) -> str:
        """In one word."""
        if not self.ratio < FAR:  # not a number is too large a one
            return "explodes"
        return "kept" if self.ratio > 1 / FAR else "vanishes"


@dataclass(frozen=True)
class Signal:
    """A network under one scheme of first weights, layer by layer in the order of computing."""

    scheme: str
    layers: tuple[Layer, ...]
    forward: Factors
    backward: Factors


def signals(model: nn.Module, images: Tensor, *, seed: int = 0) -> list[Signal]:
    """Every scheme, each with the gain it was published with, on copies of a network. Shape of images: N C H W."""
    with torch.random.fork_rng(devices=[]):
        return [_under(model, images, scheme, seed) for scheme in SCHEMES]


def measure(model: nn.Module, images: Tensor) -> tuple[Layer, ...]:
    """Scales in the first step: batch norms take the batch's statistics; dropout is off. The network is not changed."""
    model = copy.deepcopy(model).requires_grad_(True).eval()
    for norm in batch_norms(model):
        norm.train()
    names = {layer: name for name, layer in model.named_modules()}
    shapes: dict[str, tuple[int, ...]] = {}
    forward: dict[str, float] = {}
    backward: dict[str, float] = {}

    def note(layer: nn.Module, given: Any, output: Tensor) -> None:
        name = names[layer]
        if name not in forward:
            shapes[name], forward[name], backward[name] = tuple(output.shape[1:]), root_mean_square(output), 0.0

            def note_gradient(gradient: Tensor) -> None:
                backward[name] = root_mean_square(gradient)

            # On the tensor: a ReLU that overwrites it would make torch refuse hooks on the module.
            output.register_hook(note_gradient)

    with torch.enable_grad(), watched(weighted_layers(model), note):
        output = main_output(shown(model, images))
        output = output.natural if isinstance(output, Decoded) else output
        draw = torch.Generator().manual_seed(0)
        (output * torch.randn(output.shape, generator=draw).to(output)).sum().backward()
    return tuple(Layer(name, shapes[name], forward[name], backward[name]) for name in forward)


def root_mean_square(x: Tensor) -> float:
    """√ of the mean square."""
    return float(x.detach().double().square().mean().sqrt())


@dataclass(frozen=True)
class Theory:
    """Second moments of a plain stack, layer by layer: of what each gives, and by what gradients grow on the way back.

    Attributes:
        moments: of each layer's output.
        slopes: from each layer but the first to the one before.
    """

    moments: tuple[float, ...]
    slopes: tuple[float, ...]


def theory(model: nn.Module, images: Tensor, first: float) -> Theory | None:
    """What theory says of a plain stack, from the weights' and biases' mean squares w and b.

    With q the second moment of a layer's output and z ~ N(0, q), the next one's is fan_in · w · E f(z)² + b, and
    gradients g with respect to it become fan_out · w · E f'(z)² · g, where a stride s² leaves out all but 1/s².

    Args:
        model: any network.
        images: N C H W.
        first: the second moment of the first layer's output.

    Returns:
        None where something else than layers and activations, one after the other, is computed.
    """
    if not is_plain(model, images):
        return None
    after = activations_after(model, images)
    moments, slopes = [first], list[float]()
    for before, layer in pairwise(after):
        curve: Any = after[before] or nn.Identity()
        weight, q = layer.get_parameter("weight"), moments[-1]
        square = _mean_square(weight)
        slopes.append(_ways_out(layer) * square * moment(_slope(curve), q))
        moments.append(weight[0].numel() * square * moment(curve, q) + _mean_square(getattr(layer, "bias", None)))
    return Theory(tuple(moments), tuple(slopes))


def is_plain(model: nn.Module, images: Tensor) -> bool:
    """Whether a network computes layers and activations one after the other, and nothing else."""
    with evaluating(model), Watch(model, images) as watch:
        shown(model, images)
    products = [place for place, node in enumerate(watch.nodes) if node.product]
    return bool(products) and all(map(_is_plain, watch.nodes[products[0] :]))


def _is_plain(node: Node) -> bool:
    known = node.product or node.activation or any(part in str(node.operation) for part in RESHAPING)
    return len(node.parents) == 1 and known


def _under(model: nn.Module, images: Tensor, scheme: str, seed: int) -> Signal:
    model = copy.deepcopy(model)
    torch.manual_seed(seed)
    for layer in weighted_layers(model) if scheme in get_args(Scheme) else []:
        draw_(layer, cast(Scheme, scheme))
    if scheme == "lsuv":
        unit_variance_(model, images)
    layers = measure(model, images)
    return Signal(scheme, layers, *_factors(layers, theory(model, images, layers[0].forward ** 2)))


def _factors(layers: tuple[Layer, ...], known: Theory | None) -> tuple[Factors, Factors]:
    last = len(layers) - 1
    # Gradients from the layer before the head's: pooling before a head divides them once, which is no matter of depth.
    behind = max(last - 1, min(last, 1))
    forth = None if known is None else known.moments[last] / known.moments[0]
    back = None if known is None else math.prod(known.slopes[:behind])
    return (
        _factor(layers[last].forward, layers[0].forward, last, forth),
        _factor(layers[0].backward, layers[behind].backward, behind, back),
    )


def _factor(end: float, start: float, steps: int, theory: float | None) -> Factors:
    ratio, steps = end / start if start else math.nan, max(1, steps)
    return Factors(ratio, ratio ** (2 / steps), None if theory is None else theory ** (1 / steps))


def _mean_square(parameter: Tensor | None) -> float:
    return 0.0 if parameter is None else float(parameter.detach().double().square().mean())


def _ways_out(layer: nn.Module) -> float:
    """How many outputs an input goes into."""
    if not isinstance(layer, nn.Conv2d):
        return float(layer.get_parameter("weight").shape[0])
    return layer.out_channels / layer.groups * math.prod(layer.kernel_size) / math.prod(layer.stride)


def _slope(curve: Any) -> Any:
    def slope(z: Tensor) -> Tensor:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(curve(z.clone()).sum(), z)
        return gradient

    return slope
