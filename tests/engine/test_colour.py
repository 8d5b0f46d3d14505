"""Colour maps compose into one product."""

import pytest
import torch

from netwright.engine.colour import Colour, recolour


def maps(n: int, channels: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    linear = torch.eye(channels) + 0.1 * torch.randn(n, channels, channels, generator=draw)
    return linear, 0.05 * torch.randn(n, channels, generator=draw)


def images(n: int, channels: int) -> torch.Tensor:
    return 0.3 + 0.4 * torch.rand(n, channels, 5, 6, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_neutral_is_exactly_nothing(channels: int) -> None:
    given = images(4, channels)
    assert torch.equal(recolour(given, Colour.neutral(given)), given)


def test_a_map_is_applied_pixel_by_pixel() -> None:
    linear, offset = maps(4, 3, 0)
    given = images(4, 3)
    found = recolour(given, Colour.neutral(given).then(linear, offset))
    expected = (torch.einsum("nij,njhw->nihw", linear.double(), given.double()) + offset[..., None, None]).clamp(0, 1)
    torch.testing.assert_close(
        found.double(), expected, rtol=0, atol=1e-6
    )  # four roundings of values below 1, 6e-8 each
    assert found.shape == given.shape


def test_composed_equals_one_after_the_other() -> None:
    first, second = maps(4, 3, 0), maps(4, 3, 1)
    given = images(4, 3)
    neutral = Colour.neutral(given)
    both = recolour(given, neutral.then(*first).then(*second))
    apart = recolour(recolour(given, neutral.then(*first)), neutral.then(*second))
    torch.testing.assert_close(both, apart, rtol=0, atol=2e-6)  # nothing is clamped in between; about ten roundings
    other = recolour(given, neutral.then(*second).then(*first))
    assert (both - other).abs().max() > 1e-3


def test_scaling_is_a_diagonal_map() -> None:
    factor = torch.tensor([0.5, 1.0, 1.5, 0.0])
    linear, offset = maps(4, 3, 0)
    start = Colour.neutral(images(4, 3)).then(linear, offset)
    scaled, composed = start.scale(factor), start.then(torch.eye(3) * factor[:, None, None])
    torch.testing.assert_close(scaled.linear, composed.linear, rtol=0, atol=1e-6)
    torch.testing.assert_close(scaled.offset, composed.offset, rtol=0, atol=1e-6)


def test_clamped_once_at_the_end() -> None:
    given = torch.full((1, 3, 1, 1), 0.8)
    up, down = torch.eye(3)[None] * 2, torch.eye(3)[None] * 0.5
    neutral = Colour.neutral(given)
    torch.testing.assert_close(recolour(given, neutral.then(up).then(down)), given)
    assert torch.equal(recolour(given, neutral.then(up)), torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_average_is_that_of_the_picture_so_far(channels: int) -> None:
    given = images(4, channels)
    colour = Colour.neutral(given)
    torch.testing.assert_close(colour.average(), given.mean((2, 3)), rtol=0, atol=1e-6)  # a few roundings below 1
    mapped = colour.then(*maps(4, channels, 0)).scale(torch.tensor([0.5, 1.0, 1.1, 0.7]))
    assert (recolour(given, mapped) % 1 > 0).all()  # nothing is clamped
    torch.testing.assert_close(mapped.average(), recolour(given, mapped).mean((2, 3)), rtol=0, atol=2e-6)


def test_average_is_taken_before_clamping() -> None:
    given = torch.tensor([0.2, 0.8]).view(1, 1, 1, 2)
    doubled = Colour.neutral(given).scale(torch.tensor([2.0]))
    torch.testing.assert_close(doubled.average(), torch.tensor([[1.0]]))  # not the 0.7 of 0.4 and 1
