"""Upsampling against torch, against sums written out, and against a 4x4 picture computed by hand."""

import copy
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.nn.upsample import (
    PixelShuffle,
    ResizeConvolution,
    UpsampleKind,
    bilinear_,
    bilinear_kernel,
    icnr_,
    make_upsample,
    transposed,
)

PICTURE = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]])


def plain(mode: str, kernel: int = 1) -> ResizeConvolution:
    """Interpolation alone: the convolution passes everything on."""
    layer = ResizeConvolution(1, 1, mode, kernel=kernel)
    nn.init.dirac_(layer.conv.weight)
    nn.init.zeros_(layer.conv.bias)
    return layer


class TestAPictureByHand:
    def test_nearest_neighbours_repeat(self) -> None:
        wanted = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 5, 5], [3, 3, 5, 5]]
        assert plain("nearest")(PICTURE)[0, 0].tolist() == wanted

    def test_bilinear_weights_are_quarters_and_borders_stay(self) -> None:
        # Along a side of two, places −¼, ¼, ¾, 1¼ of the map: weights of the second value 0, ¼, ¾, 1.
        wanted = [
            [1, 1.25, 1.75, 2],
            [1.5, 1.8125, 2.4375, 2.75],
            [2.5, 2.9375, 3.8125, 4.25],
            [3, 3.5, 4.5, 5],
        ]
        assert plain("bilinear")(PICTURE)[0, 0].tolist() == wanted
        assert plain("bilinear", kernel=3)(PICTURE)[0, 0].tolist() == wanted

    def test_a_transposed_kernel_is_stamped_at_each_pixel(self) -> None:
        layer = transposed(1, 1, bias=False)
        layer.weight.data = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
        wanted = [[1, 10, 2, 20], [100, 1000, 200, 2000], [3, 30, 5, 50], [300, 3000, 500, 5000]]
        assert layer(PICTURE)[0, 0].tolist() == wanted

    def test_overlapping_stamps_add_up(self) -> None:
        layer = transposed(1, 1, kernel=3, bias=False)
        nn.init.ones_(layer.weight)
        # Padding 1 leaves rows 2i − 1 … 2i + 1 of each stamp: even places see one pixel, odd ones two.
        assert layer(PICTURE)[0, 0].tolist() == [[1, 3, 2, 2], [4, 11, 7, 7], [3, 8, 5, 5], [3, 8, 5, 5]]

    def test_shuffled_channels_become_pixels(self) -> None:
        layer = PixelShuffle(1, 1)
        layer.conv.weight.data = torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(4, 1, 1, 1)
        nn.init.zeros_(layer.conv.bias)
        wanted = [[1, 10, 2, 20], [100, 1000, 200, 2000], [3, 30, 5, 50], [300, 3000, 500, 5000]]
        assert layer(PICTURE)[0, 0].tolist() == wanted


class TestFormulas:
    """The sums in the docstrings, written as loops."""

    @pytest.mark.parametrize("factor", [2, 3, 4])
    def test_nearest(self, factor: int) -> None:
        x = torch.rand(5, 7)
        y = [[x[i // factor, j // factor] for j in range(7 * factor)] for i in range(5 * factor)]
        assert torch.equal(F.interpolate(x[None, None], scale_factor=factor)[0, 0], torch.tensor(y))

    @pytest.mark.parametrize("factor", [2, 3, 4])
    def test_bilinear(self, factor: int) -> None:
        x = torch.rand(5, 7, dtype=torch.float64)
        wanted = rows(rows(x, factor).T, factor).T
        given = F.interpolate(x[None, None], scale_factor=factor, mode="bilinear")[0, 0]
        torch.testing.assert_close(given, wanted)

    @pytest.mark.parametrize(("factor", "kernel"), [(2, 2), (2, 3), (2, 4), (2, 5), (4, 8), (3, 4), (8, 16), (2, 7)])
    def test_transposed(self, factor: int, kernel: int) -> None:
        torch.manual_seed(0)
        layer = transposed(2, 3, factor=factor, kernel=kernel).double()
        x = torch.rand(1, 2, 3, 4, dtype=torch.float64)
        cut = -(-(kernel - factor) // 2)
        wanted = layer.bias.detach()[:, None, None].repeat(1, 3 * factor, 4 * factor)
        for i in range(3):
            for j in range(4):
                for a in range(kernel):
                    for b in range(kernel):
                        m, n = factor * i + a - cut, factor * j + b - cut
                        if 0 <= m < 3 * factor and 0 <= n < 4 * factor:
                            wanted[:, m, n] += x[0, :, i, j] @ layer.weight.detach()[:, :, a, b]
        torch.testing.assert_close(layer(x)[0], wanted)

    def test_pixel_shuffle(self) -> None:
        layer, f = PixelShuffle(3, 2, factor=3), 3
        nn.init.normal_(layer.conv.weight)
        x = torch.rand(1, 3, 4, 5)
        z, y = layer.conv(x)[0], layer(x)[0]
        for c in range(2):
            for a in range(f):
                for b in range(f):
                    assert torch.equal(y[c, a::f, b::f], z[c * f * f + a * f + b])


def rows(x: Tensor, factor: int) -> Tensor:
    """Linear interpolation along the first axis, as the docstring has it."""
    n = len(x)
    found = []
    for i in range(n * factor):
        u = min(max((i + 0.5) / factor - 0.5, 0), n - 1)
        low = int(u)
        found.append((1 - (u - low)) * x[low] + (u - low) * x[min(low + 1, n - 1)])
    return torch.stack(found)


class TestResizeConvolution:
    @pytest.mark.parametrize("mode", ["nearest", "bilinear"])
    def test_it_is_torchs_interpolation_and_convolution(self, mode: str) -> None:
        layer = make_upsample(mode, 3, 5, factor=2)
        x = torch.rand(2, 3, 6, 4)
        assert torch.equal(layer(x), layer.conv(F.interpolate(x, scale_factor=2, mode=mode)))

    @pytest.mark.parametrize("mode", ["nearest", "bilinear"])
    def test_a_1x1_convolution_may_come_first(self, mode: str) -> None:
        layer = make_upsample(mode, 3, 5, factor=4, kernel=1).double()
        x = torch.rand(2, 3, 6, 4, dtype=torch.float64)
        torch.testing.assert_close(layer(x), layer.conv(F.interpolate(x, scale_factor=4, mode=mode)))


@pytest.mark.parametrize("kind", get_args(UpsampleKind))
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_kind_multiplies_both_sides(kind: UpsampleKind, factor: int) -> None:
    layer = make_upsample(kind, 4, 3, factor=factor)
    y = layer(torch.rand(2, 4, 3, 5))
    assert y.shape == (2, 3, 3 * factor, 5 * factor)
    y.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_a_kernel_smaller_than_the_factor_is_refused() -> None:
    with pytest.raises(NetwrightError, match="kernel 3 and stride 4 leaves pixels empty") as caught:
        transposed(1, 1, factor=4, kernel=3)
    assert "at least 4" in caught.value.fix


class TestFirstWeights:
    def test_icnr_starts_as_nearest_neighbours(self) -> None:
        layer = PixelShuffle(3, 4, factor=2, kernel=3)
        x = torch.rand(2, 3, 6, 5)
        once = nn.Conv2d(3, 4, 3, padding=1)
        once.weight.data, once.bias.data = layer.conv.weight.data[::4], layer.conv.bias.data[::4]
        torch.testing.assert_close(layer(x), F.interpolate(once(x), scale_factor=2), rtol=0, atol=1e-6)
        assert len({tuple(row) for row in layer.conv.weight.flatten(1).tolist()}) == 4

    def test_icnr_copies_the_first_filter_of_each_channel(self) -> None:
        conv = nn.Conv2d(2, 8, 1)
        before = copy.deepcopy(conv.state_dict())
        icnr_(conv, 2)
        for name, values in conv.state_dict().items():
            assert torch.equal(values, before[name][[0, 0, 0, 0, 4, 4, 4, 4]])

    @pytest.mark.parametrize("factor", [2, 4, 8])
    def test_a_bilinear_kernel_interpolates_away_from_borders(self, factor: int) -> None:
        layer = transposed(3, 3, factor=factor, kernel=2 * factor).double()
        bilinear_(layer)
        x = torch.rand(1, 3, 6, 6, dtype=torch.float64)
        inner = slice(factor // 2, -factor // 2)
        wanted = F.interpolate(x, scale_factor=factor, mode="bilinear")
        torch.testing.assert_close(layer(x)[..., inner, inner], wanted[..., inner, inner])

    def test_channels_may_be_groups(self) -> None:
        apart, together = transposed(3, 3, kernel=4, groups=3), transposed(3, 3, kernel=4)
        bilinear_(apart)
        bilinear_(together)
        x = torch.rand(1, 3, 4, 4)
        torch.testing.assert_close(apart(x), together(x))

    def test_the_kernel_is_the_papers(self) -> None:
        tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
        assert torch.equal(bilinear_kernel(4), torch.outer(tent, tent))
        tent = torch.tensor([0.5, 1.0, 0.5])
        assert torch.equal(bilinear_kernel(3), torch.outer(tent, tent))

    def test_other_channels_cannot_be_interpolated(self) -> None:
        with pytest.raises(NetwrightError, match="cannot turn 3 channels into 2"):
            bilinear_(transposed(3, 2, kernel=4))
