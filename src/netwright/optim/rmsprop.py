"""RMSprop: steps in proportion to the gradient over its root mean square (Hinton 2012, lecture 6e)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from netwright.core.options import Between
from netwright.optim._library import Library
from netwright.optim._optimizer import Beta

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclass
class Rmsprop(Library):
    """torch's RMSprop; weight decay is added to the gradient.

    Attributes:
        alpha: how long the average of the squared gradient remembers.
        momentum: of the scaled gradient; 0.9 for the Inception and MobileNet papers' settings.
        epsilon: keeps the step finite where gradients vanish.
    """

    lr: Annotated[float, Between(0)] = 1e-2
    alpha: Beta = 0.99
    momentum: Annotated[float, Between(0, 1)] = 0.0
    epsilon: Annotated[float, Between(0)] = 1e-8

    def build(self, groups: list[dict[str, Any]]) -> "Optimizer":
        """torch.optim.RMSprop."""
        from torch.optim import RMSprop

        return RMSprop(groups, lr=self.lr, alpha=self.alpha, momentum=self.momentum, eps=self.epsilon)
