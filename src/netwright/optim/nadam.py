"""NAdam: Adam with Nesterov's momentum (Dozat 2016)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from netwright.core.options import Between
from netwright.optim._library import Library
from netwright.optim._optimizer import Beta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class Nadam(Library):
    """torch's NAdam; weights shrink by lr · weight_decay at each step, as AdamW's do.

    Attributes:
        betas: how long the averages of the gradient and of its square remember.
        epsilon: keeps the step finite where gradients vanish.
    """

    lr: Annotated[float, Between(0)] = 2e-3
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    epsilon: Annotated[float, Between(0)] = 1e-8

    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """torch.optim.NAdam."""
        from torch.optim import NAdam

        return NAdam(groups, lr=self.lr, betas=self.betas, eps=self.epsilon, decoupled_weight_decay=True)
