"""Draws the first weights of convolutions and linear layers by a named scheme."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.augment import labelled_batches, plain_batches
from netwright.engine.trick import Card, Trick
from netwright.nn.init import (
    SQUARED_GAIN,
    Distribution,
    Fan,
    activations_after,
    draw_,
    gain_of,
    unit_variance_,
    weighted_layers,
)

if TYPE_CHECKING:
    from netwright.engine.run import Run

Kind = Literal[
    "keep", "he", "xavier", "lecun", "orthogonal", "lsuv", "uniform", "normal", "constant", "dirac", "zeros"
]  # fmt: skip
GAINED = ("he", "xavier", "orthogonal")


@dataclass
class Init(Trick):
    """Every convolution and linear layer is drawn anew and biases become zero; norms stay as they are.

    Attributes:
        kind: variance gain²/fan ("he", "lecun") or 2·gain²/(fan_in + fan_out) ("xavier"); "orthogonal" rows;
            "lsuv": orthogonal, then each layer's output scaled to variance 1 on the first batch; U(-scale, scale)
            ("uniform"), N(0, scale²) ("normal"), scale itself ("constant"); "dirac": what goes in comes out;
            "zeros" (to see why not); "keep": what the network came with.
        gain: a number, or "auto": what the activation after a layer asks for; where none follows, what the scheme was
            published with, √2 for "he" and 1 otherwise. "lecun" has 1 in any case, which is what sets it apart.
        distribution: of "he", "xavier" and "lecun".
        fan: of "he" and "lecun": "in" keeps the scale of values, "out" that of gradients.
        scale: of "uniform", "normal" and "constant".
    """

    kind: Kind = "he"
    gain: Annotated[float, Between(0)] | Literal["auto"] = "auto"
    distribution: Distribution = "normal"
    fan: Fan = "in"
    scale: float = 0.02

    card = Card(
        paper="He et al., ICCV 2015; Glorot & Bengio, AISTATS 2010; LeCun et al., Efficient backprop, 1998; "
        "Saxe et al., ICLR 2014 (orthogonal); Mishkin & Matas, All you need is a good init, ICLR 2016 (lsuv)",
        neutral={"kind": "keep"},
        strong={"kind": "zeros"},
        treats=(Symptom.VANISHING_GRADIENTS, Symptom.EXPLODING_GRADIENTS),
        fresh=True,
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Redraw in place, with the scheme's own gain where it is not given."""
        if self.kind == "keep":
            return module
        square = None if self.gain == "auto" else self.gain**2
        for layer in weighted_layers(module):
            draw_(
                layer,
                self.kind,
                squared_gain=square,
                distribution=self.distribution,
                fan=self.fan,
                scale=self.scale,
            )
        return module

    def start(self, run: "Run") -> None:
        """What needs pictures: each activation's gain is found by calling the network, and "lsuv" measures."""
        if self.kind == "lsuv":
            unit_variance_(run.model, next(labelled_batches(run)))
        elif self.kind in GAINED and self.gain == "auto":
            follow_activations_(run.model, next(plain_batches(run))[:2], SQUARED_GAIN[self.kind] ** 0.5)


@torch.no_grad()
def follow_activations_(model: nn.Module, images: torch.Tensor, drawn: float) -> None:
    """Turn weights drawn with one gain into weights with the gain of the activation after each."""
    for layer, activation in activations_after(model, images).items():
        if activation is not None and gain_of(activation) != drawn:
            layer.get_parameter("weight").mul_(gain_of(activation) / drawn)
