"""Tricks on pixels against torchvision and Pillow on the same bytes, SciPy, and closed forms."""

import io
import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from netwright.core.errors import NetwrightError
from netwright.engine.run import Batch
from netwright.engine.trick import Tricks
from netwright.tricks import TRICKS
from netwright.tricks.autocontrast import autocontrast
from netwright.tricks.blur import blur
from netwright.tricks.equalize import equalize
from netwright.tricks.jpeg import jpeg
from netwright.tricks.posterize import posterize
from netwright.tricks.random_erasing import box, random_bytes
from netwright.tricks.salt_and_pepper import salt_and_pepper
from netwright.tricks.sharpen import sharpen
from netwright.tricks.solarize import solarize
from tests.support import tiny_run

# A count or mean of independent draws leaves ± 4.5 of its standard deviations once in 150 000 times.
WIDE = 4.5
N = 400


def pictures(n: int = 12, channels: int = 3, height: int = 24, width: int = 20, *, seed: int = 0) -> Tensor:
    """Bytes N C H W: noise about smooth shapes of their own range, some channels of a single value."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (n, channels, 3, 3))
    smooth = scipy.ndimage.zoom(coarse.astype(float), (1, 1, height / 3, width / 3), order=1)
    noisy = smooth * draw.uniform(0.1, 1, (n, channels, 1, 1)) + draw.normal(0, 6, smooth.shape)
    found = torch.from_numpy(noisy.clip(0, 255).astype(np.uint8))
    found[0, 0], found[1], found[2, :, : height // 2] = 77, 0, 255
    return found


def unit(image: Tensor) -> Tensor:
    return image.float() / 255


def as_bytes(image: Tensor) -> Tensor:
    assert image.min() >= 0
    assert image.max() <= 1
    return (image * 255).round().byte()


def acted(name: str, image: Tensor, **options: Any) -> Tensor:
    """The trick on a batch whose samples have ids 0, 1, …"""
    run = tiny_run(TRICKS.load(name)(**options))
    run.ids = torch.arange(len(image))
    label = torch.zeros(len(image), dtype=torch.long)
    (trick,) = run.tricks
    before = image.clone()
    found = trick.pixels(Batch(image, label, label, run.ids), run).image
    assert torch.equal(image, before)  # what was given is not touched
    return found


def share_changed(name: str, image: Tensor, probability: float, **options: Any) -> None:
    """As many pictures change as `probability` says, and the others are the same bits."""
    n = len(image)
    found = acted(name, image, probability=probability, **options)
    changed = (found != image).flatten(1).any(1).sum().item()
    assert abs(changed - n * probability) <= WIDE * math.sqrt(n * probability * (1 - probability))


def one_picture(n: int, channels: int = 3, size: int = 16) -> Tensor:
    return unit(pictures(4, channels, size, size))[3:].repeat(n, 1, 1, 1)


@pytest.mark.parametrize("name", ["autocontrast", "blur", "equalize", "jpeg", "posterize", "random_erasing", "sharpen"])
@pytest.mark.parametrize("probability", [0.2, 1.0])
def test_as_often_as_it_says(name: str, probability: float) -> None:
    share_changed(name, one_picture(N), probability)


SHAPES = [(3, 24, 20), (1, 16, 16), (5, 17, 40), (3, 300, 224)]


class TestPosterize:
    @pytest.mark.parametrize("bits", range(9))
    def test_is_torchvisions(self, bits: int) -> None:
        image = pictures(4)
        found = as_bytes(posterize(unit(image), torch.full((4,), bits)))
        assert torch.equal(found, F.posterize(image, bits))

    def test_bits_of_each_picture(self) -> None:
        image, bits = pictures(8), torch.arange(1, 9)
        found = as_bytes(posterize(unit(image), bits))
        assert torch.equal(found, torch.stack([F.posterize(x, int(b)) for x, b in zip(image, bits, strict=True)]))

    def test_wiring(self) -> None:
        image = pictures(6)
        found = acted("posterize", unit(image), bits=3, probability=1)
        assert torch.equal(as_bytes(found), F.posterize(image, 3))


class TestSolarize:
    def test_is_torchvisions_at_every_threshold(self) -> None:
        image = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
        for threshold in np.linspace(0, 1, 256):
            found = solarize(unit(image), torch.tensor([float(np.round(threshold * 255) / 255)], dtype=torch.float64))
            assert torch.equal(as_bytes(found), F.solarize(image, round(threshold * 255)))

    def test_threshold_of_each_picture(self) -> None:
        image, threshold = pictures(8), torch.linspace(0.05, 0.95, 8)
        found = as_bytes(solarize(unit(image), threshold))
        pairs = zip(image, threshold.tolist(), strict=True)
        assert torch.equal(found, torch.stack([F.solarize(x, 255 * t) for x, t in pairs]))

    def test_wiring(self) -> None:
        image = pictures(6)
        found = acted("solarize", unit(image), threshold=0.3, probability=1)
        assert torch.equal(as_bytes(found), F.solarize(image, 255 * 0.3))
        share_changed("solarize", one_picture(N), 0.3)


class TestAutocontrast:
    @pytest.mark.parametrize(("channels", "height", "width"), SHAPES)
    def test_is_torchvisions(self, channels: int, height: int, width: int) -> None:
        image = pictures(6, channels, height, width)
        # torchvision refuses five channels but treats each alone, as we do.
        expected = torch.cat([F.autocontrast(image[:, c : c + 1]) for c in range(channels)], 1)
        assert torch.equal(as_bytes(autocontrast(unit(image))), expected)

    def test_is_pillows(self) -> None:
        image = pictures(6)
        expected = [ImageOps.autocontrast(Image.fromarray(x.permute(1, 2, 0).numpy())) for x in image]
        found = as_bytes(autocontrast(unit(image))).permute(0, 2, 3, 1).int()
        off = (found - torch.from_numpy(np.stack(expected)).int()).abs()
        assert off.max() <= 1  # Pillow multiplies in double precision and cuts; that may fall to the other side

    def test_wiring(self) -> None:
        image = pictures(6)
        assert torch.equal(as_bytes(acted("autocontrast", unit(image), probability=1)), F.autocontrast(image))


class TestEqualize:
    @pytest.mark.parametrize(("channels", "height", "width"), SHAPES)
    def test_is_torchvisions(self, channels: int, height: int, width: int) -> None:
        image = pictures(6, channels, height, width)
        assert torch.equal(as_bytes(equalize(unit(image))), F.equalize(image))

    def test_is_pillows(self) -> None:
        image = pictures(6)
        expected = [np.asarray(ImageOps.equalize(Image.fromarray(x.permute(1, 2, 0).numpy()))) for x in image]
        found = as_bytes(equalize(unit(image))).permute(0, 2, 3, 1)
        assert torch.equal(found, torch.from_numpy(np.stack(expected)))

    def test_channels_last_is_the_same(self) -> None:
        image = unit(pictures(5))
        assert torch.equal(equalize(image.contiguous(memory_format=torch.channels_last)), equalize(image))

    @pytest.mark.parametrize("side", [1, 2, 8, 15])
    def test_small_pictures_get_evenly_spread_ranks(self, side: int) -> None:
        draw = np.random.default_rng(side)
        values = draw.permutation(256)[: side * side]  # all different: the result is their rank
        image = torch.from_numpy(values.reshape(1, 1, side, side).astype(np.uint8))
        rank = np.argsort(np.argsort(values))
        wanted = np.floor(rank * 255 / (side * side - 1) + 0.5) if side > 1 else values
        assert as_bytes(equalize(unit(image))).flatten().tolist() == wanted.tolist()

    def test_wiring(self) -> None:
        image = pictures(6)
        assert torch.equal(as_bytes(acted("equalize", unit(image), probability=1)), F.equalize(image))


class TestSharpen:
    @pytest.mark.parametrize(
        ("channels", "height", "width"), [(3, 24, 20), (1, 3, 3), (3, 2, 9), (3, 9, 1), (3, 3, 40)]
    )
    @pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.9, 6.0])
    def test_is_torchvisions(self, channels: int, height: int, width: int, factor: float) -> None:
        image = pictures(4, channels, height, width)
        found = sharpen(unit(image), torch.full((4,), factor))
        # A dozen roundings of sums up to 18, by at most 5/13.
        torch.testing.assert_close(found, F.adjust_sharpness(unit(image), factor), rtol=0, atol=1e-5)
        # On bytes torchvision rounds the smoothed picture, by half at most, and cuts the result to a whole byte.
        off = (found * 255 - F.adjust_sharpness(image, factor).float()).abs()
        assert off.max() <= 0.5 * abs(1 - factor) + 1

    def test_factor_of_each_picture(self) -> None:
        image, factor = unit(pictures(5)), torch.tensor([0.1, 1.0, 1.5, 2.0, 3.0])
        expected = torch.stack([F.adjust_sharpness(x, float(f)) for x, f in zip(image, factor, strict=True)])
        torch.testing.assert_close(sharpen(image, factor), expected, rtol=0, atol=1e-5)

    def test_factor_is_uniform(self) -> None:
        ramp = torch.zeros(1, 1, 3, 3)
        ramp[..., 1, 1] = 0.5  # the centre becomes 0.5 f + (1 − f) 2.5 / 13
        found = acted("sharpen", ramp.repeat(N, 1, 1, 1), strength=0.5, probability=1)[:, 0, 1, 1].double()
        factor = (found - 2.5 / 13) / (0.5 - 2.5 / 13)
        assert factor.min() >= 0.5 - 1e-5
        assert factor.max() <= 1.5 + 1e-5
        assert abs(factor.mean() - 1) < WIDE / math.sqrt(12 * N)
        assert abs(factor.var() * 12 - 1) < WIDE * math.sqrt(0.8 / N)  # kurtosis of a uniform: 9/5


class TestBlur:
    @pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
    @pytest.mark.parametrize(("channels", "height", "width"), [(3, 24, 20), (1, 8, 30)])
    def test_is_torchvisions(self, sigma: float, channels: int, height: int, width: int) -> None:
        image, radius = unit(pictures(3, channels, height, width)), 6
        found = blur(image, torch.full((3,), sigma), radius)
        expected = F.gaussian_blur(image, [2 * radius + 1] * 2, [sigma] * 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)  # 26 roundings of values up to 1

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (2, 3), (9, 4)])
    def test_is_scipys_where_pictures_are_smaller_than_the_kernel(self, height: int, width: int) -> None:
        image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
        found = blur(image, torch.tensor([0.6, 1.7]), 6)
        for n, sigma in enumerate((0.6, 1.7)):
            sides = (0, sigma, sigma)
            expected = scipy.ndimage.gaussian_filter(image[n].double().numpy(), sides, mode="mirror", radius=(0, 6, 6))
            assert np.abs(found[n].numpy() - expected).max() < 2e-6

    def test_sigma_is_uniform(self) -> None:
        dot = torch.zeros(1, 1, 1, 61)
        dot[..., 30] = 1
        found = acted("blur", dot.repeat(N, 1, 1, 1), sigma=3.0, probability=1)[:, 0, 0].double()
        place = torch.arange(61).double() - 30
        sigma = (found * place**2).sum(1).sqrt()
        # Beyond three sigma the kernel is cut for the widest only: its second moment is then 2.7 % smaller.
        assert sigma.min() < 0.2
        assert sigma.max() > 2.8
        assert abs(sigma.mean() - 1.55) < WIDE * 2.9 / math.sqrt(12 * N) + 0.02

    def test_a_constant_picture_stays(self) -> None:
        found = acted("blur", torch.full((9, 3, 12, 10), 0.3), sigma=5.0, probability=1)
        torch.testing.assert_close(found, torch.full_like(found, 0.3), rtol=0, atol=1e-6)


class TestSaltAndPepper:
    @pytest.mark.parametrize("amount", [0.02, 0.5, 1.0])
    def test_shares(self, amount: float) -> None:
        found = acted("salt_and_pepper", torch.full((100, 3, 16, 16), 0.25), amount=amount)
        assert torch.equal(found[:, 0], found[:, 2])  # a pixel, not a channel
        pixels, n = found[:, 0], 100 * 256
        bound = WIDE * math.sqrt(n * amount / 2 * (1 - amount / 2))
        for value in (0, 1):
            assert abs((pixels == value).sum().item() - n * amount / 2) <= bound
        assert ((pixels == 0) | (pixels == 1) | (pixels == 0.25)).all()

    def test_bounds(self) -> None:
        image = torch.full((1, 2, 1, 4), 0.3)
        draw = torch.tensor([0.0, 0.19, 0.21, 0.81]).view(1, 1, 1, 4)
        found = salt_and_pepper(image, draw, 0.4)
        torch.testing.assert_close(found[0, 1, 0], torch.tensor([1.0, 1.0, 0.3, 0.0]), rtol=0, atol=0)


class TestJpeg:
    @pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("quality", [1, 35, 75, 100])
    def test_is_torchvisions(self, channels: int, quality: int) -> None:
        image = pictures(5, channels, 21, 34)
        found = as_bytes(jpeg(unit(image), torch.full((5,), quality)))
        expected = torch.stack([F.jpeg(x, quality) for x in image])
        assert torch.equal(found, expected)  # both are libjpeg's defaults

    def test_is_a_file(self) -> None:
        image, quality = pictures(4), torch.tensor([5, 20, 60, 99])
        found = as_bytes(jpeg(unit(image), quality)).permute(0, 2, 3, 1)
        for n in range(4):
            file = io.BytesIO()
            Image.fromarray(image[n].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=int(quality[n]))
            assert (np.asarray(Image.open(file)) == found[n].numpy()).all()

    def test_quality_is_uniform(self) -> None:
        image = one_picture(300)
        found = acted("jpeg", image, quality=98, probability=1)
        by_quality = torch.cat([jpeg(image[:1], torch.tensor([q])) for q in (98, 99, 100)])
        counts = [(found == each).flatten(1).all(1).sum().item() for each in by_quality]
        assert sum(counts) == 300
        assert max(abs(c - 100) for c in counts) < WIDE * math.sqrt(300 * 2 / 9)

    def test_other_channels_are_refused(self) -> None:
        with pytest.raises(NetwrightError, match="jpeg cannot hold pictures of 4 channels") as caught:
            acted("jpeg", torch.rand(3, 4, 8, 8), probability=1)
        assert "--without jpeg" in caught.value.fix


class TestRandomErasing:
    def boxes(self, n: int = 4000, height: int = 30, width: int = 40, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Which pixels are covered, N H W, and the rows and columns of each box, N."""
        image = torch.full((n, 1, height, width), 0.25)
        hidden = acted("random_erasing", image, **{"value": 1.0, "probability": 1.0} | options)[:, 0] == 1
        return hidden, hidden.any(2).sum(1).double(), hidden.any(1).sum(1).double()

    def test_boxes_lie_inside_and_have_the_area_and_aspect(self) -> None:
        hidden, rows, columns = self.boxes(smallest=0.1, largest=0.3, aspect=2.0)
        assert torch.equal(hidden.sum((1, 2)).double(), rows * columns)  # whole rectangles
        # Rounding a side by half a pixel changes the area by half of the other side.
        slack = (rows + columns) / 2 + 0.25
        assert ((rows * columns >= 0.1 * 1200 - slack) & (rows * columns <= 0.3 * 1200 + slack)).all()
        assert ((rows - 0.5) / (columns + 0.5) <= 2).all()
        assert ((columns - 0.5) / (rows + 0.5) <= 2).all()

    def test_area_is_uniform(self) -> None:
        _, rows, columns = self.boxes(height=200, width=200, n=1000, smallest=0.05, largest=0.35, aspect=1.5)
        area = (rows * columns / 40_000 - 0.05) / 0.3
        assert abs(area.mean() - 0.5) < WIDE / math.sqrt(12_000) + 0.01  # whole pixels
        assert abs(area.var() * 12 - 1) < WIDE * math.sqrt(0.8 / 1000) + 0.01

    def test_aspect_is_log_uniform(self) -> None:
        _, rows, columns = self.boxes(height=200, width=200, n=1000, smallest=0.1, largest=0.1, aspect=3.0)
        ratio = (rows / columns).log() / math.log(3)
        assert abs(ratio.mean()) < WIDE / math.sqrt(3000) + 0.01
        assert abs(ratio.var() * 3 - 1) < WIDE * math.sqrt(0.8 / 1000) + 0.02

    def test_every_place_is_as_likely(self) -> None:
        n, side = 8000, 8
        hidden, rows, columns = self.boxes(n, side, side, smallest=0.25, largest=0.25, aspect=1.0)
        assert set(rows.tolist()) == set(columns.tolist()) == {4}
        first = hidden.any(2).int().argmax(1) * 5 + hidden.any(1).int().argmax(1)
        counts = first.bincount(minlength=25).double()
        assert len(counts) == 25
        assert (counts - n / 25).abs().max() < WIDE * math.sqrt(n / 25 * 24 / 25)

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (3, 100)])
    def test_a_shape_that_does_not_fit_is_the_nearest_that_does(self, height: int, width: int) -> None:
        _, rows, columns = self.boxes(200, height, width, smallest=0.5, largest=0.5)
        assert (rows <= height).all()
        expected = (0.5 * height * width / rows).clamp(1, width)
        assert ((columns - expected).abs() <= expected / 2 + 0.5).all()

    def test_bounds_in_the_wrong_order_are_refused(self) -> None:
        with pytest.raises(NetwrightError, match=r"smallest=0\.5 is above largest=0\.4") as caught:
            TRICKS.build("random_erasing(smallest=0.5)")
        assert caught.value.fix == "let smallest be at most largest"

    def test_as_often_and_all_channels_alike(self) -> None:
        found = acted("random_erasing", torch.full((N, 3, 12, 12), 0.25), probability=0.3, value=0.5)
        hidden = found == 0.5
        assert torch.equal(hidden[:, 0], hidden[:, 2])
        assert abs(hidden.any((1, 2, 3)).sum().item() - 0.3 * N) < WIDE * math.sqrt(N * 0.21)

    def test_noise_is_random_bytes(self) -> None:
        image = torch.full((60, 5, 20, 20), 2.0)  # no byte
        found = acted("random_erasing", image, probability=1, smallest=0.5, largest=0.5)
        noise = found.transpose(0, 1)[:, found[:, 0] != 2].double() * 255  # channels, pixels
        n = noise.shape[1]
        torch.testing.assert_close(noise, noise.round(), rtol=0, atol=1e-4)
        assert ((noise.mean(1) - 127.5).abs() < WIDE * 256 / math.sqrt(12 * n)).all()
        assert ((noise.var(1) / (65535 / 12) - 1).abs() < WIDE * math.sqrt(0.8 / n)).all()
        together = torch.corrcoef(noise) - torch.eye(5)
        assert together.abs().max() < WIDE / math.sqrt(n)

    def test_bytes_are_the_bits_of_the_draw(self) -> None:
        draw = torch.tensor((0x123456 + 0.0) / 2**24).view(1, 1, 1, 1)
        assert (random_bytes(draw)[0, :, 0, 0] * 255).round().int().tolist() == [0x56, 0x34, 0x12]

    def test_box_in_a_corner(self) -> None:
        zero = torch.zeros(1)
        found = box((6, 8), torch.tensor([0.25]), 1.0, zero + 0.5, zero, zero + 1 - 2**-24)
        expected = torch.zeros(6, 8, dtype=torch.bool)
        expected[:3, 5:] = True  # twelve pixels: sides √12 ≈ 3
        assert torch.equal(found[0, 0], expected)


def test_order_is_that_in_which_a_picture_comes_about() -> None:
    names = [
        "random_erasing", "cutout", "jpeg", "salt_and_pepper", "noise", "sharpen", "blur",
        "equalize", "posterize", "solarize", "autocontrast", "augmix", "randaugment", "trivial_augment",
    ]  # fmt: skip
    order = [trick.name for trick in Tricks(TRICKS.build(name) for name in names)]
    assert order[-7:] == names[:7][::-1]
    assert set(order[:-7]) == set(names[7:])
