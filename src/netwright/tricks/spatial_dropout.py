"""Drops whole channels of feature maps, whose pixels say too much alike to be dropped one by one."""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Range, Trick
from netwright.nn.dropper import Dropper
from netwright.nn.places import stage_ends


@dataclass
class SpatialDropout(Trick):
    """In training each channel of a picture's map is 0 with probability `rate`, else multiplied by 1/(1 - rate).

    Attributes:
        rate: share of channels dropped.
        stages: at the end of how many of the last stages; in a network of your own, after how many convolutions.
    """

    rate: Annotated[float, Between(0, 1)] = 0.1
    stages: Annotated[int, Between(1)] = 1

    card = Card(
        paper="Tompson et al., Efficient object localization using convolutional networks, CVPR 2015, §3.2",
        neutral={"rate": 0.0},
        strong={"rate": 0.5},
        ranges={"rate": Range(0.05, 0.3)},
        treats=(Symptom.OVERFITTING,),
        after=("norm", "weight_standardisation", "whitening"),  # which exchange layers
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Let channels be dropped at the ends of stages."""
        for place in stage_ends(module, self.stages) if self.rate else ():
            place.attach(DropChannels(self.rate))
        return module


@dataclass
class DropChannels(Dropper):
    """Spatial dropout."""

    rate: float

    def dropped(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        return F.dropout2d(x, self.rate)
