"""Initial weights that more than one family uses."""

from torch import nn


def keep_scale(layer: nn.Module) -> None:
    """Convolutions as He et al. 2015 (arXiv:1502.01852) by fan-in, for want of a norm that mends what they multiply.

    Those of each channel by itself have no activation between them and the 1x1 convolution that follows.
    """
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if layer.groups == 1 else "linear")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
