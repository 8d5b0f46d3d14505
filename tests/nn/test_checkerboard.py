"""The checkerboard score on bare upsamplers, whose scores are known, and on networks."""

import pytest
import torch
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.models import create_model
from netwright.nn.checkerboard import checkerboard, relative_deviation
from netwright.nn.upsample import PixelShuffle, bilinear_, make_upsample, transposed

DRAWS, CHANNELS = 40, 16


def mean_score(kind: str) -> tuple[float, float]:
    """Mean over draws of first weights, and its standard error."""
    scores: list[float] = []
    for seed in range(DRAWS):
        torch.manual_seed(seed)
        scores.append(checkerboard(random_layer(kind), CHANNELS, 2).score)
    found = torch.tensor(scores)
    return float(found.mean()), float(found.std() / DRAWS**0.5)


def random_layer(kind: str) -> nn.Module:
    if kind.startswith("transposed"):
        return transposed(CHANNELS, CHANNELS, kernel=int(kind[-1]))
    layer = PixelShuffle(CHANNELS, CHANNELS)
    layer.conv.reset_parameters()  # without ICNR
    return layer


class TestBareUpsamplers:
    """A pilot had .97 for kernel 3, 1.02 for 4, .96 for 2, .98 for 5, 1.00 for shuffled pixels, 0 for interpolation."""

    @pytest.mark.parametrize(
        ("kind", "published"),
        [("transposed3", 0.97), ("transposed4", 1.02), ("transposed2", 0.96), ("transposed5", 0.98), ("pixels", 1.0)],
    )
    def test_random_kernels_checker_as_much_as_independent_values(self, kind: str, published: float) -> None:
        # One draw of 16 channels has a deviation of 0.06; the published figures are of a few draws.
        mean, error = mean_score(kind)
        assert abs(mean - published) < 4 * error + 0.06
        assert 0 < error < 0.02

    @pytest.mark.parametrize("mode", ["nearest", "bilinear"])
    def test_interpolation_and_convolution_is_even(self, mode: str) -> None:
        assert checkerboard(make_upsample(mode, 8, 8), 8, 2).score == 0.0

    def test_icnr_is_even(self) -> None:
        assert checkerboard(PixelShuffle(8, 8, kernel=3), 8, 2).score == 0.0

    @pytest.mark.parametrize("factor", [2, 4, 8])
    def test_bilinear_first_weights_are_even(self, factor: int) -> None:
        layer = transposed(4, 4, factor=factor, kernel=2 * factor)
        bilinear_(layer)
        assert checkerboard(layer, 4, factor).score < 1e-7

    def test_equal_weights_show_the_overlap_alone(self) -> None:
        # Kernel 3, stride 2: pixels are the sum of 1, 2, 2 and 4 terms. Mean square 25/4, variance 19/12·… by hand:
        # Σ(v − 9/4)² = 25 − 81/4 = 19/4, s² = 19/12, and so √((19/12)/(25/4)) = √(19/75).
        layer = transposed(1, 1, kernel=3, bias=False)
        nn.init.ones_(layer.weight)
        assert checkerboard(layer, 1, 2).score == pytest.approx((19 / 75) ** 0.5)
        even = transposed(1, 1, kernel=4, bias=False)
        nn.init.ones_(even.weight)
        assert checkerboard(even, 1, 2).score == 0.0


class TestRelativeDeviation:
    def test_independent_values_have_1_on_average(self) -> None:
        torch.manual_seed(0)
        found = relative_deviation(torch.randn(20_000, 2, 2))
        assert found == pytest.approx(1, abs=0.02)  # 20,000 variances of 3 degrees of freedom: √(2/3/20,000)/2 = 0.003

    def test_a_pattern_of_mean_0_has_the_most(self) -> None:
        assert relative_deviation(torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])) == pytest.approx((4 / 3) ** 0.5)

    def test_scale_does_not_matter_and_nothing_is_even(self) -> None:
        pattern = torch.rand(3, 4, 4)
        assert relative_deviation(5 * pattern) == pytest.approx(relative_deviation(pattern))
        assert relative_deviation(torch.zeros(3, 4, 4)) == 0
        assert relative_deviation(torch.full((3, 1, 1), 2.0)) == 0


class Net(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class TestNetworks:
    @pytest.mark.parametrize(
        ("upsample", "least", "most"), [("nearest", 0, 1e-3), ("transposed", 0, 1e-3), ("random", 0.1, 1.2)]
    )
    def test_a_whole_network_is_scored_far_from_its_borders(self, upsample: str, least: float, most: float) -> None:
        torch.manual_seed(0)
        kind = "'transposed', start='random'" if upsample == "random" else f"'{upsample}'"
        model = create_model(f"unet(encoder='vgg(blocks=2, layers=1, width=4)', width=4, upsample={kind})")
        found = checkerboard(model, 3, model.stride)
        assert least <= found.score <= most
        assert found.drift <= 3e-3

    def test_the_image_grows_until_borders_do_not_matter(self) -> None:
        blur = nn.Conv2d(1, 1, 17, padding=8, bias=False)
        nn.init.constant_(blur.weight, 1 / 17**2)
        found = checkerboard(Net(blur), 1, 2)
        assert found.side == 32 and found.score == 0  # of 16 pixels, the kernel sees all or all but one

    def test_modes_and_gradients_stay_as_they_were(self) -> None:
        model = nn.Sequential(nn.Dropout(0.5), make_upsample("nearest", 2, 2)).train()
        checkerboard(model, 2, 2)
        assert model.training and model[0].training

    def test_what_makes_no_map_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match="has no three periods of 2 pixels"):
            checkerboard(nn.Flatten(), 3, 2)
