"""First weights: named schemes, the gain an activation asks for, and scales measured on real pictures."""

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.output import given

Scheme = Literal[
    "he", "xavier", "lecun", "orthogonal", "lsuv", "uniform", "normal", "constant", "dirac", "zeros"
]  # fmt: skip
Distribution = Literal["normal", "uniform"]
Fan = Literal["in", "out"]
Images = Tensor | tuple[Tensor, Tensor]  # N C H W, alone or with each picture's class, N

WEIGHTED = (nn.Conv2d, nn.Linear)
# The square of the gain a scheme was published with; the others have none.
SQUARED_GAIN = {"he": 2.0, "xavier": 1.0, "lecun": 1.0, "orthogonal": 1.0}
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.LogSigmoid,
)  # fmt: skip


def keep_scale(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852) by fan-in, for want of a norm that mends what they multiply.

    Those of each channel by itself have no activation between them and the 1x1 convolution that follows.
    """
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if layer.groups == 1 else "linear")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def weighted_layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The convolutions and linear layers of a network, in the order in which they were made."""
    return [layer for layer in model.modules() if isinstance(layer, WEIGHTED)]


@torch.no_grad()
def draw_(
    layer: nn.Conv2d | nn.Linear,
    scheme: Scheme,
    *,
    squared_gain: float | None = None,
    distribution: Distribution = "normal",
    fan: Fan = "in",
    scale: float = 0.02,
) -> None:
    """Draw a layer's weight, K C …, by a scheme, and set its bias to zero.

    Args:
        layer: a convolution or a linear layer.
        scheme: "he" and "lecun" have variance gain²/fan, "xavier" 2·gain²/(fan_in + fan_out); "lsuv" begins orthogonal.
        squared_gain: None is what the scheme was published with: 2 for "he", 1 for the others.
        distribution: of the first three.
        fan: "in" keeps the scale of values forward, "out" that of gradients backward; for "he" and "lecun".
        scale: half the width of "uniform", the deviation of "normal", the value of "constant".
    """
    weight, square = layer.weight, SQUARED_GAIN.get(scheme, 1.0) if squared_gain is None else squared_gain
    match scheme:
        case "he" | "xavier" | "lecun":
            deviation = math.sqrt(square * spread(weight, scheme, fan))
            _fill(weight, distribution, deviation if distribution == "normal" else math.sqrt(3) * deviation)
        case "orthogonal" | "lsuv":
            nn.init.orthogonal_(weight, math.sqrt(square))
        case "uniform" | "normal":
            _fill(weight, scheme, scale)
        case "constant" | "zeros":
            weight.fill_(scale if scheme == "constant" else 0.0)
        case "dirac":
            nn.init.dirac_(weight, layer.groups) if isinstance(layer, nn.Conv2d) else nn.init.eye_(weight)
    if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        layer.bias.zero_()


def spread(weight: Tensor, scheme: str, fan: Fan = "in") -> float:
    """The variance of a scheme's weights at gain 1. Fans as torch counts them, groups or not."""
    fan_in = weight[0].numel()
    fan_out = weight.shape[0] * weight[0, 0].numel()
    if scheme == "xavier":
        return 2.0 / (fan_in + fan_out)
    return 1.0 / (fan_in if fan == "in" else fan_out)


def _fill(weight: Tensor, distribution: str, size: float) -> None:
    weight.normal_(0, size) if distribution == "normal" else weight.uniform_(-size, size)


def gain_of(activation: nn.Module) -> float:
    """What weights before an activation are multiplied by to keep the scale: torch's value where it has one.

    torch's √2 for ReLU is 1/√E f(z)² with z ~ N(0, 1), which keeps the second moment; for activations it does not know
    this is integrated. Its 5/3 for tanh and 3/4 for SELU were found in other ways. Gates have 1.
    """
    if isinstance(activation, nn.Sigmoid | nn.Hardsigmoid | nn.LogSigmoid):
        return 1.0
    if isinstance(activation, nn.LeakyReLU):
        return nn.init.calculate_gain("leaky_relu", activation.negative_slope)
    if isinstance(activation, nn.Tanh):
        return nn.init.calculate_gain("tanh")
    if isinstance(activation, nn.SELU):
        return nn.init.calculate_gain("selu")
    return nn.init.calculate_gain("relu") if type(activation) is nn.ReLU else moment(activation) ** -0.5


def moment(activation: Callable[[Tensor], Tensor], variance: float = 1.0) -> float:
    """E f(z)² for z ~ N(0, variance), by the trapezium rule, whose error is about 1e-8 even where f has a corner."""
    z = torch.linspace(-9, 9, 36_001, dtype=torch.float64)  # a knot at 0, where most corners are
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return float(torch.trapezoid(activation(z * math.sqrt(variance)).square() * density, z))


def activations_after(model: nn.Module, images: Images) -> dict[nn.Module, nn.Module | None]:
    """The activation that follows each convolution and linear layer, before the next one, in the order of computing.

    None where there is none, as after the last layer, or where it is a function rather than a module.
    """
    found: dict[nn.Module, nn.Module | None] = {}
    for layer in executed(model, images):
        if isinstance(layer, WEIGHTED):
            found.setdefault(layer, None)
        elif isinstance(layer, ACTIVATIONS) and found and found[last := next(reversed(found))] is None:
            found[last] = layer
    return found


def executed(model: nn.Module, images: Images) -> list[nn.Module]:
    """The modules without parts, in the order in which a network in evaluation mode calls them."""
    order: list[nn.Module] = []
    leaves = [layer for layer in model.modules() if not list(layer.children())]

    def note(layer: nn.Module, taken: Any, output: Any) -> None:
        order.append(layer)

    with watched(leaves, note), evaluating(model):
        shown(model, images)
    return order


def unit_variance_(model: nn.Module, images: Images) -> None:
    """Scale each weight so that what its layer gives for these pictures has variance 1 (Mishkin & Matas 2016).

    The paper repeats until the variance is near enough; a layer without bias is linear, so that once is exact.

    Raises:
        NetwrightError: a layer has a bias that is not zero.
    """
    done: set[nn.Module] = set()

    def rescale(layer: Any, taken: Any, output: Tensor) -> Tensor | None:
        if layer in done:
            return None
        done.add(layer)
        deviation = output.float().std()
        factor = torch.where(deviation > 1e-12, 1 / deviation, torch.ones_like(deviation))
        layer.weight.mul_(factor)
        return output * factor.to(output.dtype)

    layers = weighted_layers(model)
    if any(layer.bias is not None and layer.bias.any() for layer in layers):  # pyright: ignore[reportUnnecessaryComparison]
        raise NetwrightError("layers with biases cannot be scaled to unit variance", "set the biases to zero first")
    with watched(layers, rescale), evaluating(model):
        shown(model, images)


def shown(model: nn.Module, images: Images) -> Any:
    """A network's output for pictures. One that wants classes and is given none sees each picture as of class 0."""
    if isinstance(images, tuple):
        return given(model, *images)
    return given(model, images, torch.zeros(len(images), dtype=torch.long, device=images.device))


@contextmanager
def watched(layers: Any, hook: Callable[..., Any]) -> Generator[None]:
    """Call `hook(layer, given, output)` after each call of some layers."""
    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """Evaluation mode without gradients; afterwards each module is in the mode it was in."""
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        for layer, training in modes:
            layer.training = training
