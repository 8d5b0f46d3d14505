"""Spares biases and normalisation from weight decay."""

from dataclasses import dataclass

from torch import Tensor

from netwright.engine.plans import OptimPlan
from netwright.engine.trick import Card, Trick


@dataclass
class NoDecay(Trick):
    """Parameters with one value a channel, or one in all (biases, scales, shifts), get no weight decay."""

    card = Card(paper="He et al., Bag of tricks for image classification with CNNs, CVPR 2019, §3.1")

    def optim(self, plan: OptimPlan) -> OptimPlan:
        """Two groups from one."""
        return plan.split(lambda _, parameter: one_a_channel(parameter), decay=0.0)


def one_a_channel(parameter: Tensor) -> bool:
    """Whether this is a vector over channels, C or C 1 1 as layer scales are; a 1x1 kernel K C 1 1 is not."""
    return parameter.dim() <= 1 or (parameter.dim() == 3 and parameter.shape[1:] == (1, 1))
