"""Policies against torchvision's, operation by operation and magnitude by magnitude, and their draws by chi-square."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from netwright.engine.augment import Augment, Normalise
from netwright.engine.plans import Raw
from netwright.engine.run import Batch, Run
from netwright.engine.warp import Warp, resample
from netwright.tricks import TRICKS
from netwright.tricks._policy import Drawn, Operation, moves
from netwright.tricks.augmix import SPACE as MIXED
from netwright.tricks.augmix import Augmix, gamma, performed
from netwright.tricks.randaugment import SPACE
from tests.support import tiny_run

THEIRS = {
    Operation.IDENTITY: "Identity",
    Operation.SHEAR_X: "ShearX",
    Operation.SHEAR_Y: "ShearY",
    Operation.TRANSLATE_X: "TranslateX",
    Operation.TRANSLATE_Y: "TranslateY",
    Operation.ROTATE: "Rotate",
    Operation.BRIGHTNESS: "Brightness",
    Operation.SATURATION: "Color",
    Operation.CONTRAST: "Contrast",
    Operation.SHARPNESS: "Sharpness",
    Operation.POSTERIZE: "Posterize",
    Operation.SOLARIZE: "Solarize",
    Operation.AUTOCONTRAST: "AutoContrast",
    Operation.EQUALIZE: "Equalize",
}
ON_BYTES = (Operation.POSTERIZE, Operation.SOLARIZE, Operation.AUTOCONTRAST, Operation.EQUALIZE)
GEOMETRIC = tuple(Operation)[1:6]
GREYED = (Operation.SATURATION, Operation.CONTRAST)
SHORT_OF_ONE = 1.01e-4  # torchvision's grey takes 0.2989 of red, and so of white 0.9999
UNLIKELY = 1e-6  # draws are fixed by the seed, so these tests fail always or never
HEIGHT, WIDTH = 40, 36


def picture(channels: int = 3, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """Smooth shapes and some noise, bytes C H W."""
    draw = np.random.default_rng(0)
    smooth = scipy.ndimage.zoom(draw.uniform(20, 235, (channels, 4, 4)), (1, height / 4, width / 4), order=1)
    return torch.from_numpy((smooth + draw.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8))


def raw(image: Tensor, n: int) -> Raw:
    return Raw(image.permute(1, 2, 0).repeat(n, 1, 1, 1), torch.zeros(n, dtype=torch.long), torch.arange(n))


def chosen(run: Run, draws: Tensor) -> None:
    """Make the policy draw these, N 3 slots; other tricks draw what leaves pictures as they are."""
    run.uniform = lambda name, n=1: draws if "aug" in name else torch.zeros(len(draws), n)


def seen(trick: str, draws: Tensor, image: Tensor) -> Tensor:
    """The picture after all stations, once for each row of draws. N C H W in [0, 1]."""
    run = tiny_run(trick, "crop(pad=0, fill='zeros')")  # torchvision's edges
    chosen(run, draws)
    channels = len(image)
    return Augment(run, Normalise((0.0,) * channels, (1.0,) * channels)).normalised(raw(image, len(draws))).image


def draws_of(operation: Operation, column: int, sign: int, *, kinds: int = 14, columns: int = 31) -> list[float]:
    """Draws in the middle of what gives this operation, magnitude and sign."""
    return [(operation + 0.5) / kinds, (column + 0.5) / columns, 0.25 if sign < 0 else 0.75]


def theirs(policy: Any, operation: Operation, level: float, image: Tensor) -> Tensor:
    """torchvision's operation on a picture of bytes, in [0, 1]; the geometric and linear ones on floats."""
    given = image if operation in ON_BYTES else image.float() / 255
    found = policy._apply_image_or_video_transform(
        given, THEIRS[operation], level, interpolation=InterpolationMode.BILINEAR, fill=policy._fill
    )
    return found.float() / 255 if operation in ON_BYTES else found


def their_levels(policy: Any, operation: Operation, columns: int) -> tuple[Tensor, bool]:
    levels, signed = policy._AUGMENTATION_SPACE[THEIRS[operation]]
    found = levels(columns, HEIGHT, WIDTH)
    return torch.zeros(columns) if found is None else found, signed


def assert_same(found: Tensor, expected: Tensor, operation: Operation) -> None:
    if operation in ON_BYTES:
        assert torch.equal((found * 255).round(), (expected * 255).round())
    elif operation in GREYED:
        torch.testing.assert_close(found, expected, rtol=0, atol=SHORT_OF_ONE)
    else:  # float32 knows positions to 20 pixels within some 2e-6, and values differ by up to 1 from pixel to pixel
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_every_operation_has_torchvisions_name() -> None:
    assert list(THEIRS) == list(Operation)
    assert (
        set(THEIRS.values())
        == set(v2.RandAugment._AUGMENTATION_SPACE)
        == set(v2.TrivialAugmentWide._AUGMENTATION_SPACE)
    )


class TestRandaugment:
    @pytest.mark.parametrize("operation", list(Operation), ids=str)
    def test_is_torchvisions_at_every_magnitude(self, operation: Operation) -> None:
        image, policy = picture(), v2.RandAugment()
        levels, signed = their_levels(policy, operation, 31)
        draws = torch.tensor([draws_of(operation, 0, sign) for sign in (1, -1)])
        for magnitude in range(31):
            found = seen(f"randaugment(n=1, magnitude={magnitude})", draws, image)
            for sign, each in zip((1, -1) if signed else (1, 1), found, strict=True):
                expected = theirs(policy, operation, sign * float(levels[magnitude]), image)
                assert_same(each, expected, operation)

    @pytest.mark.parametrize("operation", list(Operation), ids=str)
    def test_grey_pictures(self, operation: Operation) -> None:
        image, policy = picture(1), v2.RandAugment()
        levels, _ = their_levels(policy, operation, 31)
        found = seen("randaugment(n=1, magnitude=17)", torch.tensor([draws_of(operation, 0, 1)]), image)
        assert_same(found[0], theirs(policy, operation, float(levels[17]), image), operation)

    @pytest.mark.parametrize("operation", list(Operation), ids=str)
    def test_five_channels(self, operation: Operation) -> None:
        found = seen("randaugment(n=1, magnitude=17)", torch.tensor([draws_of(operation, 0, 1)]), picture(5))
        assert found.shape == (1, 5, HEIGHT, WIDTH)
        assert torch.isfinite(found).all()

    def drawn(self, n_samples: int, n: int) -> Drawn:
        run = tiny_run(f"randaugment(n={n})")
        run.ids = torch.arange(n_samples)
        (trick,) = run.tricks
        return trick.drawn(run)

    def test_operations_and_signs_are_as_likely(self) -> None:
        drawn = self.drawn(20_000, 2)
        first, second = drawn.operation.unbind(1)
        together = torch.bincount(first * 14 + second, minlength=196)
        assert scipy.stats.chisquare(together.numpy()).pvalue > UNLIKELY  # uniform, and independent of each other
        for operation in (*GEOMETRIC, *tuple(Operation)[6:10]):
            sign = drawn.level[drawn.operation == operation].sign()
            assert scipy.stats.binomtest(int((sign > 0).sum()), len(sign)).pvalue > UNLIKELY
        assert (drawn.level[drawn.operation >= Operation.POSTERIZE] >= 0).all()

    def two(self, first: Operation, second: Operation, image: Tensor, magnitude: int = 12) -> Tensor:
        """Both, one after the other as drawn, both positive."""
        draws = torch.tensor([draws_of(first, 0, 1) + draws_of(second, 0, 1)])
        return seen(f"randaugment(n=2, magnitude={magnitude})", draws, image)[0]

    def in_turn(self, first: Operation, second: Operation, image: Tensor, magnitude: int = 12) -> Tensor:
        """torchvision's one after the other."""
        policy = v2.RandAugment()
        for operation in (first, second):
            level = float(their_levels(policy, operation, 31)[0][magnitude])
            given = (image * 255).round().byte() if image.is_floating_point() else image
            image = theirs(policy, operation, level, given)
        return image

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (Operation.EQUALIZE, Operation.POSTERIZE),
            (Operation.POSTERIZE, Operation.EQUALIZE),
            (Operation.AUTOCONTRAST, Operation.SOLARIZE),
            (Operation.SOLARIZE, Operation.AUTOCONTRAST),
        ],
    )
    def test_pixel_operations_act_in_the_order_drawn(self, first: Operation, second: Operation) -> None:
        image = picture()
        found, expected = self.two(first, second, image), self.in_turn(first, second, image)
        assert torch.equal((found * 255).round(), (expected * 255).round())
        assert not torch.equal((found * 255).round(), (self.in_turn(second, first, image) * 255).round())

    @pytest.mark.parametrize(
        ("first", "second"),
        [(Operation.BRIGHTNESS, Operation.CONTRAST), (Operation.CONTRAST, Operation.BRIGHTNESS),
         (Operation.SATURATION, Operation.CONTRAST), (Operation.BRIGHTNESS, Operation.SATURATION)],
    )  # fmt: skip
    def test_colours_act_in_the_order_drawn(self, first: Operation, second: Operation) -> None:
        image = picture() // 8 + 40  # nothing is clamped on the way
        policy, expected = v2.RandAugment(), image.float() / 255
        for operation in (first, second):
            level = float(their_levels(policy, operation, 31)[0][12])
            expected = policy._apply_image_or_video_transform(expected, THEIRS[operation], level, None, policy._fill)
        torch.testing.assert_close(self.two(first, second, image), expected, rtol=0, atol=SHORT_OF_ONE)

    def test_geometry_acts_in_the_order_drawn(self) -> None:
        plane = torch.linspace(0, 0.3, WIDTH) + torch.linspace(0.1, 0.6, HEIGHT)[:, None]  # what a resampling keeps
        policy, expected = v2.RandAugment(), plane[None]
        for operation in (Operation.ROTATE, Operation.SHEAR_X):
            level = float(their_levels(policy, operation, 31)[0][12])
            expected = policy._apply_image_or_video_transform(
                expected, THEIRS[operation], level, InterpolationMode.BILINEAR, policy._fill
            )
        drawn = Drawn(torch.tensor([[Operation.ROTATE, Operation.SHEAR_X]]), torch.tensor([[12.0, 0.12]]))
        size = (HEIGHT, WIDTH)
        warp = Warp.centre(1, size, size, torch.device("cpu"))
        for matrix in moves(drawn, size, size).unbind(1):
            warp = warp.then(matrix)
        found = resample(plane[None, None], warp)[0]
        inner = (slice(None), slice(14, 26), slice(12, 24))
        torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-5)

    def test_places_come_before_values(self) -> None:
        image = picture()
        drawn_first = self.two(Operation.SOLARIZE, Operation.TRANSLATE_X, image)
        assert torch.equal(drawn_first, self.two(Operation.TRANSLATE_X, Operation.SOLARIZE, image))
        expected = self.in_turn(Operation.TRANSLATE_X, Operation.SOLARIZE, image)
        assert torch.equal((drawn_first * 255).round(), (expected * 255).round())


class TestTrivialAugment:
    @pytest.mark.parametrize("operation", list(Operation), ids=str)
    def test_is_torchvisions_at_every_magnitude(self, operation: Operation) -> None:
        image, policy = picture(), v2.TrivialAugmentWide()
        levels, signed = their_levels(policy, operation, 31)
        signs = (1, -1) if signed else (1,)
        cases = [(column, sign) for column in range(31) for sign in signs]
        draws = torch.tensor([draws_of(operation, *case) for case in cases])
        for (column, sign), each in zip(cases, seen("trivial_augment", draws, image), strict=True):
            assert_same(each, theirs(policy, operation, sign * float(levels[column]), image), operation)

    def test_operations_magnitudes_and_signs_are_as_likely(self) -> None:
        run = tiny_run("trivial_augment")
        run.ids = torch.arange(60_000)
        (trick,) = run.tricks
        drawn = trick.drawn(run)
        operation, level = drawn.operation[:, 0], drawn.level[:, 0]
        assert scipy.stats.chisquare(torch.bincount(operation, minlength=14).numpy()).pvalue > UNLIKELY
        for kind in (Operation.ROTATE, Operation.SOLARIZE):
            counts = level[operation == kind].abs().unique(return_counts=True)[1]
            assert len(counts) == 31
            assert scipy.stats.chisquare(counts.numpy()).pvalue > UNLIKELY
        turned = level[(operation == Operation.ROTATE) & (level != 0)]
        assert scipy.stats.binomtest(int((turned > 0).sum()), len(turned)).pvalue > UNLIKELY


class TestAugmix:
    def mixer(self, n: int, **options: Any) -> tuple[Augmix, Run]:
        run = tiny_run(TRICKS.load("augmix")(**options))
        run.ids = torch.arange(n)
        (trick,) = run.tricks
        return trick, run

    @pytest.mark.parametrize("operation", [span.operation for span in MIXED.spans], ids=str)
    def test_operations_are_torchvisions(self, operation: Operation) -> None:
        image, policy = picture(), v2.AugMix()
        levels, signed = their_levels(policy, operation, 10)
        sign = torch.tensor([-1.0 if signed and column % 2 else 1.0 for column in range(10)])
        (span,) = [span for span in MIXED.spans if span.operation == operation]
        given = (image.float() / 255).repeat(10, 1, 1, 1)
        found = performed(given, torch.full((10,), operation), span.levels(10) * sign)
        inner = (slice(None), slice(19, 21), slice(17, 19))  # what never comes from outside, where they show black
        for column in range(10):
            expected = theirs(policy, operation, float(sign[column] * levels[column]), image)
            where = inner if operation in GEOMETRIC else ...
            assert_same(found[column][where], expected[where], operation)

    def test_space_is_the_papers(self) -> None:
        assert {THEIRS[span.operation] for span in MIXED.spans} == set(v2.AugMix._PARTIAL_AUGMENTATION_SPACE)

    def test_is_the_mixture_of_its_chains(self) -> None:
        n = 16
        trick, run = self.mixer(n, severity=5, width=2, depth=4, alpha=2.0)
        image = torch.rand(n, 3, 12, 10, generator=torch.Generator().manual_seed(0))
        label = torch.zeros(n, dtype=torch.long)
        found = trick.pixels(Batch(image, label, label, run.ids), run).image
        weights, chains = trick.weights(run), trick.chains(run)
        for i in range(n):
            expected = (1 - weights[i].sum()) * image[i : i + 1]
            for chain, drawn in enumerate(chains):
                version = image[i : i + 1]
                for operation, level in zip(drawn.operation[i], drawn.level[i], strict=True):
                    version = performed(version, operation[None], level[None])
                expected = expected + weights[i, chain] * version
            near = (found[i] - expected[0]).abs() < 1e-5
            # A value at the edge between two levels may fall to either side; bytes follow, but few of them.
            assert near.float().mean() > 0.97

    @pytest.mark.parametrize(("alpha", "width"), [(1.0, 3), (0.3, 2), (5.0, 4)])
    def test_weights_are_dirichlets_times_betas(self, alpha: float, width: int) -> None:
        trick, run = self.mixer(5000, alpha=alpha, width=width)
        weights = trick.weights(run).double().numpy()
        skip = weights.sum(1)
        assert scipy.stats.kstest(skip, scipy.stats.beta(alpha, alpha).cdf).pvalue > UNLIKELY
        for chain in range(width):
            marginal = scipy.stats.beta(alpha, (width - 1) * alpha)
            assert scipy.stats.kstest(weights[:, chain] / skip, marginal.cdf).pvalue > UNLIKELY
        covariance = np.cov((weights / skip[:, None]).T)
        expected = scipy.stats.dirichlet([alpha] * width).cov()
        assert np.abs(covariance - expected).max() < 4.5 * 0.5 / np.sqrt(5000)

    def test_gamma(self) -> None:
        uniform = torch.tensor([0.0, 0.25, 0.5, 1 - 2**-24])
        expected = scipy.stats.gamma(2.5).ppf(uniform.double().numpy() + 2.0**-25)
        np.testing.assert_allclose(gamma(uniform, 2.5).numpy(), expected, rtol=1e-9)
        assert (gamma(uniform, 0.1) > 0).all()

    def test_chains_are_one_to_depth_long_and_mild(self) -> None:
        trick, run = self.mixer(3000, severity=2, depth=3)
        for drawn in trick.chains(run):
            acts = drawn.operation != Operation.IDENTITY
            assert torch.equal(acts.int().cummin(1).values.bool(), acts)  # no gaps
            assert scipy.stats.chisquare(acts.sum(1).bincount(minlength=4)[1:].numpy()).pvalue > UNLIKELY
            assert drawn.level[drawn.operation == Operation.ROTATE].abs().max() < 30 / 9 + 1e-5
            kinds = drawn.operation[:, 0].bincount(minlength=14)
            assert scipy.stats.chisquare(kinds[[span.operation for span in MIXED.spans]].numpy()).pvalue > UNLIKELY

    def test_what_was_given_is_not_touched(self) -> None:
        trick, run = self.mixer(8)
        image = torch.rand(8, 3, 9, 9, generator=torch.Generator().manual_seed(0))
        before, label = image.clone(), torch.zeros(8, dtype=torch.long)
        found = trick.pixels(Batch(image, label, label, run.ids), run).image
        assert torch.equal(image, before)
        assert not torch.equal(found, before)
        assert found.min() >= 0
        assert found.max() <= 1


def test_the_usual_space_has_every_operation() -> None:
    assert [span.operation for span in SPACE.spans] == list(Operation)
