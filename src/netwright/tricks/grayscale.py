"""Takes the colour out of some pictures."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.colour import Colour
from netwright.engine.trick import Card, Trick
from netwright.tricks._places import COLOURS, before

if TYPE_CHECKING:
    from netwright.engine.run import Run

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


@dataclass
class Grayscale(Trick):
    """Each picture becomes grey with `probability`; its channels stay three. Grey pictures stay as they are."""

    probability: Annotated[float, Between(0, 1)] = 0.2

    card = Card(
        paper="Chen et al., A simple framework for contrastive learning of visual representations, ICML 2020",
        neutral={"probability": 0.0},
        strong={"probability": 1.0},
        treats=(Symptom.OVERFITTING,),
        after=before("grayscale", COLOURS),
    )

    def colour(self, colour: Colour, run: "Run") -> Colour:
        """Every channel ↦ 0.299 R + 0.587 G + 0.114 B."""
        if not coloured(self.name, colour):
            return colour
        chosen = run.chosen(self.name, self.probability)
        return mixed_with_grey(colour, 1 - chosen.float())


def mixed_with_grey(colour: Colour, factor: Tensor) -> Colour:
    """v ↦ f v + (1 − f) · luma(v), for three channels. Shape of the factor: N."""
    factor = factor[:, None, None]
    eye = torch.eye(3, device=factor.device)
    return colour.then(factor * eye + (1 - factor) * _luma(factor.device))


def luma(values: Tensor) -> Tensor:
    """How bright colours look; where there are not three channels, their mean. N C -> N."""
    return values @ _luma(values.device) if values.shape[1] == 3 else values.mean(1)


def coloured(name: str, colour: Colour) -> bool:
    """Whether pictures have red, green and blue, rather than grey alone.

    Raises:
        NetwrightError: they have another number of channels.
    """
    channels = colour.linear.shape[1]
    if channels not in (1, 3):
        raise NetwrightError(
            f"{name} needs red, green and blue; these pictures have {channels} channels",
            f"leave it out with --without {name}",
        )
    return channels == 3


@cache
def _luma(device: torch.device) -> Tensor:
    """On the device once, not once a batch: copying to a GPU makes it wait. C."""
    return torch.tensor(LUMA, device=device)
