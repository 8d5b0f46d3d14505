"""The last thing that happens to values before the network sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalise:
    """(value − mean) / std for each channel, of values in [0, 1]; and the size that the network sees.

    `size` None leaves pictures as large as they are stored.
    """

    mean: Sequence[float]
    std: Sequence[float]
    size: int | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Bytes, or values in [0, 1], N C H W -> the same shape, float32. Both ways give the same bits."""
        mean, std = _constants(tuple(self.mean), tuple(self.std), image.device)
        return image.float().div_(255).sub_(mean).div_(std) if image.dtype == torch.uint8 else (image - mean) / std

    def window(self, height: int, width: int) -> tuple[int, int]:
        """The size of the output for a stored size."""
        return (self.size or height, self.size or width)


@cache
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """On the device once, not once a batch: copying to a GPU makes it wait. C 1 1 each."""
    return torch.tensor(mean, device=device).view(-1, 1, 1), torch.tensor(std, device=device).view(-1, 1, 1)
