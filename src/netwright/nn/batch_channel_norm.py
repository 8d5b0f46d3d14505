"""Batch normalisation, then normalisation over groups of channels (Qiao et al. 2019, arXiv:1911.09738)."""

from torch import Tensor, nn


class BatchChannelNorm2d(nn.Module):
    """channel(batch(x)), each with a weight and a bias a channel.

    The second keeps channels apart from zero where the first alone lets some of them die.

    Args:
        channels: of the maps.
        groups: of channels, for the second.
        eps: added to the variances.
        momentum: the newest batch's share in the running statistics.
    """

    def __init__(self, channels: int, groups: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__()
        self.batch = nn.BatchNorm2d(channels, eps, momentum)
        self.channel = nn.GroupNorm(groups, channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        return self.channel(self.batch(x))
