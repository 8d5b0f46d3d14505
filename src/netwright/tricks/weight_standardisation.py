"""Standardises each filter of every convolution before it is used."""

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from netwright.core.errors import NetwrightError
from netwright.core.options import Between
from netwright.core.symptoms import Symptom
from netwright.engine.trick import Card, Trick
from netwright.nn.weight_standard import StandardConv2d


@dataclass
class WeightStandardisation(Trick):
    """Filters have mean 0 and variance 1; what scale that gives is for a norm to mend: meant with norm(kind="group").

    Filters of a single weight stay as they are, since nothing of them would be left.

    Attributes:
        eps: added to the variance.
    """

    eps: Annotated[float, Between(1e-12)] = 1e-5

    card = Card(
        paper="Qiao et al., Weight standardization, arXiv:1903.10520, 2019",
        treats=(Symptom.UNSTABLE_LOSS,),
        structure=True,
    )

    def model(self, module: nn.Module) -> nn.Module:
        """Exchange the convolutions in place; their parameters stay the same objects.

        Raises:
            NetwrightError: there is none.
        """
        found = False
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Conv2d and child.weight[0].numel() > 1:
                    setattr(parent, name, StandardConv2d.of(child, self.eps))
                    found = True
        if not found:
            raise NetwrightError(
                f"{type(module).__name__} has no convolutions to standardise",
                "choose a convolutional network, or leave it out: --without weight_standardisation",
            )
        return module
