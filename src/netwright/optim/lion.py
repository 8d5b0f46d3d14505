"""Lion: steps by the sign of an averaged gradient (Chen et al. 2023)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from netwright.core.options import Between
from netwright.optim._library import Library
from netwright.optim._optimizer import Beta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class Lion(Library):
    """timm's Lion. Every weight moves by the whole rate, so take a third to a tenth of AdamW's, and as much more decay.

    Attributes:
        betas: how much the step, and how long the average, remember.
    """

    lr: Annotated[float, Between(0)] = 1e-4
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: Annotated[float, Between(0)] = 0.1

    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """timm.optim.Lion."""
        from timm.optim import Lion as Timm

        return Timm(groups, lr=self.lr, betas=self.betas)
