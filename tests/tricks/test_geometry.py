"""Geometry tricks against torchvision, SciPy and closed forms; and masks, which follow their pictures."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from netwright.engine.augment import Augment
from netwright.engine.plans import Raw
from netwright.engine.run import Run
from netwright.engine.trick import Tricks
from netwright.engine.warp import IGNORE, TIE, Warp, resample, resample_labels
from netwright.tricks import TRICKS
from netwright.tricks.elastic import smoothed
from netwright.tricks.elastic_grid import cubic, spread
from netwright.tricks.perspective import homography, straightened
from netwright.tricks.progressive_resize import side
from tests.support import NORMALISE, tiny_run
from tests.tricks.test_maths import WIDE, plain, raw, seen, stored, warp_of

BILINEAR = InterpolationMode.BILINEAR
# Positions within 16 pixels are known to some 2e-6 in float32, in either library; values differ by up to 1 a pixel.
CLOSE = 2e-5


def shown(run: Run, given: Raw, uniform: Tensor | None = None) -> tuple[Tensor, Warp]:
    """Pictures through the geometry station with zeros outside, as torchvision pads; draws may be chosen. N C H W."""
    if uniform is not None:
        run.uniform = lambda name, n=1, epoch=None: uniform
    run.ids = given.id
    image = stored(given)
    start = Warp.centre(len(image), image.shape[2:], image.shape[2:], image.device)
    warp = run.tricks.through("geometry", replace(start, padding="zeros"), run)
    return resample(image, warp), warp


def per_picture(image: Tensor, function: Any) -> Tensor:
    return torch.stack([function(i, picture) for i, picture in enumerate(image)])


def affine(picture: Tensor, *, scale: float = 1.0, shear: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    return tv.affine(picture, 0.0, [0, 0], scale, list(shear), interpolation=BILINEAR)


def in_one_picture(image: Tensor, position: Tensor) -> Tensor:
    """Look at source pixels (x, y), N 2 H W from the centre, by SciPy. N C H W -> N C H W."""
    height, width = image.shape[2:]
    place = position.double().numpy() + np.array([(width - 1) / 2, (height - 1) / 2])[None, :, None, None]
    out = [
        [scipy.ndimage.map_coordinates(channel, [y, x], order=1, mode="reflect") for channel in picture]
        for picture, (x, y) in zip(image.double().numpy(), place, strict=True)
    ]
    return torch.from_numpy(np.array(out))


def centred(height: int, width: int) -> Tensor:
    """Each pixel's own (x, y) from the centre, in float64. 2 H W."""
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    return torch.stack([x - (width - 1) / 2, y - (height - 1) / 2])


class TestVerticalFlip:
    def test_mirrors_exactly(self) -> None:
        given = raw(64)
        image, flipped = stored(given), seen(tiny_run("vertical_flip(probability=1)"), given)
        torch.testing.assert_close(flipped, image.flip(2), rtol=0, atol=1e-6)  # bytes divided here, multiplied there
        mixed = seen(tiny_run("vertical_flip"), given)
        kept = (mixed - image).abs().amax((1, 2, 3)) < 1e-6
        assert 0 < kept.sum() < 64
        torch.testing.assert_close(mixed[~kept], image.flip(2)[~kept], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
    def test_as_often_as_it_says(self, probability: float) -> None:
        n = 10_000
        warp, _ = warp_of("vertical_flip", n, 8, 8, probability=probability)
        assert warp.whole
        assert (warp.matrix[:, 0, 0] == 1).all()
        mirrored = (warp.matrix[:, 1, 1] < 0).sum().item()
        assert abs(mirrored - n * probability) <= WIDE * math.sqrt(n * probability * (1 - probability))

    def test_with_flip_it_is_half_a_turn(self) -> None:
        given = raw(3, 7)
        found = seen(tiny_run("flip(probability=1)", "vertical_flip(probability=1)"), given)
        torch.testing.assert_close(found, stored(given).rot90(2, (2, 3)), rtol=0, atol=1e-6)


class TestAlternatingFlip:
    def mirrored(self, epoch: int, n: int = 4000, seed: int = 0) -> Tensor:
        run = tiny_run("alternating_flip", seed=seed)
        run.ids, run.epoch = torch.arange(n), epoch
        warp = run.tricks.through("geometry", Warp.centre(n, (8, 8), (8, 8), torch.device("cpu")), run)
        assert warp.whole
        return warp.matrix[:, 0, 0] < 0

    def test_half_begin_mirrored_and_then_all_alternate(self) -> None:
        first = self.mirrored(0)
        assert abs(int(first.sum()) - 2000) < WIDE * math.sqrt(4000 / 4)
        for epoch in range(1, 5):
            assert torch.equal(self.mirrored(epoch), first ^ (epoch % 2 == 1))
        assert not torch.equal(self.mirrored(0, seed=1), first)

    def test_two_epochs_show_both_sides(self) -> None:
        given = raw(16)
        run = tiny_run("alternating_flip")
        even = seen(run, given)
        run.epoch = 1
        torch.testing.assert_close(seen(run, given), even.flip(3), rtol=0, atol=0)


class TestZoom:
    FACTORS = torch.tensor([0.5, 0.8, 1.0, 1.3, 2.0])

    @pytest.mark.parametrize("size", [16, 15])
    def test_is_torchvisions(self, size: int) -> None:
        given = raw(5, size)
        run = tiny_run("zoom(ratio=2)")
        run.between = lambda name, low, high: self.FACTORS.log()
        found, _ = shown(run, given)
        expected = per_picture(stored(given), lambda i, p: affine(p, scale=float(self.FACTORS[i])))
        torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE)

    def test_logarithm_is_uniform(self) -> None:
        n, limit = 10_000, math.log(1.5)
        warp, _ = warp_of("zoom", n, 8, 8, ratio=1.5)
        factor = warp.matrix[:, 0, 0].double().log()
        assert torch.equal(warp.matrix[:, 0, 0], warp.matrix[:, 1, 1])
        assert factor.abs().max() <= limit + 1e-6
        assert abs(factor.mean()) < WIDE * limit / math.sqrt(3 * n)
        assert abs(factor.var() * 3 / limit**2 - 1) < WIDE * math.sqrt(0.8 / n)  # kurtosis of a uniform: 9/5


class TestShear:
    @pytest.mark.parametrize("size", [16, 15])
    def test_is_torchvisions(self, size: int) -> None:
        given = raw(6, size)
        draws = torch.rand(6, 2, generator=torch.Generator().manual_seed(1))
        draws[0, 0] = draws[1, 1] = 0.5  # along one axis alone
        found, _ = shown(tiny_run("shear(degrees=40)"), given, draws)
        angle = (2 * draws - 1) * 40
        expected = per_picture(stored(given), lambda i, p: affine(p, shear=(float(angle[i, 0]), float(angle[i, 1]))))
        torch.testing.assert_close(found, expected, rtol=0, atol=CLOSE)

    def test_keeps_areas_and_draws_uniformly(self) -> None:
        n = 10_000
        warp, _ = warp_of("shear", n, 8, 8, degrees=30.0)
        torch.testing.assert_close(torch.linalg.det(warp.matrix), torch.ones(n), rtol=0, atol=1e-5)
        angles = torch.stack([warp.matrix[:, 0, 1], warp.matrix[:, 1, 0]]).double().atan().rad2deg()
        assert angles.abs().max() <= 30.001
        assert (angles.mean(1).abs() < WIDE * 30 / math.sqrt(3 * n)).all()
        assert ((angles.var(1) / 300 - 1).abs() < WIDE * math.sqrt(0.8 / n)).all()
        assert abs(torch.corrcoef(angles)[0, 1]) < WIDE / math.sqrt(n)


class TestTranslate:
    def test_is_scipys(self) -> None:
        given = raw(4, 12)
        found, warp = shown(tiny_run("translate(part=0.4)"), given)
        expected = [
            [scipy.ndimage.shift(c, (-m[1, 2], -m[0, 2]), order=1, mode="grid-constant") for c in picture]
            for picture, m in zip(stored(given).double().numpy(), warp.matrix.double().numpy(), strict=True)
        ]
        torch.testing.assert_close(found.double(), torch.from_numpy(np.array(expected)), rtol=0, atol=CLOSE)

    def test_whole_pixels_are_a_roll(self) -> None:
        given = raw(2, 8)
        found, _ = shown(tiny_run("translate(part=0.5)"), given, torch.tensor([[0.5 + 2 / 8, 0.5 - 1 / 8]] * 2))
        torch.testing.assert_close(found[:, :, 1:, :6], stored(given)[:, :, :7, 2:], rtol=0, atol=CLOSE)
        assert found[:, :, 0].abs().max() < CLOSE  # nothing above

    @pytest.mark.parametrize("size", [(8, 8), (6, 20)])
    def test_shift_is_uniform_over_a_part_of_each_side(self, size: tuple[int, int]) -> None:
        n = 10_000
        run = tiny_run("translate(part=0.25)")
        run.ids = torch.arange(n)
        warp = run.tricks.through("geometry", Warp.centre(n, size, (20, 20), torch.device("cpu")), run)
        shift = warp.matrix[:, :2, 2].double() / torch.tensor([size[1], size[0]])
        assert not warp.whole
        assert shift.abs().max() <= 0.25 + 1e-6
        assert (shift.mean(0).abs() < WIDE * 0.25 / math.sqrt(3 * n)).all()
        assert ((shift.var(0) * 3 / 0.25**2 - 1).abs() < WIDE * math.sqrt(0.8 / n)).all()
        assert abs(torch.corrcoef(shift.T)[0, 1]) < WIDE / math.sqrt(n)


class TestPerspective:
    CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))

    @pytest.mark.parametrize("size", [16, 15])
    def test_is_torchvisions(self, size: int) -> None:
        given = raw(6, size)
        draws = torch.rand(6, 9, generator=torch.Generator().manual_seed(2))
        found, _ = shown(tiny_run("perspective(distortion=0.47, probability=1)"), given, draws)
        start = [[0, 0], [size, 0], [size, size], [0, size]]  # torchvision samples at pixels' centres, from the edge

        def expected(i: int, picture: Tensor) -> Tensor:
            inward = 0.47 * draws[i, :8].view(2, 4).T * size / 2
            end = [[x - sx * dx, y - sy * dy] for (x, y), (sx, sy), (dx, dy) in
                   zip(start, self.CORNERS, inward.tolist(), strict=True)]  # fmt: skip
            return tv.perspective(picture, start, end, interpolation=BILINEAR)

        torch.testing.assert_close(found, per_picture(stored(given), expected), rtol=0, atol=5 * CLOSE)

    def test_takes_points_to_points(self) -> None:
        draw = torch.Generator().manual_seed(3)
        matrix = torch.eye(3, dtype=torch.float64) + 0.2 * torch.randn(7, 3, 3, generator=draw, dtype=torch.float64)
        matrix = matrix / matrix[:, 2:, 2:]
        x, y = torch.tensor([-1.0, 1, 1, -1]), torch.tensor([-1.0, -1, 1, 1])
        moved = matrix @ torch.stack([x, y, torch.ones(4)]).double()
        u, v = (moved[:, :2] / moved[:, 2:]).unbind(1)
        found = homography(x.expand(7, 4).double(), y.expand(7, 4).double(), u, v)
        torch.testing.assert_close(found, matrix, rtol=1e-9, atol=1e-9)  # float64, condition of some hundreds

    def test_never_folds(self) -> None:
        """The denominator is linear in place and so least at a corner; it stays positive at the strongest draws."""
        extremes = torch.tensor([*itertools.product([0.0, 1.0], repeat=8)], dtype=torch.float64) * 0.47
        matrix = straightened(extremes[:, :4], extremes[:, 4:], (8, 12))
        corners = torch.tensor([[x * 6, y * 4, 1] for x, y in self.CORNERS], dtype=torch.float64)
        assert (matrix[:, 2] @ corners.T).min() > 0.01

    def test_as_often_as_it_says_and_as_far(self) -> None:
        n, size = 10_000, 8
        warp, _ = warp_of("perspective", n, size, size, distortion=0.4, probability=0.3)
        moved = (warp.matrix - torch.eye(3)).abs().amax((1, 2)) > 1e-4
        assert abs(int(moved.sum()) - 0.3 * n) < WIDE * math.sqrt(n * 0.3 * 0.7)
        corner = torch.linalg.inv(warp.matrix[moved].double()) @ torch.tensor([4.0, -4.0, 1.0]).double()
        inward = (1 - corner[:, :2] / corner[:, 2:] / torch.tensor([4.0, -4.0])) / 0.4  # of the upper right one
        assert inward.min() > -1e-4
        assert inward.max() < 1 + 1e-4
        assert ((inward.mean(0) - 0.5).abs() < WIDE / math.sqrt(12 * len(inward))).all()

    def test_without_probability_it_is_not_there(self) -> None:
        warp, _ = warp_of("perspective", 4, 8, 8, probability=0.0)
        assert warp.whole

    @pytest.mark.parametrize("size", [(1, 1), (1, 9)])
    def test_pictures_of_one_pixel(self, size: tuple[int, int]) -> None:
        assert straightened(torch.rand(5, 4) / 2, torch.rand(5, 4) / 2, size).isfinite().all()


class TestElastic:
    @pytest.mark.parametrize("sigma", [0.7, 2.0, 5.0])
    @pytest.mark.parametrize("size", [(12, 17), (1, 6)])
    def test_smoothing_is_scipys(self, sigma: float, size: tuple[int, int]) -> None:
        field = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        found = smoothed(field, sigma).double().numpy()
        expected = scipy.ndimage.gaussian_filter(
            field.double().numpy(), sigma, axes=(2, 3), mode="constant", truncate=8
        )
        assert np.abs(found - expected).max() < 2e-6  # sums of weighted values below 1 in float32

    @pytest.mark.parametrize("size", [16, 15])
    def test_is_scipys_map_coordinates(self, size: int) -> None:
        given = raw(3, size)
        run = tiny_run("elastic(alpha=20, sigma=2)")
        found = seen(run, given)
        run.ids = given.id
        noise = 2 * run.uniform("elastic", 2 * size * size).double().numpy().reshape(3, 2, size, size) - 1
        field = 20 * scipy.ndimage.gaussian_filter(noise, 2, axes=(2, 3), mode="constant", truncate=8)
        assert np.abs(field).max() > 1  # it bends by more than a pixel
        expected = in_one_picture(stored(given), centred(size, size) + torch.from_numpy(field))
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=2 * CLOSE)  # and the field is off by 2e-6

    def test_strength_is_the_papers(self) -> None:
        """Noise uniform over −1 … 1 has variance ⅓, and a Gaussian of deviation σ leaves 1 / (4 π σ²) of it."""
        warp, _ = warp_of("elastic", 300, 48, 48, alpha=34.0, sigma=4.0)
        assert warp.field is not None
        inner = warp.field[:, :, 16:32, 16:32].double()  # four deviations from the edges
        expected = 34 / (4 * math.sqrt(3 * math.pi) * 2)
        independent = 300 * 2 * 16 * 16 / (4 * math.pi * 4**2)  # values within some 14 pixels are alike
        assert abs(inner.std() / expected - 1) < WIDE / math.sqrt(2 * independent)
        assert abs(inner.mean()) < WIDE * expected / math.sqrt(independent)
        assert warp.field.std((0, 1))[0, 0] < 0.6 * expected  # corners are smoothed with nothing


class TestElasticGrid:
    def test_vectors_stand_at_grid_points(self) -> None:
        vectors = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
        found = spread(vectors, (9, 13))
        torch.testing.assert_close(found[:, :, ::4, ::6], vectors, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("size", [(9, 13), (17, 8), (64, 50)])
    @pytest.mark.parametrize("grid", [2, 3, 5])
    def test_is_torchs_bicubic_interpolation(self, size: tuple[int, int], grid: int) -> None:
        vectors = 10 * torch.randn(3, 2, grid, grid, generator=torch.Generator().manual_seed(1))
        expected = F.interpolate(vectors.double(), size, mode="bicubic", align_corners=True)
        # Weights are up to 1.3 in all, vectors up to some 30; a pixel's place is known to 1e-6, slopes are below 40.
        torch.testing.assert_close(spread(vectors, size).double(), expected, rtol=0, atol=1e-4)

    def test_the_kernel_is_keys(self) -> None:
        """By hand with a = -3/4: at 1/2 it is 19/32, at 3/2 it is -3/32; the four around any place sum to 1."""
        found = cubic(torch.tensor([0, 0.5, -0.5, 1, 1.5, 2, 3]).double())
        assert found.tolist() == [1, 19 / 32, 19 / 32, 0, -3 / 32, 0, 0]
        place = torch.rand(100, generator=torch.Generator().manual_seed(2)).double()
        total = cubic(place[:, None] - torch.arange(-1, 3)).sum(1)
        torch.testing.assert_close(total, torch.ones(100).double(), rtol=0, atol=1e-12)

    def test_deviation_at_grid_points_is_sigma(self) -> None:
        n = 2000
        warp, _ = warp_of("elastic_grid", n, 9, 9, grid=3, sigma=10.0)
        assert warp.field is not None
        assert not warp.whole
        vectors = warp.field[:, :, ::4, ::4].double().flatten(1)
        assert (vectors.mean(0).abs() < WIDE * 10 / math.sqrt(n)).all()
        assert ((vectors.std(0) / 10 - 1).abs() < WIDE / math.sqrt(2 * n)).all()
        alike = torch.corrcoef(vectors.T) - torch.eye(18)
        assert alike.abs().max() < WIDE / math.sqrt(n)

    def test_moves_output_pixels_as_scipy_does(self) -> None:
        given = raw(3, 16)
        run = tiny_run("elastic_grid(grid=3, sigma=3)")
        found = seen(run, given)
        run.ids = given.id
        vectors = 3 * run.normal("elastic_grid", 18).double().view(3, 2, 3, 3)
        field = F.interpolate(vectors, (16, 16), mode="bicubic", align_corners=True)
        expected = in_one_picture(stored(given), centred(16, 16) + field)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=10 * CLOSE)  # the field is off by 1e-5

    def test_pictures_of_one_pixel_or_row(self) -> None:
        vectors = torch.arange(9.0).view(1, 1, 3, 3).repeat(1, 2, 1, 1)
        assert torch.equal(spread(vectors, (1, 1)), vectors[:, :, 1:2, 1:2])  # the middle
        assert torch.equal(spread(vectors, (1, 3)), vectors[:, :, 1:2])

    def test_without_strength_it_is_not_there(self) -> None:
        warp, _ = warp_of("elastic_grid", 4, 8, 8, sigma=0.0)
        assert warp.whole


class TestProgressiveResize:
    def at(self, progress: float, size: tuple[int, int] = (32, 24), **options: Any) -> tuple[int, int]:
        run = tiny_run(TRICKS.load("progressive_resize")(**options))
        run.step = round(progress * run.steps)
        run.ids = torch.arange(2)
        return run.tricks.through("geometry", Warp.centre(2, size, size, torch.device("cpu")), run).size

    def test_grows_to_full_size(self) -> None:
        options = {"smallest": 0.5, "until": 0.5, "multiple": 1}
        assert [self.at(p, **options) for p in (0, 0.125, 0.25, 0.375, 0.5, 0.75, 1)] == [
            (16, 12), (20, 15), (24, 18), (28, 21), (32, 24), (32, 24), (32, 24),
        ]  # fmt: skip
        assert self.at(0, smallest=0.5, until=0.5, multiple=8) == (16, 16)
        assert self.at(0, smallest=0.1, until=0.0) == (32, 24)

    def test_sides(self) -> None:
        assert [side(28, part, 8) for part in (0.05, 0.5, 0.8, 0.99, 1.0)] == [8, 16, 24, 24, 28]
        assert [side(5, part, 8) for part in (0.1, 0.9, 1.0)] == [5, 5, 5]  # never larger than the whole
        assert side(1, 0.05, 1) == 1

    @pytest.mark.parametrize(("stored_size", "size"), [(8, None), (15, None), (15, 8), (12, 7)])
    def test_is_torchs_resize_of_the_central_crop(self, stored_size: int, size: int | None) -> None:
        given = raw(3, stored_size)
        full = seen(tiny_run(), given, size)
        found = seen(tiny_run("progressive_resize(smallest=0.6, multiple=1)"), given, size)
        expected = F.interpolate(full, found.shape[2:], mode="bilinear", align_corners=False)
        assert found.shape[2] == round(0.6 * full.shape[2]) < full.shape[2]
        inner = slice(1, -1)  # at the edge of a crop it sees what is stored beyond
        torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner], rtol=0, atol=CLOSE)

    def test_other_tricks_do_not_notice(self) -> None:
        """The view is the one of the full size: each pixel of the small picture looks at its place there."""
        names = [name for name in GEOMETRY if name not in ("progressive_resize", "flip", "elastic", "elastic_grid")]
        given = raw(4, 16)
        _, full = shown(tiny_run(*names), given)
        _, small = shown(tiny_run(*names, "progressive_resize(smallest=0.5, multiple=1)"), given)
        assert small.size == (8, 8)
        twice = torch.diag(torch.tensor([2.0, 2.0, 1.0]))
        torch.testing.assert_close(small.matrix, full.matrix @ twice, rtol=1e-6, atol=1e-6)

    def test_what_bends_is_resized_too(self) -> None:
        given = raw(2, 16)
        _, full = shown(tiny_run("elastic"), given)
        _, small = shown(tiny_run("elastic", "progressive_resize(smallest=0.5, multiple=1)"), given)
        assert full.field is not None
        assert small.field is not None
        torch.testing.assert_close(small.field, F.avg_pool2d(full.field, 2) / 2, rtol=0, atol=1e-6)


GEOMETRY = [name for name in TRICKS.names() if Tricks([TRICKS.load(name)()]).at("geometry")]
ALL = [TRICKS.load(name)(**TRICKS.load(name).card.strong) for name in GEOMETRY if name != "flip"]


def blocks(n: int, height: int, width: int) -> Raw:
    """Pictures that show their own label: class k is full in channel k and nothing elsewhere."""
    draw = torch.Generator().manual_seed(4)
    label = torch.randint(0, 3, (n, 4, 4), generator=draw).repeat_interleave(5, 1).repeat_interleave(5, 2)
    label = label[:, :height, :width].contiguous()
    return Raw(F.one_hot(label, 3).to(torch.uint8) * 255, label, torch.arange(n))


@pytest.mark.parametrize("tricks", [*([name] for name in GEOMETRY), ALL], ids=[*GEOMETRY, "all"])
@pytest.mark.parametrize(
    ("height", "width", "size"), [(20, 20, None), (17, 20, None), (20, 20, 13), (20, 19, 16)], ids=str
)
class TestMasks:
    def through(self, tricks: list[Any], given: Raw, size: int | None, padding: str = "") -> tuple[Tensor, Tensor]:
        kinds = [
            TRICKS.load(each)(**TRICKS.load(each).card.strong) if isinstance(each, str) else each for each in tricks
        ]
        run = tiny_run(*kinds)
        run.ids = given.id
        if padding:
            chosen = run.tricks.through

            def through(station: str, value: Any, *context: Any) -> Any:
                return replace(chosen(station, value, *context), padding=padding)

            run.tricks.through = through
        augment = Augment(run, plain(size))
        augment.coloured = False  # some tricks change places and colours
        return augment.pictures(given)

    def test_mask_says_what_the_picture_shows(
        self, tricks: list[Any], height: int, width: int, size: int | None
    ) -> None:
        given = blocks(12, height, width)
        image, label = self.through(tricks, given, size)
        image = image.float() / (255 if image.dtype == torch.uint8 else 1)
        assert label.shape == (12, *image.shape[2:])
        assert label.dtype == given.label.dtype
        # Where one colour alone is seen, all four neighbours have it, and so has the nearest.
        clear = (image.amax(1) > 1 - 1e-4) & (label != IGNORE)
        assert torch.equal(label[clear], image.argmax(1)[clear])
        assert clear.float().mean() > 0.2
        # Elsewhere the mask names one of the classes that are seen, if only by a corner's quarter.
        blended = (image.amax(1) <= 1 - 1e-4) & (label != IGNORE)
        own = image.gather(1, label.clamp(min=0)[:, None])[:, 0]
        assert (own[blended] > 0.25 - 1e-3).all()

    def test_what_is_outside_is_ignored(self, tricks: list[Any], height: int, width: int, size: int | None) -> None:
        white = replace(blocks(12, height, width), image=torch.full((12, height, width, 3), 255, dtype=torch.uint8))
        image, label = self.through(tricks, white, size, "zeros")
        inside = image[:, 0].float() / (255 if image.dtype == torch.uint8 else 1)
        assert (label[inside < 0.25 - 1e-3] == IGNORE).all()
        assert (label[inside > 0.75 + 1e-3] != IGNORE).all()


@pytest.mark.parametrize("name", GEOMETRY)
def test_mask_is_the_nearest_source_pixel(name: str) -> None:
    """By NumPy, position by position, from the map that the trick gave."""
    given = blocks(6, 17, 20)
    run = tiny_run(TRICKS.load(name)(**TRICKS.load(name).card.strong))
    run.ids = given.id
    warp = run.tricks.through("geometry", Warp.centre(6, (14, 15), (17, 20), torch.device("cpu")), run)
    found = resample_labels(given.label, warp).numpy()
    points = centred(*warp.size).numpy() + (0 if warp.field is None else warp.field.double().numpy())
    points = np.broadcast_to(points, (6, 2, *warp.size))
    points = np.concatenate([points, np.ones((6, 1, *warp.size))], 1)
    moved = np.einsum("nij,njhw->nihw", warp.matrix.double().numpy(), points)
    x, y = moved[:, 0] / moved[:, 2] + 9.5, moved[:, 1] / moved[:, 2] + 8
    x, y = x + TIE + 0.5, y + TIE + 0.5  # half-way, the pixel to the right and below
    tie = (np.abs(x - np.round(x)) < 1e-5) | (np.abs(y - np.round(y)) < 1e-5)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    inside = (row >= 0) & (row < 17) & (column >= 0) & (column < 20)
    own = given.label.numpy()[np.arange(6)[:, None, None], row.clip(0, 16), column.clip(0, 19)]
    assert tie.mean() < 0.01
    assert (found[~tie] == np.where(inside, own, IGNORE)[~tie]).all()


def test_order_leaves_bending_and_resizing_to_the_end() -> None:
    order = [each.name for each in tiny_run(*[name for name in GEOMETRY if name != "flip"]).tricks]
    assert order[-1] == "progressive_resize"
    assert order.index("perspective") < order.index("elastic")
    assert order.index("resized_crop") < order.index("zoom") < order.index("rotate") < order.index("perspective")


def test_normalised_pictures_shrink_with_their_masks() -> None:
    run = tiny_run("progressive_resize(smallest=0.5, multiple=1)")
    image, label = Augment(run, NORMALISE).pictures(blocks(2, 16, 16))
    assert image.shape[2:] == label.shape[1:] == (8, 8)
