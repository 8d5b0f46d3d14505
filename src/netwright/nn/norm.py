"""Normalisation by name, for feature maps: batch, layer, instance, group (Wu & He 2018, arXiv:1803.08494), or none."""

from typing import Literal

from torch import nn

NormKind = Literal["batch", "layer", "instance", "group", "none"]

MOST_GROUPS = 32  # the group normalisation paper's choice for every layer of its networks


def make_norm(kind: NormKind, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """A normalisation layer for maps of shape N C H W, with a weight and a bias a channel.

    `layer` takes its statistics over C, H and W, which is one group of all channels; torch's `LayerNorm` over C alone
    is another layer. `none` is the identity: give the convolution before it a bias. `eps` is added to the variance;
    `momentum` is the newest batch's share in the running statistics that batch normalisation keeps.
    """
    match kind:
        case "batch":
            return nn.BatchNorm2d(channels, eps, momentum)
        case "layer":
            return nn.GroupNorm(1, channels, eps)
        case "instance":
            return nn.InstanceNorm2d(channels, eps, affine=True)
        case "group":
            return nn.GroupNorm(group_count(channels), channels, eps)
        case "none":
            return nn.Identity()


def group_count(channels: int) -> int:
    """The most groups, up to 32, that divide the channels and hold two or more: one each is instance normalisation."""
    most = max(1, min(MOST_GROUPS, channels // 2))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)
