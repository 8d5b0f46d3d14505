"""Slopes against closed forms, dead units and shifts against what was planted, and a network left as it was."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from netwright.engine.unit_statistics import FLAT, slope, unit_statistics
from tests.support import hash_of


class Probe(nn.Module):
    """Gives its input to an activation, once or more often."""

    def __init__(self, activation: nn.Module, *, times: int = 1) -> None:
        super().__init__()
        self.activation = activation
        self.times = times
        self.head = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.activation(x)
        return self.head(x.mean((2, 3)))


def maps(*channels: float, n: int = 3) -> Tensor:
    return torch.tensor(channels)[None, :, None, None].expand(n, -1, 4, 4).contiguous()


@pytest.mark.parametrize(
    ("activation", "derivative"),
    [
        (nn.ReLU(), lambda z: (z > 0).float()),
        (nn.ReLU(inplace=True), lambda z: (z > 0).float()),
        (nn.Tanh(), lambda z: 1 - z.tanh() ** 2),
        (nn.Sigmoid(), lambda z: z.sigmoid() * (1 - z.sigmoid())),
        (nn.LeakyReLU(0.1), lambda z: torch.where(z > 0, 1.0, 0.1)),
    ],
)
def test_slopes_equal_their_closed_forms(activation: nn.Module, derivative: Callable[[Tensor], Tensor]) -> None:
    z = torch.linspace(-5, 5, 40)  # no knot at 0
    before = z.clone()
    found, output = slope(activation, z)
    torch.testing.assert_close(found, derivative(before))
    assert torch.equal(z, before)
    torch.testing.assert_close(output, activation(before.clone()))


class TestActivations:
    def test_a_rectified_unit_is_dead_where_its_input_is_negative_everywhere(self) -> None:
        (found,) = unit_statistics(Probe(nn.ReLU()), [maps(1.0, -1.0)]).activations
        assert found.dead.tolist() == [False, True]
        np.testing.assert_allclose(found.flat, [0.5, 0.5, 0.5])
        assert found.scale == pytest.approx(0.5**0.5)

    def test_one_answer_in_one_picture_of_one_batch_keeps_a_unit_alive(self) -> None:
        late = maps(1.0, -1.0)
        late[2, 1, 3, 3] = 0.1
        (found,) = unit_statistics(Probe(nn.ReLU()), [maps(1.0, -1.0), late]).activations
        assert not found.dead.any()
        np.testing.assert_allclose(found.flat, [0.5] * 5 + [15 / 32])

    def test_tanh_is_flat_above_its_slope_s_threshold(self) -> None:
        edge = float(np.arctanh(np.sqrt(1 - FLAT)))  # where 1 - tanh² is FLAT
        (found,) = unit_statistics(Probe(nn.Tanh()), [maps(edge - 0.01, -edge - 0.01)]).activations
        assert found.dead.tolist() == [False, True]

    def test_one_module_used_twice_is_seen_twice(self) -> None:
        found = unit_statistics(Probe(nn.Tanh(), times=2), [maps(1.0, 20.0)] * 2).activations
        assert [part.dead.tolist() for part in found] == [[False, True], [False, False]]
        assert {len(part.flat) for part in found} == {6}


class TestNorms:
    def test_shift_and_ratio_are_those_of_the_running_statistics(self) -> None:
        norm = nn.BatchNorm2d(2, eps=0.0)
        norm.running_mean, norm.running_var = torch.tensor([0.0, 1.0]), torch.tensor([4.0, 4.0])
        draw = torch.randn(50, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        draw = (draw - draw.mean((0, 2, 3), keepdim=True)) / draw.std((0, 2, 3), correction=0, keepdim=True)
        x = (draw * torch.tensor([3.0, 2.0])[:, None, None] + torch.tensor([2.0, 1.0])[:, None, None]).float()
        (found,) = unit_statistics(Probe(norm), list(x.split(20))).norms
        np.testing.assert_allclose(found.shift, [1.0, 0.0], atol=1e-6)  # (2 - 0) / 2 and (1 - 1) / 2
        np.testing.assert_allclose(found.log_ratio, [np.log(9 / 4), 0.0], atol=1e-6)

    def test_the_network_stays_as_it_was(self) -> None:
        network = Probe(nn.BatchNorm2d(2)).train()
        before = hash_of(network.state_dict())
        unit_statistics(network, [maps(1.0, -1.0)])
        assert hash_of(network.state_dict()) == before
        assert network.training
        assert not network.activation._forward_pre_hooks
