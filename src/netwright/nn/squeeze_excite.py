"""Squeeze-and-excitation: a gate a channel, read off the whole map (Hu, Shen & Sun 2017, arXiv:1709.01507)."""

from torch import Tensor, nn

from netwright.nn.activation import ActivationKind, make_activation


class SqueezeExcite(nn.Module):
    """x · gate(fc2(activation(fc1(mean of x)))), submodules named as in torchvision.

    Args:
        channels: of the map.
        squeezed: channels between the two 1x1 convolutions.
        activation: between the two.
        gate: after the second: sigmoid, or a cheaper function into [0, 1].
    """

    def __init__(
        self, channels: int, squeezed: int, *, activation: ActivationKind = "relu", gate: ActivationKind = "sigmoid"
    ) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = make_activation(activation)
        self.scale_activation = make_activation(gate)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W -> N C H W."""
        mean = x.mean((2, 3), keepdim=True)  # N C H W -> N C 1 1
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(mean))))
