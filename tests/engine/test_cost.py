"""Multiply-adds, memory and receptive fields against counts by hand and against what a gradient reaches."""

import math

import pytest
import torch
from torch import Tensor, nn

from netwright.engine.cost import EVERYTHING, Operation, Tracer, macs_of, trace
from netwright.models import create_model


def last(model: nn.Module, side: int = 64, channels: int = 1) -> Operation:
    return trace(model, torch.zeros(1, channels, side, side)).operations[-1]


def reached(model: nn.Module, side: int) -> int:
    """The width of what a value in the middle of the map depends on, by its gradient."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1.0)
    x = torch.rand(1, 1, side, side, requires_grad=True)
    y = model(x)
    y[..., y.shape[-2] // 2, y.shape[-1] // 2].sum().backward()
    assert x.grad is not None
    columns = (x.grad[0, 0] != 0).any(0).nonzero()
    return int(columns.max() - columns.min()) + 1


class Join(nn.Module):
    """A branch beside the identity."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Gate(nn.Module):
    """Channels weighed by their mean."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def conv(kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, stride, dilation * (kernel // 2), dilation)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (nn.Sequential(conv(3), conv(3), conv(3)), 7),
        (nn.Sequential(conv(7, 2), conv(3, 2), conv(3)), 7 + 2 * 2 + 2 * 4),
        (nn.Sequential(conv(3, dilation=2), conv(3, dilation=4)), 1 + 4 + 8),
        (nn.Sequential(conv(3), nn.AvgPool2d(2), conv(3)), 3 + 1 + 4),
        (nn.Sequential(Join(conv(5)), Join(nn.Sequential(conv(3), conv(3)))), 5 + 4),
        (nn.Sequential(conv(3, 2), conv(3, 2), nn.Upsample(scale_factor=2), conv(3)), 3 + 4 + 4),
        (nn.Sequential(conv(3, 2), nn.ConvTranspose2d(1, 1, 2, 2), conv(3)), 3 + 2),
    ],
)
def test_a_receptive_field_is_what_a_gradient_reaches(network: nn.Module, side: int) -> None:
    assert last(network).view.side == side
    # Behind an upsampling, neighbours share what they were made from: a value reaches up to a coarse step less.
    resized = any(isinstance(layer, nn.Upsample | nn.ConvTranspose2d) for layer in network)
    assert side - (4 if resized else 0) <= reached(network, 64) <= side


def test_max_pooling_sees_its_window() -> None:
    assert last(nn.Sequential(conv(7, 2), nn.MaxPool2d(3, 2, 1))).view.side == 11


def test_a_gate_is_left_out_and_a_global_mean_is_not() -> None:
    assert last(nn.Sequential(conv(3), Gate(), conv(3))).view.side == 5
    assert last(nn.Sequential(conv(3), nn.AdaptiveAvgPool2d(1))).view == EVERYTHING
    assert math.isinf(last(nn.Sequential(conv(3), nn.Flatten(), nn.Linear(64 * 64, 2))).view.side)


def test_each_result_is_counted_once_and_views_are_free() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 10))
    done = trace(network, torch.zeros(1, 1, 8, 8)).operations
    assert sum(operation.bytes for operation in done) == 4 * (4 * 64 + 4 * 64 + 10)
    assert sum(operation.params for operation in done) == sum(p.numel() for p in network.parameters())


def test_what_is_not_used_is_known() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    network.add_module("idle", Idle())
    image = torch.zeros(1, 1, 8, 8)
    with torch.no_grad(), Tracer(network, image) as tracer:
        network(image)
    assert tracer.unused == 12


class Idle(nn.Module):
    """Has weights, uses none."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_multiply_adds_are_counted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10))
    assert macs_of(model, torch.zeros(1, 3, 4, 4)) == 16 * 8 * 27 + 128 * 10
    grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8)  # depthwise: one input channel a filter
    assert macs_of(grouped, torch.zeros(1, 8, 4, 4)) == 16 * 8 * 9
    # He et al. 2015: ResNet-20 has some 41 million.
    assert 40e6 < macs_of(create_model("resnet20"), torch.zeros(1, 3, 32, 32)) < 42e6


def test_counting_leaves_the_model_as_it_was() -> None:
    model = create_model("resnet20").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    macs_of(model, torch.randn(1, 3, 32, 32))
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
