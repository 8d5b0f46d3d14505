"""Colour, composed: every colour trick multiplies one affine map of the channels, applied once and clamped once."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Colour:
    """An affine map of the channels for each picture: values in [0, 1] to values, before one final clamp.

    Attributes:
        linear: N C C.
        offset: N C.
        pictures: what the map will be applied to, N C H W, values in [0, 1]; tricks may look at it.
    """

    linear: Tensor
    offset: Tensor
    pictures: Tensor

    @classmethod
    def neutral(cls, pictures: Tensor) -> "Colour":
        """The map that changes nothing. N C H W."""
        n, channels = pictures.shape[:2]
        linear = torch.eye(channels, device=pictures.device).repeat(n, 1, 1)
        return cls(linear, torch.zeros(n, channels, device=pictures.device), pictures)

    def then(self, linear: Tensor, offset: Tensor | None = None) -> "Colour":
        """One more map: `linear` N C C, `offset` N C."""
        moved = (linear @ self.offset[..., None])[..., 0]
        return replace(self, linear=linear @ self.linear, offset=moved if offset is None else moved + offset)

    def scale(self, factor: Tensor) -> "Colour":
        """Multiply every channel by `factor`, N."""
        return replace(self, linear=self.linear * factor[:, None, None], offset=self.offset * factor[:, None])

    def average(self) -> Tensor:
        """The mean of each channel after the maps so far, before clamping. N C."""
        return (self.linear @ self.pictures.mean((2, 3))[..., None])[..., 0] + self.offset


def recolour(images: Tensor, colour: Colour) -> Tensor:
    """Apply a colour map and clamp to [0, 1]. N C H W."""
    n, channels, height, width = images.shape
    planes = images.reshape(n, channels, height * width)
    return torch.baddbmm(colour.offset[..., None], colour.linear, planes).clamp_(0, 1).view(images.shape)
