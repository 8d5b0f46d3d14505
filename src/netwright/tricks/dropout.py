"""Drops units before the classifier at random, so that none of them can rely on another."""

import copy
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.dropper import Dropper
from netwright.nn.places import heads

Form = Literal["inverted", "original"]


@dataclass
class Dropout(Trick):
    """In training each unit is 0 with probability `rate`, on top of any dropout that the network has itself.

    Of a network for masks the classifier is its last convolution, and each pixel's units are dropped by themselves; of
    an autoencoder units of the code are dropped, of a variational one their means.

    Attributes:
        rate: share of units dropped.
        where: before the classifier, or before every linear layer.
        form: kept units are multiplied by 1/(1 - rate) in training, or, as in 2012, the weights that see them by
            1 - rate in the network that is evaluated and handed on.
    """

    rate: Annotated[float, Between(0, 1)] = 0.2
    where: Literal["head", "linear"] = "head"
    form: Form = "inverted"

    card = Card(
        paper="Hinton et al., Improving neural networks by preventing co-adaptation, arXiv:1207.0580; "
        "Srivastava et al., Dropout, JMLR 2014",
        neutral={"rate": 0.0},
        strong={"rate": 0.5},
        ranges={"rate": Range(0.05, 0.5)},
        treats=(Symptom.OVERFITTING,),
        after=("early_stopping", "ema", "lookahead", "swa", "norm", "sparse", "weight_standardisation", "whitening"),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Let units be dropped on their way into the layers.

        Raises:
            NetwrightError: the original form, where no weights see what is dropped.
        """
        for layer in self.layers(module) if self.rate else ():
            if self.form == "original" and not list(layer.parameters()):
                problem = "dropout(form='original') multiplies the weights that see dropped units, and in "
                problem += f"{type(module).__name__} these are a code's, which has none"
                raise NetwrightError(problem, "take form='inverted'")
            layer.register_forward_pre_hook(DropUnits(self.rate, self.form))
        return module

    @torch.no_grad()
    def predictor(self, module: nn.Module) -> nn.Module:
        """For the original form a copy of the network, its weights multiplied."""
        if not self.rate or self.form == "inverted":
            return module
        scaled = copy.deepcopy(module)
        for layer in self.layers(scaled):
            for weight in layer.parameters():
                weight.mul_(1 - self.rate if weight.ndim > 1 else 1.0)  # biases are not dropped
        return scaled

    def layers(self, module: nn.Module) -> list[nn.Module]:
        """The layers that see dropped units."""
        others = [layer for layer in module.modules() if isinstance(layer, nn.Linear)] if self.where == "linear" else []
        return list(dict.fromkeys([*others, *heads(module)]))


@dataclass
class DropUnits(Dropper):
    """Dropout in one of its two forms."""

    rate: float
    form: Form

    def dropped(self, x: Tensor) -> Tensor:
        """N ... -> N ...."""
        return F.dropout(x, self.rate) if self.form == "inverted" else thinned(x, self.rate)


def thinned(x: Tensor, rate: float) -> Tensor:
    """Each value is 0 with probability `rate`, else as it was. Any shape."""
    return x * x.new_empty(x.shape).bernoulli_(1 - rate)
