"""Draws the first weights of convolutions and linear layers by a named scheme."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick

Kind = Literal["keep", "he", "xavier", "lecun", "orthogonal", "zeros"]


@dataclass
class Init(Trick):
    """Every convolution and linear layer is drawn anew, biases become zero; norms and loaded weights' scale go too.

    Attributes:
        kind: "he" N(0, 2/fan_in) for rectifiers, "xavier" N(0, 2/(fan_in + fan_out)), "lecun" N(0, 1/fan_in),
            "orthogonal", "zeros" (to see why not), or "keep": what the network came with.
    """

    kind: Kind = "he"

    card = Card(
        paper="He et al., Delving deep into rectifiers, ICCV 2015; Glorot & Bengio, AISTATS 2010",
        neutral={"kind": "keep"},
        strong={"kind": "zeros"},
        treats=(Symptom.VANISHING_GRADIENTS, Symptom.EXPLODING_GRADIENTS),
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Redraw in place."""
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and self.kind != "keep":
                draw_(layer.weight, self.kind)
                if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
                    nn.init.zeros_(layer.bias)
        return module


def draw_(weight: Tensor, kind: Kind) -> None:
    """Fill a weight, K C … , by a scheme."""
    if kind == "orthogonal":
        nn.init.orthogonal_(weight)
    elif kind == "xavier":
        nn.init.xavier_normal_(weight)
    elif kind == "zeros":
        nn.init.zeros_(weight)
    else:
        fan_in = weight[0].numel()
        with torch.no_grad():
            weight.normal_(0, ((2.0 if kind == "he" else 1.0) / fan_in) ** 0.5)
