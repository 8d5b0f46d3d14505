"""Spares biases and normalisation from weight decay."""

from dataclasses import dataclass

from netwright.engine.plans import OptimPlan
from netwright.engine.trick import Card, Trick


@dataclass
class NoDecay(Trick):
    """Parameters with one dimension or none (biases, scales, shifts) get no weight decay."""

    card = Card(paper="He et al., Bag of tricks for image classification with CNNs, CVPR 2019, §3.1")

    def optim(self, plan: OptimPlan) -> OptimPlan:
        """Two groups from one."""
        return plan.split(lambda _, parameter: parameter.dim() <= 1, decay=0.0)
