"""Occlusion: a network that looks at one square says so."""

import pytest
import torch

from netwright.core.errors import NetwrightError
from netwright.explain import METHODS
from netwright.explain._method import Subject
from netwright.explain.occlusion import Occlusion
from tests.explain.networks import Patch

ONE = torch.tensor([1])


def bright(side: int = 16) -> torch.Tensor:
    """A dark picture with one bright square, at which `Patch(4, 8, 4)` looks."""
    image = torch.zeros(1, 3, side, side)
    image[:, :, 4:8, 8:12] = 2.0
    return image


def test_the_heat_is_where_the_network_looks_and_as_large_as_the_fall() -> None:
    heat = Occlusion(size=4, stride=4, fill="zero").heat(Subject(Patch(4, 8, 4)), bright(), ONE)[0]
    fall = torch.sigmoid(torch.tensor(8.0)) - 0.5  # e^8 : e^0 before, and nothing bright is left after
    expected = torch.zeros(16, 16)
    expected[4:8, 8:12] = fall
    torch.testing.assert_close(heat, expected, rtol=1e-5, atol=1e-6)


def test_overlapping_squares_are_averaged() -> None:
    """A pixel that two squares cover has the mean of their falls."""
    subject = Subject(Patch(0, 0, 1))
    image = torch.ones(1, 3, 1, 1).expand(1, 3, 3, 3).clone()
    heat = Occlusion(size=2, stride=1, fill="zero").heat(subject, image, ONE)[0]
    fall = float(torch.sigmoid(torch.tensor(4.0)) - 0.5)
    expected = fall * torch.tensor([[1, 1 / 2, 0], [1 / 2, 1 / 4, 0], [0, 0, 0]])
    torch.testing.assert_close(heat, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fill", ["mean", "blur", "zero"])
def test_every_filling_finds_it(fill: str) -> None:
    method = METHODS.build(f"occlusion(size=4, stride=2, fill={fill!r})")
    heat = method.heat(Subject(Patch(4, 8, 4)), bright(), ONE)[0]
    row, column = divmod(int(heat.argmax()), 16)
    assert 4 <= row < 8
    assert 8 <= column < 12


def test_what_speaks_against_a_class_is_negative() -> None:
    heat = Occlusion(size=4, stride=4, fill="zero").heat(Subject(Patch(4, 8, 4)), bright(), torch.tensor([0]))
    assert heat.min() < -0.4
    assert heat.max() <= 0


def test_the_edges_are_covered_and_pictures_do_not_mix() -> None:
    """A side that the stride does not divide: each pixel is covered, and each picture answers for itself."""
    image = torch.cat([bright(17), torch.zeros(1, 3, 17, 17)])
    heat = Occlusion(size=4, stride=3, fill="zero").heat(Subject(Patch(4, 8, 4)), image, torch.tensor([1, 1]))
    assert heat.shape == (2, 17, 17)
    assert heat.isfinite().all()
    assert heat[1].abs().max() == 0


def test_squares_that_cannot_be() -> None:
    subject = Subject(Patch(4, 8, 4))
    with pytest.raises(NetwrightError, match="20 pixels does not fit in 16x16"):
        Occlusion(size=20).heat(subject, bright(), ONE)
    with pytest.raises(NetwrightError, match="stride 5 leaves gaps"):
        Occlusion(size=4, stride=5).heat(subject, bright(), ONE)
    with pytest.raises(NetwrightError, match="occlusion: fill cannot be 'grey'"):
        METHODS.build("occlusion(fill='grey')")
