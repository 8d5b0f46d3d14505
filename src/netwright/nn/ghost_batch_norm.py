"""Batch normalisation over parts of a batch (Hoffer, Hubara & Soudry 2017, arXiv:1705.08741)."""

import torch
from torch import Tensor, nn


class GhostBatchNorm2d(nn.BatchNorm2d):
    """In training each part of a batch has its own statistics; the running ones take in part after part.

    Args:
        channels: of the maps.
        size: pictures of a part, at least: a batch that is not a multiple is cut into equal parts that are larger.
        eps: added to the variance.
        momentum: the newest part's share in the running statistics.
    """

    def __init__(self, channels: int, size: int = 32, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(channels, eps, momentum)
        self.size = size

    def forward(self, input: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        parts = max(1, len(input) // self.size)
        if not self.training or parts == 1:
            return super().forward(input)
        return torch.cat([super(GhostBatchNorm2d, self).forward(part) for part in input.tensor_split(parts)])

    def extra_repr(self) -> str:
        """For printing."""
        return f"{super().extra_repr()}, size={self.size}"
