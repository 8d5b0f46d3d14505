"""Exchanges the network's head for one of a chosen form, on its embedding or on the map of any stage."""

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.headed import Headed, Pool
from netwright.nn.init import evaluating
from netwright.nn.output import main_output
from netwright.nn.watched import Staged, black

SMALLEST = 1e-6  # below it the slope of a root would be past any bound


@dataclass
class Head(Trick):
    """Weights that were learnt elsewhere come with a head for other classes; what takes its place is a choice.

    Attributes:
        kind: one linear layer, or two with a ReLU between ("mlp").
        hidden: units between the two.
        stage: whose map the head sees, counted from 0, or from -1 backwards; None for what the network's own head saw.
        pool: how that map becomes a vector: mean, maximum or both.
        power: features x become sign(x) |x|^power; one half tames the few that are large.
        norm: standardise features by the batch's, later the running, mean and deviation.
        dropout: share of units dropped before the last layer, in training.
    """

    kind: Literal["linear", "mlp"] = "linear"
    hidden: Annotated[int, Between(1, 100_000)] = 512
    stage: int | None = None
    pool: Pool = "avg"
    power: Annotated[float, Between(0.01, 1)] = 1.0
    norm: Literal["none", "batch"] = "none"
    dropout: Annotated[float, Between(0, 0.99)] = 0.0

    card = Card(
        paper="Donahue et al., DeCAF: a deep convolutional activation feature for visual recognition, ICML 2014; "
        "power: Perronnin et al., Improving the Fisher kernel for large-scale image classification, ECCV 2010",
        strong={"kind": "mlp", "hidden": 8},
        ranges={"dropout": Range(0.0, 0.6), "power": Range(0.25, 1.0)},
        tasks=("classification", "multi_label"),
        why={
            "segmentation": "what it puts on a network judges a picture as a whole; a network for masks is chosen with "
            "its encoder, as in --model \"unet(encoder='resnet18')\", and gives each pixel its scores",
            "reconstruction": "it gives scores of classes; train a classifier on an autoencoder's codes with --weights",
        },
        after=("norm", "weight_standardisation", "whitening"),
        structure=True,
    )

    def model(self, module: nn.Module) -> nn.Module:
        """The network without its head, and a new one."""
        name, last = last_layer(module)
        module.set_submodule(name, nn.Identity())
        headed = Headed(module, nn.Identity(), stage=self.stage, pool=self.pool)
        features, classes = (last.in_features, last.out_features) if isinstance(last, nn.Linear) else _channels(last)
        headed.head = self.made(features if self.stage is None else _cut(headed), classes)
        return headed

    def made(self, features: int, classes: int) -> nn.Module:
        """The new head: N F -> N K."""
        layers: list[nn.Module] = [Power(self.power)] if self.power != 1 else []
        layers += [nn.BatchNorm1d(features, affine=False)] if self.norm == "batch" else []
        if self.kind == "mlp":
            layers += [nn.Linear(features, self.hidden), nn.ReLU()]
        layers += [nn.Dropout(self.dropout)] if self.dropout else []
        return nn.Sequential(*layers, nn.Linear(self.hidden if self.kind == "mlp" else features, classes))


class Power(nn.Module):
    """sign(x) |x|^power, with no gradient where x is 0. N F -> N F."""

    def __init__(self, power: float) -> None:
        super().__init__()
        self.power = power

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x.sign() * x.abs().clamp(min=SMALLEST).pow(self.power)

    def extra_repr(self) -> str:
        """What makes it another layer."""
        return f"power={self.power}"


def last_layer(network: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The layer that gives a network's scores, and its name.

    Raises:
        NetwrightError: there is no such layer, or it is no linear layer or convolution.
    """
    name = network.head_name if isinstance(network, Staged) else _own_last(network)
    layer = cast(nn.Module, network).get_submodule(name) if name else None
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return name, layer
    raise NetwrightError(
        f"{type(network).__name__} has no last linear layer to take the place of", "leave it out: --without head"
    )


def _own_last(network: nn.Module) -> str:
    """Of a network that does not say so: the linear layer whose output is the network's.

    Of one that cannot take the picture that would tell, it is the last that is registered, as in nn/places.py.
    """
    linear = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    image = black(network) if len(linear) > 1 else None
    if image is None:
        return linear[-1] if linear else ""
    gave: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: gave.update({name: output}))
        for name in linear
    ]
    try:
        with evaluating(network):
            scores = main_output(network(image))
    except (RuntimeError, ValueError, IndexError, AssertionError):  # made for pictures of another size
        return linear[-1]
    finally:
        for hook in hooks:
            hook.remove()
    return next((name for name in linear if gave.get(name) is scores), "")


def _channels(layer: nn.Conv2d) -> tuple[int, int]:
    return layer.in_channels, layer.out_channels


def _cut(headed: Headed) -> int:
    """How many features a stage gives; what lies beyond it and helps to make none of them is not to train.

    Both are seen from the smallest picture that the network takes.
    """
    image = black(headed.backbone)
    if image is None:
        raise NetwrightError(f"{type(headed.backbone).__name__} has no maps", "leave out the head's stage")
    held = [parameter for parameter in headed.backbone.parameters() if parameter.requires_grad]
    with evaluating(headed), torch.enable_grad():
        features = headed.features(image)
        made = features.requires_grad
        slopes = torch.autograd.grad(features.sum(), held, allow_unused=True) if made else (None,) * len(held)
    for parameter, slope in zip(held, slopes, strict=True):
        parameter.requires_grad_(slope is not None)
    return features.shape[1]
