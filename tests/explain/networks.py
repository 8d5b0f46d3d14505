"""Small networks whose maps and answers are known in closed form."""

import torch
from torch import Tensor, nn


class Cam(nn.Module):
    """Convolution, mean over places, linear layer: for it Grad-CAM is the class activation map."""

    head_name = "head"
    smallest = 1

    def __init__(self, *, channels: int = 5, classes: int = 3, inplace: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, channels, 3, stride=2, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(channels, classes)

    def maps(self, x: Tensor) -> list[Tensor]:
        first = self.relu(self.first(x))
        return [first, self.relu(self.conv(first))]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.maps(x)[-1].mean((2, 3)))


class Patch(nn.Module):
    """Its class 1 is the brightness of one square of the picture, and of nothing else."""

    def __init__(self, top: int, left: int, side: int, gain: float = 4.0, threshold: float = 0.0) -> None:
        super().__init__()
        self.square = (slice(top, top + side), slice(left, left + side))
        self.gain = gain
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        bright = self.gain * x[:, :, *self.square].mean((1, 2, 3))
        return torch.stack([torch.full_like(bright, self.threshold), bright], 1)


def plain(classes: int = 3) -> nn.Sequential:
    """A network of a user's own, without `stages`."""
    layers = (nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1))
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
