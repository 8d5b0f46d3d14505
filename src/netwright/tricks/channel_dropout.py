"""Blanks one channel of some pictures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Trick
from netwright.tricks._pixels import CORRUPTS
from netwright.tricks._places import COLOURS, before

if TYPE_CHECKING:
    from netwright.engine.run import Run


@dataclass
class ChannelDropout(Trick):
    """With `probability`, one channel of a picture, each as likely, is filled; an only channel stays.

    Attributes:
        probability: how often.
        fill: the value that fills, in [0, 1].
    """

    probability: Annotated[float, Between(0, 1)] = 0.2
    fill: Annotated[float, Between(0, 1)] = 0.5

    card = Card(
        paper="Buslaev et al., Albumentations: Fast and flexible image augmentations, Information 2020",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        tasks=("classification", "multi_label", "segmentation"),
        why=CORRUPTS,
        after=before("channel_dropout", COLOURS),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """v ↦ fill in the channel that is drawn."""
        channels = colour.linear.shape[1]
        if channels == 1:
            return colour
        which, drawn = run.uniform(self.name, 2).unbind(1)
        places = torch.arange(channels, device=which.device)
        dropped = (places == (which * channels).long()[:, None]) & (drawn < self.probability)[:, None]
        return filled(colour, dropped, self.fill)


def filled(colour: Colour, dropped: Tensor, fill: float) -> Colour:
    """v ↦ fill in channels that are `dropped`, N C."""
    kept = 1 - dropped.float()
    return colour.then(torch.diag_embed(kept), (1 - kept) * fill)
