"""Tiles: what is exact is exact, what is not is measured, and memory does not grow with the picture."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.engine import tiles as module
from netwright.engine.device import profile
from netwright.engine.evaluate import Evaluation, evaluate
from netwright.engine.live_bytes import LiveBytes
from netwright.engine.normalise import Normalise
from netwright.engine.plans import Raw
from netwright.engine.tiles import Cut, Measured, Tiled, cut, exact_overlap, probabilities, reach, tiled
from netwright.models import create_model
from netwright.tasks.segmentation import Segmentation


class Net(nn.Module):
    """A small U-Net of stride 4 for any size, padded as `models.Segmenter` pads; `wide` makes it see further."""

    grid = 4
    smallest = 4

    def __init__(self, *, wide: int = 1, extra: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.GELU())
        self.deep = nn.Sequential(
            nn.MaxPool2d(2), *(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.SiLU()) for _ in range(wide))
        )
        self.extra = extra or nn.Identity()
        self.up = nn.Conv2d(16, 6, 3, padding=1)
        self.head = nn.Conv2d(12, 3, 3, padding=1)
        self.eval()

    def padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, -x.shape[-1] % 4, 0, -x.shape[-2] % 4), mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        first = self.first(self.padded(x))
        down = self.down(first)
        deep = self.extra(self.deep(down))
        joined = F.relu(self.up(torch.cat([down, F.interpolate(deep, scale_factor=2)], 1)))
        large = F.interpolate(joined, scale_factor=2, mode="bilinear")
        return 4 * self.head(torch.cat([first, large], 1))[..., :height, :width]


class Squeeze(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


def picture(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * width)) * 2 - 1


def seen(model: nn.Module) -> Any:
    return lambda part: probabilities(model(part))


def whole_and_tiled(model: nn.Module, image: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        parts = list(tiled(seen(model), image, **options))
        assert parts[0][0] == 0
        for (top, part), (following, _) in pairwise(parts):
            assert top + part.shape[1] == following
        return probabilities(model(image[None]))[0], torch.cat([part for _, part in parts], 1)


class TestCut:
    @pytest.mark.parametrize("length", [65, 100, 127, 128, 129, 1000, 1023])
    @pytest.mark.parametrize("far", [0, 3, 9, 40, math.inf])
    def test_every_pixel_is_in_a_tile_that_has_a_say(self, length: int, far: float) -> None:
        found = cut(length, 64, 4, far)
        assert all(start % 4 == 0 for start in found.starts)
        assert found.span(len(found.starts) - 1).stop == length
        assert (found.total() > 0).all()
        assert all(found.span(place).stop - start > 60 for place, start in enumerate(found.starts))

    @pytest.mark.parametrize("far", [0, 3, 7])
    def test_no_tile_has_a_say_where_a_cut_reaches(self, far: int) -> None:
        found = cut(300, 64, 4, far)
        for place in range(len(found.starts)):
            weights = found.weights(place)
            assert (weights[:far] == 0).all() == (place > 0 or far == 0)
            last = place == len(found.starts) - 1
            assert last or (weights[len(weights) - far :] == 0).all()
        assert found.weights(0)[0] == 1
        assert found.weights(len(found.starts) - 1)[-1] == 1

    @pytest.mark.parametrize("far", [100, math.inf])
    def test_no_more_than_a_quarter_of_a_tile_overlaps_but_at_the_end(self, far: float) -> None:
        starts = cut(1000, 64, 4, far).starts
        assert {b - a for a, b in pairwise(starts[:-1])} == {48}

    def test_a_short_picture_is_one_tile_of_weight_one(self) -> None:
        assert cut(50, 64, 4, 9) == Cut(50, 64, (0,), 0, 0)
        assert (cut(50, 64, 4, 9).weights(0) == 1).all()

    def test_weights_rise_in_a_line_and_never_fall_before_the_middle(self) -> None:
        steps = cut(300, 64, 4, 5).weights(1)[:32].diff()
        assert (steps >= 0).all()
        rising = steps[steps > 0]
        torch.testing.assert_close(rising, rising[:1].expand_as(rising))


class TestReach:
    def test_of_convolutions_it_is_what_kernels_say(self) -> None:
        net = nn.Sequential(nn.Conv2d(1, 2, 7, padding=3), nn.Conv2d(2, 2, 3, padding=2, dilation=2)).eval()
        assert reach(net, torch.zeros(1, 1, 8, 8), 1) == 3 + 2

    def test_the_direction_that_sees_further_counts(self) -> None:
        for kernel, padding in (((1, 9), (0, 4)), ((9, 1), (4, 0))):
            net = nn.Conv2d(1, 2, kernel, padding=padding)
            assert reach(net, torch.zeros(1, 1, 8, 8), 1) == 4

    def test_a_shift_to_one_side_is_seen(self) -> None:
        assert reach(lambda x: F.pad(x, (6, -6)), torch.zeros(1, 1, 8, 8), 1) == 6
        assert reach(lambda x: F.pad(x, (-6, 6)), torch.zeros(1, 1, 8, 8), 1) == 6

    @pytest.mark.parametrize("extra", [Squeeze(), nn.GroupNorm(2, 8), nn.AdaptiveAvgPool2d(1)])
    def test_what_sees_everything_reaches_everywhere(self, extra: nn.Module) -> None:
        net = Net(extra=extra)
        if isinstance(extra, nn.AdaptiveAvgPool2d):
            net.extra = nn.Sequential(extra, nn.Sigmoid())
            net.forward = lambda x: net.extra(net.deep(net.down(net.first(x)))) * x.sum(1, keepdim=True)
        known = Measured.of(net, net, torch.zeros(1, 3, 8, 8))
        assert known.reach == math.inf
        assert "512×512" in str(known.note(512))

    def test_what_sees_a_part_needs_no_note(self) -> None:
        known = Measured.of(Net(), Net(), torch.zeros(1, 3, 8, 8))
        assert 0 < known.reach < 40
        assert known.note(512) is None


class TestSameAsTheWholePicture:
    @pytest.mark.parametrize(("height", "width"), [(300, 200), (129, 517), (128, 131), (1, 400), (401, 3)])
    def test_where_the_overlap_is_wider_than_what_a_cut_reaches(self, height: int, width: int) -> None:
        net = Net()
        far = reach(net, torch.zeros(1, 3, 8, 8), 4)
        assert 2 * far < 128 // 4
        whole, blended = whole_and_tiled(net, picture(height, width), tile=128, stride=4, reach=far)
        # Sums of a few dozen float32 products in another order, then softmax: a few units in the last place.
        torch.testing.assert_close(blended, whole, rtol=0, atol=2e-6)

    def test_of_a_unet_on_squeezenet(self) -> None:
        torch.manual_seed(1)
        net = create_model("unet(encoder='squeezenet1_0')", classes=2).eval()
        known = Measured.of(net, net, torch.zeros(1, 3, 8, 8))
        tile = 2 * int(exact_overlap(known.reach, known.stride))
        image = picture(40, tile + 300)  # cut in one direction, so that the test is quick
        whole, blended = whole_and_tiled(net, image, tile=tile, stride=known.stride, reach=known.reach)
        assert len(cut(tile + 300, tile, known.stride, known.reach).starts) > 1
        # Weights sum to one up to a rounding, and convolutions sum hundreds of float32 products in another order.
        torch.testing.assert_close(blended, whole, rtol=0, atol=5e-6)

    def test_a_network_that_reaches_further_differs_only_near_cuts_and_little(self) -> None:
        net, image = Net(wide=9), picture(400, 400)
        far = reach(net, torch.zeros(1, 3, 8, 8), 4)
        assert 4 * far > 128
        whole, blended = whole_and_tiled(net, image, tile=128, stride=4, reach=far)
        off = (whole - blended).abs().amax(0)
        away = _away(400, 128, far)
        assert off[away][:, away].max() < 1e-4
        assert off.max() < 0.05

    def test_aligned_to_another_stride_it_is_not_the_same(self) -> None:
        net = Net()
        whole, blended = whole_and_tiled(net, picture(300, 301), tile=126, stride=3, reach=14)
        assert (whole - blended).abs().max() > 1e-3

    def test_probabilities_sum_to_one(self) -> None:
        _, blended = whole_and_tiled(Net(wide=9), picture(200, 333), tile=64, stride=4)
        torch.testing.assert_close(blended.sum(0), torch.ones(200, 333))


def _away(length: int, tile: int, far: float) -> Tensor:
    """Which pixels are out of reach of every cut side that has a say there."""
    found = cut(length, tile, 4, far)
    good = torch.ones(length, dtype=torch.bool)
    for place, start in enumerate(found.starts):
        span, says = found.span(place), found.weights(place) > 0
        pixel = torch.arange(span.start, span.stop)
        near = (pixel - start < far) & (place > 0) | (span.stop - 1 - pixel < far) & (span.stop < length)
        good[span] &= ~(near & says)
    return good


class TestTiled:
    def test_small_pictures_go_through_as_they_are(self) -> None:
        net, images = Net(), torch.stack([picture(40, 30)] * 2)
        assert torch.equal(Tiled(net)(images), net(images))

    def test_softmax_of_its_output_are_the_probabilities(self) -> None:
        net = Net()
        images = torch.stack([picture(260, 200), -picture(260, 200)])
        with torch.inference_mode():
            found = Tiled(net, tile=128)(images)
            torch.testing.assert_close(found.softmax(1), net(images).softmax(1), rtol=0, atol=2e-6)

    def test_sigmoid_of_its_output_where_classes_overlap(self) -> None:
        net, images = Net(), picture(260, 200)[None]
        with torch.inference_mode():
            found = Tiled(net, several=True, tile=128)(images)
            torch.testing.assert_close(found.sigmoid(), net(images).sigmoid(), rtol=0, atol=2e-6)

    def test_a_class_that_is_impossible_leaves_the_loss_finite(self) -> None:
        class Sure(Net):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x) * 0 + torch.tensor([1e4, 0.0, -1e4]).view(1, 3, 1, 1)

        with torch.inference_mode():
            assert Tiled(Sure(), tile=128)(picture(260, 200)[None]).isfinite().all()


class Pictures:
    """Whole pictures with masks, one a batch; `engine.plans.WholePictures`."""

    labels = None

    def __init__(self, *sizes: tuple[int, int], several: bool = False) -> None:
        draw = torch.Generator().manual_seed(5)
        self.images = [torch.randint(0, 256, (*size, 3), generator=draw, dtype=torch.uint8) for size in sizes]
        planes = (3,) if several else ()
        self.masks = [torch.randint(-1, 2, (*planes, *size), generator=draw) for size in sizes]

    def __len__(self) -> int:
        return len(self.images)

    def chunks(self, batch_size: int) -> list[np.ndarray]:
        return [np.array([place]) for place in range(len(self))]

    def batches(self, positions: Any, *, stream: int = 0) -> Iterator[Raw]:
        for (place,) in positions:
            yield Raw(self.images[place][None], self.masks[place][None], torch.tensor([place]))


def evaluated(net: nn.Module, source: Pictures, *, several: bool = False) -> Evaluation:
    normalise = Normalise((0.5,) * 3, (0.25,) * 3, 64)
    return evaluate(net, source, Segmentation(3, several=several), normalise, profile("cpu", "fp32", macs=1))


class TestEvaluate:
    @pytest.mark.parametrize("several", [False, True])
    def test_large_pictures_are_cut_and_measured_as_whole(self, several: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        net, source = Net(), Pictures((300, 260), (40, 50), several=several)
        whole = evaluated(net, source, several=several)
        seen: list[tuple[int, ...]] = []
        net.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
        monkeypatch.setattr(module, "SMALL", 128 * 128)
        monkeypatch.setattr(module, "TILE", 128)
        cut_up = evaluated(net, source, several=several)
        assert (128, 128) in seen
        assert (300, 260) not in seen
        assert seen[-1] == (40, 50)
        for name in ("iou", "dice", "pixel_accuracy"):  # but for pixels on the edge between classes, all the same
            np.testing.assert_allclose(cut_up.values[name], whole.values[name], atol=1e-3)
        np.testing.assert_allclose(cut_up.values["loss"], whole.values["loss"], atol=1e-5)

    def test_pictures_of_one_tile_see_the_network_alone(self) -> None:
        net, source = Net(), Pictures((300, 260), (40, 50))
        passes: list[Tensor] = []
        net.register_forward_hook(lambda _, given, output: passes.append(output))
        found = evaluated(net, source)
        assert [tuple(one.shape[-2:]) for one in passes] == [(300, 260), (40, 50)]
        expected = [Segmentation(3).metrics(one, mask[None]) for one, mask in zip(passes, source.masks, strict=True)]
        assert found.values["loss"].tolist() == [float(each["loss"]) for each in expected]

    def test_a_network_that_is_measured_can_still_be_trained(self) -> None:
        class Kept(Net):
            """Keeps a tensor that it makes once, as position tables are kept."""

            table: Tensor | None = None

            def forward(self, x: Tensor) -> Tensor:
                if self.table is None:
                    self.table = torch.ones(1) * 2
                return super().forward(x) * self.table

        net = Kept()
        Measured.of(net, net, torch.zeros(1, 3, 8, 8))
        net(torch.zeros(1, 3, 8, 8)).sum().backward()
        assert net.head.weight.grad is not None


class TestMemory:
    def test_a_picture_that_is_evaluated_takes_its_scores_a_band_and_a_tile(self) -> None:
        net, side, tile = nn.Conv2d(1, 9, 1).eval(), 2000, 256
        with torch.no_grad(), LiveBytes() as live:
            scores = Tiled(net, tile=tile)(torch.zeros(1, 1, side, side))
        band, one_tile = 4 * 9 * tile * side, 4 * 9 * tile * tile
        # Besides the sums: rows that are handed out, their divisor, no class below the least number, and its logarithm;
        # and what was measured on a strip; see the next test.
        assert live.peak <= 4 * (9 + 1) * side * side + 4 * band + 4 * one_tile
        assert scores.shape == (1, 9, side, side)

    def test_a_picture_of_nine_megapixels_takes_a_band_and_a_tile(self) -> None:
        class Cheap(nn.Conv2d):
            """Nine classes from one convolution, so that this test is about sums, not about a network."""

        net, tile, side, classes = Cheap(1, 9, 1).eval(), 256, 3000, 9
        image = torch.zeros(1, side, side)
        rows = 0
        with torch.inference_mode(), LiveBytes() as live:
            for _, part in tiled(seen(net), image, tile=tile, stride=32, reach=0):
                rows += part.shape[1]
                del part
        band = 4 * classes * tile * side
        one_tile = 4 * classes * tile * tile
        # The sums; as much again for rows that are handed out, and for their divisor of one class; a tile's scores,
        # probabilities, weighted probabilities and weights; vectors of weights.
        assert rows == side
        assert live.peak <= band * (2 + 1 / classes) + 4 * one_tile + 64 * side
        assert live.peak < 4 * classes * side * side / 4

    def test_tiles_are_as_large_as_memory_allows(self) -> None:
        known = Measured(stride=32, least=128, reach=10, classes=2, bytes=1000)
        assert known.tile(2000) == math.isqrt(160_000_000 // 1000) // 32 * 32
        assert Measured(32, 128, 10, 2, 1).tile(2000) == 1024
        assert Measured(32, 128, 10, 255, 1).tile(25_000) == 128

    def test_a_tile_takes_more_where_that_makes_it_exact(self) -> None:
        usual = math.isqrt(160_000_000 // 200) // 32 * 32
        known = Measured(stride=32, least=128, reach=286, classes=2, bytes=200)
        assert usual < known.tile(2000) == 2 * 608
        made = cut(5000, known.tile(2000), 32, 286)
        assert made.zero == 286
        assert Measured(stride=32, least=128, reach=400, classes=2, bytes=200).tile(2000) == usual

    def test_what_a_network_holds_is_counted(self) -> None:
        net = nn.Conv2d(3, 16, 1).eval()
        assert Measured.of(net, net, torch.zeros(1, 3, 8, 8)).bytes == 16 * 4


class TestLiveBytes:
    def test_a_view_keeps_its_storage_and_what_is_dropped_no_longer_counts(self) -> None:
        with LiveBytes() as live:
            first = torch.zeros(1000)
            view = first.view(10, 100)
            del first
            assert live.now == 4000
            second = view + 1
            assert live.now == 8000
            del view, second
        assert (live.now, live.peak) == (0, 8000)

    def test_what_was_there_before_does_not_count(self) -> None:
        before = torch.zeros(1000)
        with LiveBytes() as live:
            before.add_(1)
            kept = before.view(10, 100)
        assert (live.now, kept.shape[0]) == (0, 10)


def test_tiles_of_a_dilated_network_lie_on_its_grid() -> None:
    """It pads nothing, and its map has one value for eight pixels."""
    network = create_model("fcn_resnet50(encoder='resnet18')", classes=2).eval()
    assert Measured.of(network, network, torch.zeros(1, 3, 1, 1)).stride == 8
    assert Measured.of(Net(), Net(), torch.zeros(1, 3, 1, 1)).stride == 4
