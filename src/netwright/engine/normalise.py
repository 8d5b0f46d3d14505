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
        value = image.float().div_(255) if image.dtype == torch.uint8 else image
        n, channels, height, width = value.shape
        pixels = value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
        scale, offset = _constants(tuple(self.mean), tuple(self.std), width if pixels else 0, image.device)
        if not pixels:
            return (value * scale).add_(offset)
        rows = value.permute(0, 2, 3, 1).reshape(n, height, width * channels)  # a view: one long row, not many of three
        return (rows * scale).add_(offset).view(n, height, width, channels).permute(0, 3, 1, 2)

    def window(self, height: int, width: int) -> tuple[int, int]:
        """The size of the output for a stored size."""
        return (self.size or height, self.size or width)


@cache
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """1 / std and −mean / std, on the device once, not once a batch: copying to a GPU makes it wait.

    C 1 1 each; with a width, one value for each channel of each pixel of a row, width · C.
    """
    deviation = torch.tensor(std, dtype=torch.float64)
    scale, offset = 1 / deviation, -torch.tensor(mean, dtype=torch.float64) / deviation
    shaped = (each.repeat(width) if width else each.view(-1, 1, 1) for each in (scale, offset))
    scale, offset = (each.float().to(device) for each in shaped)
    return scale, offset
