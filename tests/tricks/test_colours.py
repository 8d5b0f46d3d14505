"""Colour tricks against torchvision, Python's colorsys and closed forms."""

import colorsys
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from netwright.core.errors import NetwrightError
from netwright.engine.colour import Colour, recolour
from netwright.tricks import TRICKS
from netwright.tricks.channel_dropout import filled
from netwright.tricks.contrast import contrasted
from netwright.tricks.grayscale import mixed_with_grey
from netwright.tricks.hue import turned
from netwright.tricks.invert import negative
from tests.support import tiny_run
from tests.tricks.test_maths import WIDE

FACTORS = torch.tensor([0.0, 0.3, 0.8, 1.0, 1.2, 1.9])
# torchvision weighs red by 0.2989 where the standard says 0.299: greys differ by up to 1e-4, and so do blends with
# factors within 1 of one; then a few roundings of values near 1.
RED = 1.1e-4


def pictures(n: int = len(FACTORS), channels: int = 3) -> Tensor:
    return torch.rand(n, channels, 5, 7, generator=torch.Generator().manual_seed(0))


def neutral(given: Tensor) -> Colour:
    return Colour.neutral(given)


def drawn(name: str, given: Tensor, seed: int = 0, **options: float) -> Tensor:
    """Pictures under a trick, as the station draws it."""
    run = tiny_run(TRICKS.load(name)(**options), seed=seed)
    run.ids = torch.arange(len(given))
    return recolour(given, run.tricks.through("colour", neutral(given), run))


class TestContrast:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_is_torchvisions(self, channels: int) -> None:
        given = pictures(channels=channels)
        found = recolour(given, contrasted(neutral(given), FACTORS))
        expected = torch.stack([tv.adjust_contrast(p, float(f)) for p, f in zip(given, FACTORS, strict=True)])
        torch.testing.assert_close(found, expected, rtol=0, atol=RED if channels == 3 else 1e-6)

    def test_keeps_the_mean_grey_after_brightness(self) -> None:
        given = 0.4 + 0.1 * pictures()  # nothing is clamped
        brighter = neutral(given).scale(torch.full((len(given),), 1.3))
        found = recolour(given, contrasted(brighter, FACTORS))
        expected = torch.stack([tv.adjust_contrast(1.3 * p, float(f)) for p, f in zip(given, FACTORS, strict=True)])
        torch.testing.assert_close(found, expected, rtol=0, atol=RED)

    def test_other_channels_use_their_mean(self) -> None:
        given = pictures(channels=5)
        found = recolour(given, contrasted(neutral(given), FACTORS))
        mean, factor = given.mean((1, 2, 3), keepdim=True), FACTORS[:, None, None, None]
        torch.testing.assert_close(found, (factor * (given - mean) + mean).clamp(0, 1), rtol=0, atol=1e-6)

    def test_factor_is_uniform_around_one(self) -> None:
        given = torch.zeros(4000, 1, 1, 2)
        given[..., 1] = 0.2  # mean 0.1, and 0.1 from it: a factor f shows 0.1 (1 + f)
        factor = drawn("contrast", given, strength=0.6)[:, 0, 0, 1].double() * 10 - 1
        assert factor.min() >= 0.4 - 1e-5
        assert factor.max() <= 1.6 + 1e-5
        assert abs(factor.mean() - 1) < WIDE * 1.2 / math.sqrt(12 * 4000)
        assert abs(factor.var() * 12 / 1.2**2 - 1) < WIDE * math.sqrt(0.8 / 4000)  # kurtosis of a uniform: 9/5


class TestSaturation:
    def test_is_torchvisions(self) -> None:
        given = pictures()
        found = recolour(given, mixed_with_grey(neutral(given), FACTORS))
        expected = torch.stack([tv.adjust_saturation(p, float(f)) for p, f in zip(given, FACTORS, strict=True)])
        torch.testing.assert_close(found, expected, rtol=0, atol=RED)

    def test_greys_stay(self) -> None:
        given = pictures(channels=1)
        assert torch.equal(drawn("saturation", given, strength=1.0), given)
        grey = given.expand(-1, 3, -1, -1).contiguous()
        torch.testing.assert_close(drawn("saturation", grey, strength=1.0), grey, rtol=0, atol=1e-6)

    def test_strength_bounds_the_factor(self) -> None:
        red = torch.zeros(4000, 3, 1, 1)
        red[:, 0] = 0.5
        seen = drawn("saturation", red, strength=0.4)[:, 0, 0, 0].double()
        factor = (seen / 0.5 - 0.299) / 0.701  # red ↦ f + (1 − f) 0.299 times itself
        assert factor.min() >= 0.6 - 1e-5
        assert factor.max() <= 1.4 + 1e-5
        assert abs(factor.mean() - 1) < WIDE * 0.8 / math.sqrt(12 * 4000)


class TestGrayscale:
    def test_is_torchvisions(self) -> None:
        given = pictures()
        found = drawn("grayscale", given, probability=1.0)
        torch.testing.assert_close(found, tv.rgb_to_grayscale(given, 3), rtol=0, atol=RED)
        assert (found[:, :1] - found).abs().max() < 1e-6

    def test_as_often_as_it_says(self) -> None:
        given = pictures(1).expand(5000, -1, -1, -1).contiguous()
        found = drawn("grayscale", given, probability=0.3)
        kept = (found == given).flatten(1).all(1)
        grey = ((found - found[:, :1]).abs() < 1e-6).flatten(1).all(1)
        assert torch.equal(kept, ~grey)
        assert abs(int(grey.sum()) - 1500) < WIDE * math.sqrt(5000 * 0.3 * 0.7)

    def test_grey_pictures_stay(self) -> None:
        given = pictures(channels=1)
        assert torch.equal(drawn("grayscale", given, probability=1.0), given)


def yiq(colours: Tensor) -> np.ndarray:
    """By Python's own formula. N 3 -> N 3."""
    return np.array([colorsys.rgb_to_yiq(*colour) for colour in colours.double().tolist()])


class TestHue:
    @pytest.mark.parametrize("degrees", [0, 7, -33, 120, 180])
    def test_turns_the_chroma_of_colorsys(self, degrees: int) -> None:
        colours = pictures(1)[0].flatten(1).T  # 35 3
        map_ = turned(torch.full((1,), math.radians(degrees)))[0]
        before, after = yiq(colours), yiq(colours @ map_.T)
        # Luma and chroma are sums of a few products below 1 in float32, made to values below 2 by the inverse.
        assert np.abs(after[:, 0] - before[:, 0]).max() < 2e-6
        chroma = (before[:, 1] + 1j * before[:, 2]) * np.exp(1j * math.radians(degrees))
        assert np.abs(after[:, 1] + 1j * after[:, 2] - chroma).max() < 2e-6

    def test_is_the_turn_of_u_and_v_too(self) -> None:
        """Any two axes at right angles give the same turn; the standard rounds I and Q to two digits."""
        y = np.array([0.30, 0.59, 0.11])
        axes = np.stack([y, 0.492 * (np.eye(3)[2] - y), 0.877 * (np.eye(3)[0] - y)])
        # From I to Q is from V towards U: the other way round than from U to V.
        angle = math.radians(40)
        turn = np.array([[1, 0, 0], [0, math.cos(angle), math.sin(angle)], [0, -math.sin(angle), math.cos(angle)]])
        expected = np.linalg.inv(axes) @ turn @ axes
        found = turned(torch.full((1,), angle))[0].double().numpy()
        assert np.abs(found - expected).max() < 0.02  # half of 0.01 in each coefficient of I and Q, over some 0.5

    def test_turns_add_up_and_come_round(self) -> None:
        a, b = torch.tensor([0.4]), torch.tensor([1.9])
        torch.testing.assert_close(turned(a) @ turned(b), turned(a + b), rtol=0, atol=5e-6)
        torch.testing.assert_close(turned(torch.tensor([2 * math.pi]))[0], torch.eye(3), rtol=0, atol=5e-6)
        torch.testing.assert_close(turned(a).sum(2), torch.ones(1, 3), rtol=0, atol=2e-6)  # greys stay

    def test_wired_with_an_angle_uniform_over_both_sides(self) -> None:
        n, given = 4000, torch.tensor([0.5, 0.45, 0.4])[:, None, None].expand(4000, 3, 1, 1).contiguous()
        found = yiq(drawn("hue", given, degrees=60.0)[:, :, 0, 0])
        start = yiq(given[:1, :, 0, 0])[0]
        turn = np.angle((found[:, 1] + 1j * found[:, 2]) / (start[1] + 1j * start[2]))
        limit = math.radians(60)
        assert np.abs(turn).max() <= limit + 1e-4
        assert abs(turn.mean()) < WIDE * limit / math.sqrt(3 * n)
        assert abs(turn.var() * 3 / limit**2 - 1) < WIDE * math.sqrt(0.8 / n)

    def test_grey_pictures_stay(self) -> None:
        given = pictures(channels=1)
        assert torch.equal(drawn("hue", given, degrees=180.0), given)


class TestChannelDropout:
    @pytest.mark.parametrize("fill", [0.0, 0.25])
    def test_fills_one_channel_and_leaves_the_others(self, fill: float) -> None:
        given = pictures(3000 // 5, 4).repeat(5, 1, 1, 1)
        found = drawn("channel_dropout", given, probability=0.6, fill=fill)
        dropped = (found == fill).flatten(2).all(2)
        assert torch.equal(found[~dropped], given[~dropped])
        n, number = len(given), dropped.sum(1)
        assert number.max() == 1
        assert abs(int(number.sum()) - 0.6 * n) < WIDE * math.sqrt(n * 0.6 * 0.4)
        each = 0.6 / 4
        assert (dropped.sum(0) - each * n).abs().max() < WIDE * math.sqrt(n * each * (1 - each))

    def test_comes_after_what_was_composed(self) -> None:
        given = pictures(1)
        brighter = neutral(given).scale(torch.tensor([1.5]))
        found = recolour(given, filled(brighter, torch.tensor([[False, True, False]]), 0.3))
        expected = (1.5 * given).clamp(0, 1)
        expected[:, 1] = 0.3
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

    def test_an_only_channel_stays(self) -> None:
        given = pictures(channels=1)
        assert torch.equal(drawn("channel_dropout", given, probability=1.0), given)


class TestInvert:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_chosen_pictures_become_their_negatives(self, channels: int) -> None:
        given = pictures(2, channels)
        found = recolour(given, negative(neutral(given), torch.tensor([1.0, 0.0])))
        torch.testing.assert_close(found, torch.stack([1 - given[0], given[1]]), rtol=0, atol=1e-6)
        torch.testing.assert_close(drawn("invert", given, probability=1.0), tv.invert(given), rtol=0, atol=1e-6)

    def test_as_often_as_it_says(self) -> None:
        given = torch.full((5000, 1, 1, 1), 0.25)
        found = drawn("invert", given, probability=0.2)
        assert set(found.flatten().tolist()) == {0.25, 0.75}
        assert abs(int((found > 0.5).sum()) - 1000) < WIDE * math.sqrt(5000 * 0.2 * 0.8)


ALL = {"contrast": {"strength": 0.5}, "saturation": {"strength": 0.5}, "hue": {"degrees": 90.0}}


@pytest.mark.parametrize("name", ["saturation", "hue", "grayscale"])
@pytest.mark.parametrize("channels", [2, 4])
def test_colour_needs_three_channels(name: str, channels: int) -> None:
    with pytest.raises(NetwrightError, match=f"{name} needs red, green and blue.* {channels} channels") as caught:
        drawn(name, pictures(channels=channels))
    assert f"--without {name}" in caught.value.fix


def test_order_is_the_one_torchvision_users_know() -> None:
    names = ["brightness", "contrast", "saturation", "hue", "grayscale", "channel_dropout", "invert"]
    assert [each.name for each in tiny_run(*reversed(names)).tricks] == names


def test_composed_equals_one_after_the_other_where_nothing_is_clamped() -> None:
    given = 0.4 + 0.2 * pictures(12)
    run = tiny_run(*(TRICKS.load(name)(**options) for name, options in ALL.items()))
    run.ids = torch.arange(12)
    together = recolour(given, run.tricks.through("colour", neutral(given), run))
    apart = given
    for name, options in ALL.items():
        apart = drawn(name, apart, **options)
    torch.testing.assert_close(together, apart, rtol=0, atol=5e-6)  # some twenty roundings of values below 2
    assert (together - given).abs().max() > 0.1
