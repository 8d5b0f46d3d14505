"""LAMB: Adam whose step is as long, layer by layer, as the layer's weights: for large batches (You et al. 2020)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from netwright.core.options import Between
from netwright.optim._library import Library
from netwright.optim._optimizer import Beta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class Lamb(Library):
    """timm's LAMB. Groups without weight decay take Adam's step; to clip the gradient first, add `grad_clip`.

    Attributes:
        betas: how long the averages of the gradient and of its square remember.
        epsilon: keeps the step finite where gradients vanish.
    """

    lr: Annotated[float, Between(0)] = 5e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Annotated[float, Between(0)] = 1e-6
    weight_decay: Annotated[float, Between(0)] = 0.02

    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """timm.optim.Lamb."""
        from timm.optim import Lamb as Timm

        return Timm(groups, lr=self.lr, betas=self.betas, eps=self.epsilon, max_grad_norm=None)
