"""One test of the mathematics a trick: against torch, SciPy, a closed form or the paper's formula."""

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netwright.core.errors import NetwrightError
from netwright.core.registry import camel
from netwright.data.loader import epoch_order
from netwright.engine.augment import Augment
from netwright.engine.loop import Watcher
from netwright.engine.normalise import Normalise
from netwright.engine.plans import DataPlan, OptimPlan, Raw
from netwright.engine.run import Batch, Run
from netwright.engine.warp import Warp, resample
from netwright.nn.output import Outputs
from netwright.tasks.classification import Classification
from netwright.tricks import TRICKS
from tests.support import CLASSES, NORMALISE, Pictures, TinyNetwork, digest, hash_of, outputs, tiny_run, train_tiny

CLASS = re.compile(r"^class (Test\w+)", re.MULTILINE)
# A count or mean of independent draws leaves ± 4.5 of its standard deviations once in 150 000 times.
WIDE = 4.5


def plain(size: int | None) -> Normalise:
    """Values in [0, 1] as they are."""
    return Normalise((0.0,) * 3, (1.0,) * 3, size)


def raw(n: int, stored: int = 8, *, seed: int = 0) -> Raw:
    draw = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (n, stored, stored, 3), dtype=torch.uint8, generator=draw)
    return Raw(image, torch.zeros(n, dtype=torch.long), torch.arange(n))


def seen(run: Run, given: Raw, size: int | None = None) -> Tensor:
    """Pictures after geometry, colour and pixels, in [0, 1]. N C H W."""
    return Augment(run, plain(size)).normalised(given).image


def stored(given: Raw) -> Tensor:
    return given.image.permute(0, 3, 1, 2).float() / 255


def batch_of(image: Tensor, label: Tensor, classes: int = CLASSES) -> Batch:
    return Batch(image, label, F.one_hot(label, classes).to(image.dtype), torch.arange(len(image)))


def only(run: Run) -> Any:
    (each,) = run.tricks
    return each


def warp_of(name: str, n: int, size: int, source: int, **options: Any) -> tuple[Warp, Run]:
    run = tiny_run(TRICKS.load(name)(**options))
    run.ids = torch.arange(n)
    start = Warp.centre(n, (size, size), (source, source), torch.device("cpu"))
    return run.tricks.through("geometry", start, run), run


class TestAuxiliaryHeads:
    def outputs(self) -> tuple[Outputs, Batch, Run]:
        scores = torch.randn(5, 3 * CLASSES, generator=torch.Generator().manual_seed(0)).chunk(3, 1)
        batch = batch_of(torch.zeros(5, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0]))
        return Outputs(scores[0], scores[1:]), batch, tiny_run("auxiliary_heads(weight=0.3)")

    def test_adds_each_heads_loss(self) -> None:
        output, batch, run = self.outputs()
        wanted = [F.cross_entropy(scores, batch.label) for scores in (output.scores, *output.auxiliary)]
        given = run.loss(output, batch, run)
        assert given.item() == pytest.approx((wanted[0] + 0.3 * (wanted[1] + wanted[2])).item(), rel=1e-6)

    def test_counts_a_penalty_on_weights_once(self) -> None:
        output, batch, run = self.outputs()
        both = tiny_run("auxiliary_heads(weight=0.3)", "l2_penalty(strength=2)")
        added = both.loss(output, batch, both) - run.loss(output, batch, run)
        squares = sum(w.square().sum() for w in both.model.parameters() if w.dim() > 1)
        assert added.item() == pytest.approx(squares.item(), rel=1e-5)

    def test_trains_the_heads_and_only_then(self) -> None:
        def moved(*tricks: str) -> bool:
            before = tiny_run(*tricks).model.side.weight.detach().clone()
            return not torch.equal(train_tiny(tiny_run(*tricks, epochs=1)).model.side.weight, before)

        assert moved("auxiliary_heads")
        assert not moved()

    def test_a_network_without_heads_is_refused(self) -> None:
        def plain_network() -> nn.Module:
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES))

        with pytest.raises(NetwrightError, match="Sequential has no auxiliary heads") as caught:
            train_tiny(tiny_run("auxiliary_heads", network=plain_network))
        assert "--without auxiliary_heads" in caught.value.fix


class TestFlip:
    def test_mirrors_exactly(self) -> None:
        given = raw(64)
        image, flipped = stored(given), seen(tiny_run("flip(probability=1)"), given)
        torch.testing.assert_close(flipped, image.flip(3), rtol=0, atol=1e-6)  # bytes divided here, multiplied there
        mixed = seen(tiny_run("flip"), given)
        kept = (mixed - image).abs().amax((1, 2, 3)) < 1e-6
        assert 0 < kept.sum() < 64
        torch.testing.assert_close(mixed[~kept], image.flip(3)[~kept], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 1.0])
    def test_as_often_as_it_says(self, probability: float) -> None:
        n = 10_000
        warp, _ = warp_of("flip", n, 8, 8, probability=probability)
        mirrored = (warp.matrix[:, 0, 0] < 0).sum().item()
        bound = WIDE * math.sqrt(n * probability * (1 - probability))
        assert abs(mirrored - n * probability) <= bound


class TestCrop:
    @pytest.mark.parametrize(("fill", "mode"), [("reflect", "symmetric"), ("zeros", "constant"), ("edge", "edge")])
    def test_is_padding_and_slicing(self, fill: str, mode: str) -> None:
        pad, given = 3, raw(200)
        run = tiny_run(f"crop(pad={pad}, fill='{fill}')")
        wide = np.pad(given.image.numpy(), ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode=mode)
        found = (seen(run, given) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        run.ids = given.id
        shift = (run.uniform("crop", 2) * (2 * pad + 1)).floor().long().numpy()
        for n in range(200):
            x, y = shift[n]
            assert (found[n] == wide[n, y : y + 8, x : x + 8]).all()

    def test_every_shift_is_as_likely(self) -> None:
        n, pad = 20_000, 2
        warp, _ = warp_of("crop", n, 8, 8, pad=pad)
        shifts = warp.matrix[:, :2, 2].long() + pad
        assert warp.whole
        assert torch.equal(warp.matrix[:, :2, 2], shifts.float() - pad)
        counts = torch.bincount(shifts[:, 0] * 5 + shifts[:, 1], minlength=25).double()
        assert len(counts) == 25
        assert (counts - n / 25).abs().max() < WIDE * math.sqrt(n * (1 / 25) * (24 / 25))

    def test_larger_stored_pictures_bring_their_own_pixels(self) -> None:
        given = raw(50, 10)
        run = tiny_run("crop(pad=1)")
        found = (seen(run, given, 8) * 255).round().byte().permute(0, 2, 3, 1)
        run.ids = given.id
        shift = (run.uniform("crop", 2) * 3).floor().long()
        for n in range(50):
            x, y = shift[n]
            assert torch.equal(found[n], given.image[n, y : y + 8, x : x + 8])


class TestRotate:
    def turned(self, degrees: float, given: Raw) -> Tensor:
        run = tiny_run("rotate(degrees=90)")
        run.between = lambda name, low, high: torch.full((len(given.id),), math.radians(degrees))  # the draw, chosen
        return seen(run, given)

    @pytest.mark.parametrize("size", [8, 9])
    def test_right_angle_is_rot90(self, size: int) -> None:
        given = raw(4, size)
        # Positions to 4.5 pixels are off by some 1e-6 in float32, and values differ by up to 1 from pixel to pixel.
        torch.testing.assert_close(self.turned(90, given), stored(given).rot90(1, (2, 3)), rtol=0, atol=1e-5)
        torch.testing.assert_close(self.turned(-90, given), stored(given).rot90(-1, (2, 3)), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("degrees", [7.0, -33.0])
    def test_interior_is_scipys(self, degrees: float) -> None:
        given = raw(2, 24)
        found, image = self.turned(degrees, given), stored(given).numpy().astype(np.float64)
        inner = (slice(None), slice(None), slice(6, 18), slice(6, 18))  # stays inside at every angle
        expected, other = (
            scipy.ndimage.rotate(image, a, axes=(2, 3), reshape=False, order=1) for a in (degrees, -degrees)
        )
        # Twelve pixels from the centre float32 knows a position to some 1e-6; values differ by up to 1 a pixel.
        assert np.abs(found.numpy() - expected)[inner].max() < 2e-5
        assert np.abs(found.numpy() - other)[inner].max() > 0.1

    def test_angle_is_uniform_over_both_sides(self) -> None:
        n = 10_000
        warp, _ = warp_of("rotate", n, 8, 8, degrees=30.0)
        angle = torch.atan2(warp.matrix[:, 1, 0], warp.matrix[:, 0, 0]).rad2deg().double()
        assert angle.abs().max() <= 30.001
        assert abs(angle.mean()) < WIDE * 30 / math.sqrt(3 * n)
        assert abs(angle.var() / 300 - 1) < WIDE * math.sqrt(0.8 / n)  # kurtosis of a uniform: 9/5
        determinant = torch.linalg.det(warp.matrix)
        torch.testing.assert_close(determinant, torch.ones(n), rtol=0, atol=1e-5)


class TestResizedCrop:
    def box(self, warp: Warp) -> Tensor:
        """Sides as parts of the source's and centre in source pixels. N 4 (width, height, x, y)."""
        scale = torch.tensor([warp.size[1] / warp.source[1], warp.size[0] / warp.source[0]])
        diagonal = torch.stack([warp.matrix[:, 0, 0], warp.matrix[:, 1, 1]], 1)
        return torch.cat([diagonal * scale, warp.matrix[:, :2, 2]], 1).double()

    @pytest.mark.parametrize(("smallest", "aspect"), [(0.35, 4 / 3), (0.08, 4 / 3), (0.9, 4.0), (1.0, 2.0), (0.5, 1.0)])
    @pytest.mark.parametrize(("size", "source"), [(8, 8), (8, 12), (12, 8)])
    def test_box_area_and_aspect(self, smallest: float, aspect: float, size: int, source: int) -> None:
        warp, _ = warp_of("resized_crop", 5000, size, source, smallest=smallest, aspect=aspect)
        width, height, x, y = self.box(warp).unbind(1)
        slack = 1e-5  # float32
        assert ((width * height) >= smallest - slack).all()
        assert (width <= 1 + slack).all()
        assert (height <= 1 + slack).all()
        assert ((width / height).log().abs() <= math.log(aspect) + slack).all()
        assert (x.abs() + width * source / 2 <= source / 2 + source * slack).all()
        assert (y.abs() + height * source / 2 <= source / 2 + source * slack).all()

    def test_area_is_uniform(self) -> None:
        n = 5000
        warp, _ = warp_of("resized_crop", n, 8, 8, smallest=0.2, aspect=1.0)
        width, height, *_ = self.box(warp).unbind(1)
        area = (width * height - 0.2) / 0.8
        assert abs(area.mean() - 0.5) < WIDE / math.sqrt(12 * n)
        assert abs(area.var() * 12 - 1) < WIDE * math.sqrt(0.8 / n)

    def test_a_constant_picture_stays(self) -> None:
        given = replace(raw(20, 12), image=torch.full((20, 12, 12, 3), 77, dtype=torch.uint8))
        found = seen(tiny_run("resized_crop(smallest=0.1)"), given, 8)
        torch.testing.assert_close(found, torch.full_like(found, 77 / 255), rtol=0, atol=1e-6)

    @pytest.mark.parametrize(("size", "source"), [(8, 8), (8, 12), (12, 8), (8, 16)])
    def test_all_of_it_is_a_resize(self, size: int, source: int) -> None:
        given = raw(3, source)
        found = seen(tiny_run("resized_crop(smallest=1, aspect=1)"), given, size)
        expected = F.interpolate(stored(given), (size, size), mode="bilinear", align_corners=False)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # positions to 8 pixels in float32

    @pytest.mark.parametrize(("size", "source"), [(8, 11), (7, 8)])
    def test_all_of_it_is_a_resize_when_the_difference_is_odd(self, size: int, source: int) -> None:
        self.test_all_of_it_is_a_resize(size, source)

    def test_corners_show_the_corners_of_the_box(self) -> None:
        warp, _ = warp_of("resized_crop", 3, 8, 8, smallest=0.3)
        ramp = torch.arange(8.0).expand(3, 1, 8, 8).contiguous()  # value = column
        width, _, x, _ = self.box(warp).unbind(1)
        found = resample(ramp, warp)[:, 0, 4]
        for n in range(3):
            columns = (torch.arange(8).double() - 3.5) * width[n] + x[n] + 3.5
            torch.testing.assert_close(found[n].double(), columns.clamp(0, 7), rtol=0, atol=1e-5)


class TestBrightness:
    def test_values(self) -> None:
        given = raw(100)
        run = tiny_run("brightness(strength=0.6)")
        found = seen(run, given)
        run.ids = given.id
        factor = 0.4 + 1.2 * run.uniform("brightness")[:, 0]
        expected = (stored(given) * factor[:, None, None, None]).clamp(0, 1)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # three roundings of values near 1
        assert factor.min() < 0.5
        assert factor.max() > 1.5
        assert (found == 1).any()


class TestNoise:
    @pytest.mark.parametrize("std", [0.02, 0.1])
    def test_moments(self, std: float) -> None:
        run = tiny_run(TRICKS.load("noise")(std=std))
        run.ids = torch.arange(200)
        grey = batch_of(torch.full((200, 3, 8, 8), 0.5), torch.zeros(200, dtype=torch.long))
        noise = (only(run).pixels(grey, run).image.double() - 0.5).flatten()
        n = noise.numel()  # 0.5 is five deviations from being clamped
        assert abs(noise.mean()) < WIDE * std / math.sqrt(n)
        assert abs(noise.std() / std - 1) < WIDE / math.sqrt(2 * n)
        assert len(noise.unique()) > 0.95 * n  # float32 lets some coincide

    def test_stays_in_range(self) -> None:
        found = seen(tiny_run("noise(std=1)"), raw(20))
        assert found.min() == 0
        assert found.max() == 1


class TestCutout:
    def hidden(self, size: float, n: int, height: int = 8, width: int = 8) -> Tensor:
        run = tiny_run(TRICKS.load("cutout")(size=size))
        run.ids = torch.arange(n)
        image = torch.full((n, 3, height, width), 0.125)
        found = only(run).pixels(batch_of(image, torch.zeros(n, dtype=torch.long)), run).image
        assert set(found.unique().tolist()) <= {0.125, 0.5}
        hidden = found == 0.5
        assert torch.equal(hidden[:, 0], hidden[:, 2])  # all channels alike
        return hidden[:, 0]

    def test_a_square_of_the_right_area(self) -> None:
        hidden = self.hidden(0.5, 2000)
        rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
        assert torch.equal(hidden.sum((1, 2)), rows * columns)  # a rectangle
        assert rows.max() == columns.max() == 4  # half of eight
        assert rows.min() == columns.min() == 2  # its centre is never outside
        inside = ~(hidden.any(2)[:, 0] | hidden.any(2)[:, -1] | hidden.any(1)[:, 0] | hidden.any(1)[:, -1])
        assert (hidden[inside].sum((1, 2)) == 16).all()

    @pytest.mark.parametrize(("size", "height", "width"), [(0.5, 8, 8), (0.25, 8, 12), (1.0, 6, 8)])
    def test_centre_is_uniform(self, size: float, height: int, width: int) -> None:
        n, half = 20_000, size * min(height, width) / 2
        found = self.hidden(size, n, height, width).double().mean(0)

        def chance(length: int) -> Tensor:
            place = torch.arange(length).double() + 0.5
            return ((place + half).clamp(max=length) - (place - half).clamp(min=0)) / length

        expected = chance(height)[:, None] * chance(width)
        bound = WIDE * (expected * (1 - expected) / n).sqrt()
        assert ((found - expected).abs() <= bound + 1e-12).all()


class TestMixup:
    def mixed(self, n: int, alpha: float, step: int) -> Batch:
        run = tiny_run(TRICKS.load("mixup")(alpha=alpha))
        run.step = step
        label = torch.arange(n)
        return only(run).batch(batch_of(torch.eye(n).view(n, n, 1, 1), label, n), run)

    def test_pictures_and_targets_share_their_weight(self) -> None:
        found = self.mixed(32, 1.0, 0)
        # Picture i is the i-th unit vector, and so is its target: what happens to one must happen to the other.
        assert torch.equal(found.image.view(32, 32), found.target)
        torch.testing.assert_close(found.target.sum(1), torch.ones(32), rtol=0, atol=1e-6)
        own = found.target.diagonal()
        others = found.target - torch.diag(own)
        assert ((others > 0).sum(1) <= 1).all()  # one partner each
        assert ((found.target > 0).sum(0) <= 2).all()  # and each is partner once
        assert torch.equal(found.label, torch.arange(32))

    def test_blend_of_real_pictures(self) -> None:
        run = tiny_run("mixup(alpha=1)")
        image, label = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16)
        found = only(run).batch(batch_of(image, label, 16), run)
        for i in range(16):
            partner = int(found.target[i].index_fill(0, torch.tensor([i]), 0).argmax())
            weight = found.target[i, i]
            if weight < 1:
                torch.testing.assert_close(found.image[i], weight * image[i] + (1 - weight) * image[partner])

    @pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
    def test_weights_are_beta(self, alpha: float) -> None:
        weights = []
        for step in range(100):
            target = self.mixed(64, alpha, step).target
            own = target.diagonal()
            weights.append(own[(target > 0).sum(1) == 2].double())  # its own partner tells nothing
        draws = torch.cat(weights)
        n, variance = len(draws), 1 / (4 * (2 * alpha + 1))
        # Some draws of Beta(0.2, 0.2) round to 0 or 1 and are not seen either; they are as often below as above ½.
        assert abs(draws.mean() - 0.5) < WIDE * math.sqrt(variance / n)
        # A variance estimate of a variable in [0, 1] has deviation below ¼/√n; and 2 % for the draws not seen.
        assert abs(draws.var() - variance) < WIDE * 0.25 / math.sqrt(n) + 0.02 * variance


class TestLabelSmoothing:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
    def test_is_torchs(self, smoothing: float) -> None:
        run = tiny_run(TRICKS.load("label_smoothing")(smoothing=smoothing))
        label = torch.tensor([0, 3, 1, 1, 2])
        output = torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(0))
        batch = only(run).batch(batch_of(torch.zeros(5, 3, 2, 2), label), run)
        expected = F.cross_entropy(output, label, label_smoothing=smoothing)
        torch.testing.assert_close(run.task.loss(output, batch.target), expected)
        assert torch.equal(batch.label, label)


class TestL2Penalty:
    def test_gradient_is_that_of_weight_decay(self) -> None:
        run = tiny_run("l2_penalty(strength=0.3)")
        nothing = only(run).loss(lambda output, batch, run: torch.zeros(()))
        penalty = nothing(None, None, run)
        penalty.backward()
        for parameter in run.model.parameters():
            if parameter.dim() > 1:
                torch.testing.assert_close(parameter.grad, 0.3 * parameter.detach())
            else:
                assert parameter.grad is None
        size = sum(p.detach().double().square().sum().item() for p in run.model.parameters() if p.dim() > 1)
        assert penalty.item() == pytest.approx(0.15 * size, rel=1e-6)

    def test_with_sgd_it_is_weight_decay(self) -> None:
        penalised = train_tiny(tiny_run("l2_penalty(strength=0.05)", optimizer="sgd(lr=0.1, weight_decay=0)"))
        decayed = train_tiny(tiny_run("no_decay", optimizer="sgd(lr=0.1, weight_decay=0.05)"))
        decayed_weights = dict(decayed.model.named_parameters())
        trained = {name: w for name, w in penalised.model.named_parameters() if not name.startswith("side")}
        for name, weight in trained.items():  # an idle head has no gradient to decay with, but a penalty reaches it
            torch.testing.assert_close(
                weight, decayed_weights[name], rtol=0, atol=1e-5
            )  # eight steps of float32 on weights below 1


@dataclass(frozen=True)
class Squares:
    """A regression in float64, so that sums can be compared to the last digits."""

    name = "classification"

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).square().sum(1).mean()


def exact_run(*tricks: str) -> tuple[Run, Batch]:
    """A network without batch normalisation in float64, and a batch of ten."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, CLASSES)).double()
    run = tiny_run(*tricks, network=lambda: model)
    run.task = Squares()
    draw = torch.Generator().manual_seed(1)
    image = torch.randn(10, 3, 2, 2, generator=draw, dtype=torch.float64)
    return run, batch_of(image, torch.randint(0, CLASSES, (10,), generator=draw))


def gradients(run: Run, batch: Batch) -> tuple[list[Tensor], Any]:
    for parameter in run.model.parameters():
        parameter.grad = None
    passed = run.gradient(batch, run)
    return [p.grad.clone() for p in run.model.parameters()], passed


class TestAccumulate:
    @pytest.mark.parametrize("parts", [1, 2, 3, 4, 10, 64])
    def test_gradient_is_the_whole_batchs(self, parts: int) -> None:
        whole, passed = gradients(*exact_run())
        in_parts, joined = gradients(*exact_run(f"accumulate(parts={parts})"))
        for one, other in zip(whole, in_parts, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)  # sums of ten terms below 10, 2e-15 each
        torch.testing.assert_close(joined.loss, passed.loss, rtol=0, atol=1e-12)
        torch.testing.assert_close(joined.output, passed.output, rtol=0, atol=1e-12)

    def test_no_part_is_larger_than_it_must_be(self) -> None:
        run, batch = exact_run("accumulate(parts=4)")
        sizes: list[int] = []
        run.model.register_forward_hook(lambda m, given, output: sizes.append(len(given[0])))
        run.gradient(batch, run)
        assert sum(sizes) == 10
        assert sorted(sizes) == [2, 2, 3, 3]

    def test_gradients_that_were_there_are_added_to(self) -> None:
        run, batch = exact_run("accumulate(parts=3)")
        once, _ = gradients(run, batch)
        run.gradient(batch, run)
        for parameter, gradient in zip(run.model.parameters(), once, strict=True):
            torch.testing.assert_close(parameter.grad, 2 * gradient, rtol=0, atol=1e-12)

    def test_penalties_count_once(self) -> None:
        whole, _ = gradients(*exact_run("l2_penalty(strength=1)"))
        in_parts, _ = gradients(*exact_run("l2_penalty(strength=1)", "accumulate(parts=4)"))
        for one, other in zip(whole, in_parts, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


class Bowl(nn.Module):
    """½ wᵀ A w, whatever the picture."""

    def __init__(self) -> None:
        super().__init__()
        root = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.matrix = root @ root.T + torch.eye(5)
        self.first = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
        self.second = nn.Parameter(torch.tensor([0.5, 3.0, -1.0], dtype=torch.float64))

    def forward(self, image: Tensor) -> Tensor:
        w = torch.cat([self.first, self.second])
        return (0.5 * w @ self.matrix @ w).expand(len(image), 1)


@dataclass(frozen=True)
class Mean:
    name = "classification"

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return output.mean()


class TestSam:
    @pytest.mark.parametrize("rho", [0.05, 1.0])
    @pytest.mark.parametrize("others", [[], ["accumulate(parts=3)"]])
    def test_on_a_quadratic(self, rho: float, others: list[str]) -> None:
        bowl = Bowl()
        run = tiny_run(f"sam(rho={rho})", *others, network=lambda: bowl)
        run.task = Mean()
        w = torch.cat([bowl.first, bowl.second]).detach().clone()
        passed = run.gradient(batch_of(torch.zeros(7, 1, 1, 1).double(), torch.zeros(7, dtype=torch.long)), run)
        uphill = bowl.matrix @ w
        expected = bowl.matrix @ (w + rho * uphill / uphill.norm())
        found = torch.cat([bowl.first.grad, bowl.second.grad])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)  # 1e-12 beside the norm, in float64
        assert torch.equal(torch.cat([bowl.first, bowl.second]), w)  # back where it was
        assert float(passed.loss) == pytest.approx(float(0.5 * w @ bowl.matrix @ w), rel=1e-12)


class TestGradClip:
    @pytest.mark.parametrize("norm", [0.01, 0.5, 3.0, 1e6])
    def test_is_torchs(self, norm: float) -> None:
        run, batch = exact_run(f"grad_clip(norm={norm})")
        before, _ = gradients(run, batch)
        run.gradient_norm = float(torch.cat([g.flatten() for g in before]).norm())
        only(run).before_step(run)
        other, batch = exact_run()
        gradients(other, batch)
        nn.utils.clip_grad_norm_(other.model.parameters(), norm)
        for one, two in zip(run.model.parameters(), other.model.parameters(), strict=True):
            torch.testing.assert_close(
                one.grad, two.grad, rtol=2e-6, atol=0
            )  # torch adds 1e-6 to the norm, here above 1
        assert run.gradient_norm > 1

    def test_in_the_loop(self) -> None:
        norms: list[float] = []

        class Norms(Watcher):
            def stepped(self, run: Run) -> None:
                norms.append(
                    float(torch.cat([p.grad.flatten() for p in run.optimizer.parameters if p.grad is not None]).norm())
                )

        run = train_tiny(tiny_run("grad_clip(norm=0.05)"), watcher=Norms())
        assert norms == pytest.approx([0.05] * 8, rel=1e-5)
        assert run.history[0]["gradient_norm"] > 0.1  # what is written down is the norm as it was


class States(Watcher):
    """The weights at the start and after every step, in float64."""

    def started(self, run: Run) -> None:
        self.seen = [self.now(run)]

    def stepped(self, run: Run) -> None:
        self.seen.append(self.now(run))

    def now(self, run: Run) -> dict[str, Tensor]:
        return {name: value.clone().double() for name, value in run.model.state_dict().items()}


class TestEma:
    @pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
    def test_recurrence(self, decay: float) -> None:
        watcher = States()
        run = train_tiny(tiny_run(TRICKS.load("ema")(decay=decay), epochs=5), watcher=watcher)
        average = watcher.seen[0]
        for t, state in enumerate(watcher.seen[1:]):
            d = min(decay, (1 + t) / (10 + t))
            average = {name: d * average[name] + (1 - d) * state[name] for name in average}
        found = run.predictor().state_dict()
        for name, value in found.items():
            if value.is_floating_point():
                # Twenty steps, each with a rounding or two of values below 2 in float32.
                torch.testing.assert_close(value.double(), average[name], rtol=0, atol=1e-5)
            else:
                assert torch.equal(value, run.model.state_dict()[name])

    def test_an_average_that_never_moves_is_refused(self) -> None:
        with pytest.raises(NetwrightError, match=r"ema: decay cannot be 1\.0"):
            TRICKS.build("ema(decay=1)")

    def test_training_is_not_touched(self) -> None:
        without = train_tiny(tiny_run())
        averaged = train_tiny(tiny_run("ema(decay=0.9)"))
        assert digest(averaged) == digest(without)
        assert outputs(averaged).tobytes() != outputs(without).tobytes()
        assert digest(averaged) == digest(without)  # nor by predicting


class TestTestTimeAugmentation:
    @pytest.mark.parametrize(("flip", "shift"), [(True, 0), (False, 2), (True, 2)])
    def test_mean_of_log_probabilities(self, flip: bool, shift: int) -> None:
        run = tiny_run(TRICKS.load("test_time_augmentation")(flip=flip, shift=shift))
        image = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        model = run.model.eval()
        views = [image]
        if shift:
            wide = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge"))
            views += [wide[:, :, :8, :8], wide[:, :, 4:, 4:]]
        if flip:
            views += [view.flip(3) for view in views]
        with torch.no_grad():
            mean = torch.stack([model(view).log_softmax(1) for view in views]).mean(0)
            expected = mean - mean.logsumexp(1, keepdim=True)
            found = run.predictor()(image)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(found.exp().sum(1), torch.ones(5), rtol=0, atol=1e-5)

    def test_mirrored_pictures_are_the_same_to_it(self) -> None:
        run = tiny_run("test_time_augmentation")
        image = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            predict = run.predictor()
            torch.testing.assert_close(predict(image), predict(image.flip(3)), rtol=0, atol=1e-6)


class TestInit:
    def layers(self, kind: str) -> nn.Sequential:
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(16, 48, 5), nn.BatchNorm2d(48), nn.Linear(300, 200), nn.Conv2d(8, 64, 3, groups=4)
        )
        with torch.no_grad():
            module[1].weight.fill_(3.0)
        return TRICKS.load("init")(kind=kind).model(module)

    @pytest.mark.parametrize(
        ("kind", "variance"),
        [("he", lambda i, o: 2 / i), ("lecun", lambda i, o: 1 / i), ("xavier", lambda i, o: 2 / (i + o))],
    )
    def test_variance_by_fan(self, kind: str, variance: Any) -> None:
        conv, norm, linear, grouped = self.layers(kind)
        fans = [(conv, 16 * 25, 48 * 25), (linear, 300, 200), (grouped, 2 * 9, 64 * 9)]
        for layer, fan_in, fan_out in fans:
            weight = layer.weight.detach().double()
            n, expected = weight.numel(), math.sqrt(variance(fan_in, fan_out))
            assert abs(weight.std() / expected - 1) < WIDE / math.sqrt(2 * n)
            assert abs(weight.mean()) < WIDE * expected / math.sqrt(n)
            assert (layer.bias == 0).all()
        assert (norm.weight == 3).all()

    def test_orthogonal(self) -> None:
        conv, _, linear, _ = self.layers("orthogonal")
        rows = conv.weight.detach().flatten(1).double()
        torch.testing.assert_close(rows @ rows.T, torch.eye(48).double(), rtol=0, atol=1e-5)
        square = linear.weight.detach().double()
        torch.testing.assert_close(square @ square.T, torch.eye(200).double(), rtol=0, atol=1e-5)

    def test_zeros_and_keep(self) -> None:
        conv, _, linear, _ = self.layers("zeros")
        assert not conv.weight.any()
        assert not linear.weight.any()
        torch.manual_seed(0)
        assert hash_of(self.layers("keep")[0].state_dict()) == hash_of(self.layers("keep")[0].state_dict())
        assert self.layers("keep")[0].bias.any()


class TestNoDecay:
    def test_two_groups(self) -> None:
        plan = TRICKS.build("no_decay").optim(OptimPlan.of(TinyNetwork()))
        assert [group.decay for group in plan.groups] == [1.0, 0.0]
        assert all(p.dim() > 1 for _, p in plan.groups[0].parameters)
        assert all(p.dim() <= 1 for _, p in plan.groups[1].parameters)
        names = sorted(name for group in plan.groups for name, _ in group.parameters)
        assert names == sorted(name for name, _ in TinyNetwork().named_parameters())

    def test_a_layer_scale_is_spared_and_a_small_kernel_is_not(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.Linear(4, 1, bias=False))
        network.register_parameter("layer_scale", nn.Parameter(torch.ones(4, 1, 1)))
        plan = TRICKS.build("no_decay").optim(OptimPlan.of(network))
        assert [[name for name, _ in group.parameters] for group in plan.groups] == [
            ["0.weight", "1.weight"],
            ["layer_scale"],
        ]

    @pytest.mark.parametrize(
        "optimizer", ["sgd(lr=0.1, weight_decay=0.5, momentum=0)", "adamw(lr=0.1, weight_decay=0.5)"]
    )
    def test_decay_alone_leaves_biases_and_norms(self, optimizer: str) -> None:
        run = tiny_run("no_decay", optimizer=optimizer)
        before = [p.detach().clone() for p in run.model.parameters()]
        for parameter in run.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        run.optimizer.step(1.0)
        for parameter, old in zip(run.model.parameters(), before, strict=True):
            if parameter.dim() > 1:
                torch.testing.assert_close(parameter.detach(), old * 0.95)
            else:
                assert torch.equal(parameter, old)


class TestBalancedSampling:
    LABELS = np.repeat(np.arange(4), [400, 150, 40, 10])

    def source(self) -> Pictures:
        source = Pictures(600)
        source.labels = self.LABELS
        return source

    @pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
    def test_weights(self, power: float) -> None:
        counts = np.array([400, 150, 40, 10])
        plan = TRICKS.load("balanced_sampling")(power=power).data(DataPlan(self.source(), 4, 16))
        assert plan.weights.sum() == pytest.approx(1, rel=1e-12)
        by_class = np.array([plan.weights[k == self.LABELS].sum() for k in range(4)])
        expected = counts ** (1 - power) / (counts ** (1 - power)).sum()
        assert by_class == pytest.approx(expected, rel=1e-12)

        orders = np.concatenate([epoch_order(600, 0, epoch, plan.weights) for epoch in range(20)])
        drawn, n = np.bincount(self.LABELS[orders], minlength=4), len(orders)
        assert (np.abs(drawn - n * expected) < WIDE * np.sqrt(n * expected * (1 - expected))).all()

    def test_the_loader_draws_balanced(self) -> None:
        run = tiny_run("balanced_sampling", train_source=self.source())
        drawn = torch.cat([raw.label for epoch in range(10) for raw in run.loader.epoch(epoch)]).bincount(minlength=4)
        n = int(drawn.sum())
        assert (drawn.double() - n / 4).abs().max() < WIDE * math.sqrt(n * 3 / 16)

    def test_without_labels_it_says_so(self) -> None:
        source = Pictures(8)
        source.labels = None
        with pytest.raises(NetwrightError, match="balanced_sampling cannot see the labels"):
            TRICKS.build("balanced_sampling").data(DataPlan(source, 4, 4))

    def test_a_class_without_samples_is_no_trouble(self) -> None:
        plan = TRICKS.build("balanced_sampling").data(DataPlan(self.source(), 9, 16))
        assert np.isfinite(plan.weights).all()


class TestEarlyStopping:
    def scripted(self, losses: list[float], *tricks: str) -> tuple[Run, list[str]]:
        """A run whose validation loss is given, and what the predictor was at each epoch."""
        run = tiny_run(*tricks, epochs=len(losses))
        seen: list[str] = []

        def validate() -> dict[str, float]:
            seen.append(hash_of(run.predictor().state_dict()))
            return {"loss": losses[run.epoch - 1]}

        run.validate = validate
        return train_tiny(run), seen

    @pytest.mark.parametrize(
        ("losses", "options", "last", "best"),
        [
            ([5, 4, 4.5, 4.2, 1, 1], "patience=2", 4, 2),
            ([5, 4, 4, 1, 1], "patience=1", 3, 2),  # as good is no better
            ([5, 4, 3, 2, 1], "patience=1", 5, 5),
            ([5, 4.9, 4.8, 4.4, 4.3, 1], "patience=2, min_delta=0.5", 3, 1),
            ([5, 4.9, 4.4, 4.3, 4.2, 1], "patience=2, min_delta=0.5", 5, 3),
            ([5, float("nan"), float("nan"), 1], "patience=2", 3, 1),
        ],
    )
    @pytest.mark.parametrize("others", [[], ["ema(decay=0.9)"]])
    def test_stops_at_the_right_epoch_with_the_best_weights(
        self, losses: list[float], options: str, last: int, best: int, others: list[str]
    ) -> None:
        run, seen = self.scripted(losses, f"early_stopping({options})", *others)
        assert run.epoch == last
        assert bool(run.stopped) == (last < len(losses))
        if run.stopped:
            assert f"best at epoch {best}" in run.stopped
        assert len(set(seen)) == len(seen)
        assert hash_of(run.predictor().state_dict()) == seen[best - 1]

    def test_without_validation_it_says_so(self) -> None:
        with pytest.raises(NetwrightError, match="early_stopping needs validation data"):
            tiny_run("early_stopping", validates=False)


def test_every_trick_has_its_maths_tested() -> None:
    files = Path(__file__).parent.glob("test_*.py")
    found = {name for file in files for name in CLASS.findall(file.read_text("utf-8"))}
    missing = [name for name in TRICKS.names() if f"Test{camel(name)}" not in found]
    assert not missing


def test_normalise_is_the_same_for_bytes_and_values() -> None:
    image = raw(4).image.permute(0, 3, 1, 2)
    # The same three operations in the same order, whether the division by 255 came first or is made here.
    torch.testing.assert_close(NORMALISE(image), NORMALISE(image.float() / 255), rtol=0, atol=0)


def test_the_harness_is_a_classification() -> None:
    assert isinstance(tiny_run().task, Classification)
