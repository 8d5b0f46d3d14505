"""Binary cross-entropy over labels of which some may be unknown: what tasks and tricks share."""

import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(output: Tensor, target: Tensor, *, gamma: float = 0.0) -> Tensor:
    """The mean over classes of −t log p − (1 − t) log(1 − p), with p = sigmoid(output). N K, N K -> N.

    Classes whose target is NaN are left out of a sample's mean; a sample of which nothing is known has loss 0.

    Args:
        output: logits.
        target: probabilities in [0, 1], or NaN.
        gamma: above 0, each of the two terms is weighted by the probability it is wrong by, to this power (focal loss).
    """
    known = ~target.isnan()
    wanted, output = target.nan_to_num(), output.float()
    yes, no = F.softplus(-output), F.softplus(output)
    if gamma:
        yes, no = yes * doubt(yes, gamma), no * doubt(no, gamma)
    terms = wanted * yes + (1 - wanted) * no
    return (terms * known).sum(1) / known.sum(1).clamp(min=1)


def doubt(cost: Tensor, gamma: float) -> Tensor:
    """(1 − p)^gamma for costs −log p: near 0 where the network is sure. Any shape."""
    # Below power 1 the slope at exactly 0 is infinite; there is nothing to be learnt from such a sample. It is never
    # quite 0: a pixel whose target is 0 for every class would count as ignored.
    return ((-(-cost).expm1()).clamp(min=1e-12) ** gamma).clamp(min=1e-30)


def cross_entropy_of_pixels(output: Tensor, target: Tensor) -> Tensor:
    """The mean over labelled pixels of −Σ target · log softmax(output). N K H W, N K H W -> scalar.

    A pixel is labelled where its target's sum over K, its weight, is above 0. Without any the loss is 0.
    """
    labelled = (target.sum(1) > 0).sum()
    return -(target * output.float().log_softmax(1)).sum() / labelled.clamp(min=1)


def binary_cross_entropy_of_pixels(output: Tensor, target: Tensor, *, gamma: float = 0.0) -> Tensor:
    """The mean over known targets of −t log p − (1 − t) log(1 − p), with p = sigmoid(output). Both N K H W -> scalar.

    Args:
        output: logits.
        target: probabilities in [0, 1], or NaN where nothing is known.
        gamma: as in `binary_cross_entropy`.
    """
    known = (~target.isnan()).flatten()
    each = binary_cross_entropy(output.flatten()[:, None], target.flatten()[:, None], gamma=gamma)
    return each.sum() / known.sum().clamp(min=1)
