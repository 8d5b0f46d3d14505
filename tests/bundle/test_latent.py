"""Arithmetic with codes, against what it says in closed form."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LinearRegression

from netwright.bundle.alignment import align, alike, swap
from netwright.bundle.autoencoder import AutoencoderBundle, load_autoencoder
from netwright.bundle.latent import (
    MOST_DIMENSIONS,
    beside_prior,
    chosen_dimensions,
    direction,
    frame,
    interpolate,
    plane,
    traverse,
    way,
)
from netwright.core.errors import NetwrightError
from netwright.nn.output import normal_divergence
from tests.bundle._saved import CONDITIONAL, PLAIN, PLANE, RANDOM, SIDE, kept, saved

OPENED: dict[str, AutoencoderBundle] = {}
A, B = torch.tensor([3.0, 0.0, 4.0]), torch.tensor([0.0, 2.0, 0.0])


def opened(tmp_path: Path, spec: str = RANDOM, **options: Any) -> AutoencoderBundle:
    """The same one for all tests that ask for the same: nothing changes it."""
    key = repr((spec, options))
    if key not in OPENED:
        OPENED[key] = load_autoencoder(saved(tmp_path / str(len(OPENED)), spec, **options), device="cpu")
    return OPENED[key]


def noise(n: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE)).astype(np.uint8))


class TestWay:
    def test_straight(self) -> None:
        shares = torch.tensor([0.0, 0.25, 1.0])
        torch.testing.assert_close(way(A, B, shares), torch.stack([A, 0.75 * A + 0.25 * B, B]))

    def test_the_arc_between_orthogonal_codes_is_a_quarter_circle(self) -> None:
        shares = torch.linspace(0, 1, 5)
        angle = (shares * math.pi / 2)[:, None]
        torch.testing.assert_close(way(A, B, shares, spherical=True), angle.cos() * A + angle.sin() * B)

    def test_the_arc_keeps_the_length_of_equally_long_codes_and_turns_evenly(self) -> None:
        first = torch.tensor([1.0, 2.0, 2.0])
        second = torch.tensor([2.0, -1.0, 2.0])
        arc = way(first, second, torch.linspace(0, 1, 7), spherical=True)
        torch.testing.assert_close(arc.norm(dim=1), torch.full((7,), 3.0))
        turns = (arc[1:] * arc[:-1]).sum(1) / 9
        torch.testing.assert_close(turns, torch.full((6,), math.cos(math.acos(4 / 9) / 6)))

    def test_the_arc_between_codes_in_one_direction_is_straight(self) -> None:
        shares = torch.linspace(0, 1, 3)
        torch.testing.assert_close(way(A, 2 * A, shares, spherical=True), way(A, 2 * A, shares))

    @pytest.mark.parametrize(("second", "says"), [(-A, "opposite"), (0 * A, "is zero")])
    def test_where_there_is_no_arc(self, second: torch.Tensor, says: str) -> None:
        with pytest.raises(NetwrightError, match=says):
            way(A, second, torch.linspace(0, 1, 3), spherical=True)


class TestInterpolate:
    def test_ends_are_reconstructions_and_the_blend_is_of_pixels(self, tmp_path: Path) -> None:
        bundle, (first, second) = opened(tmp_path), noise(2)
        found = interpolate(bundle, first, second, steps=3)
        torch.testing.assert_close(found.decoded[[0, 2]], bundle.reconstruct([first, second]))
        codes = bundle.encode([first, second])[0]
        torch.testing.assert_close(found.decoded[1:2], bundle.decode(codes.mean(0, keepdim=True)))
        blend = (first / 510 + second / 510).astype(np.float32)
        torch.testing.assert_close(found.blended[1, 0], torch.from_numpy(blend))

    def test_one_step(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="1 steps"):
            interpolate(opened(tmp_path), *noise(2), steps=1)

    def test_a_conditional_network_wants_a_class(self, tmp_path: Path) -> None:
        bundle = opened(tmp_path, CONDITIONAL)
        with pytest.raises(NetwrightError, match="conditional"):
            interpolate(bundle, *noise(2))
        dark, light = (interpolate(bundle, *noise(2), label=label).decoded for label in ("dark", "light"))
        assert not torch.equal(dark, light)


class TestFrame:
    def test_of_training_where_it_was_kept(self, tmp_path: Path) -> None:
        middle, spread = frame(opened(tmp_path, latent=kept(3, mean=[1.0, 2.0, 3.0])))
        assert (middle.tolist(), spread.tolist()) == ([1, 2, 3], pytest.approx([0.9] * 3))

    def test_else_of_the_prior(self, tmp_path: Path) -> None:
        middle, spread = frame(opened(tmp_path))
        assert (middle.tolist(), spread.tolist()) == ([0] * 3, [1] * 3)

    def test_else_nobody_knows(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="how far they reach"):
            frame(opened(tmp_path, PLAIN))


class TestBesidePrior:
    def test_codes_that_lie_where_the_prior_does(self, tmp_path: Path) -> None:
        assert beside_prior(opened(tmp_path, latent=kept(3))) is None
        assert beside_prior(opened(tmp_path)) is None
        assert beside_prior(opened(tmp_path, PLAIN, latent=kept(4, mean=[9.0] * 4))) is None

    @pytest.mark.parametrize("row", [{"mean": [0.0, -2.5, 0.0]}, {"deviation": [0.9, 3.0, 0.9]}])
    def test_codes_that_lie_elsewhere(self, tmp_path: Path, row: dict[str, list[float]]) -> None:
        told = beside_prior(opened(tmp_path, latent=kept(3, **row)))
        assert told is not None
        assert "in 1 of 3 dimensions" in told
        assert "--fitted" in told

    def test_a_dimension_that_says_nothing_is_not_told(self, tmp_path: Path) -> None:
        unused = kept(3, deviation=[0.9, 0.01, 0.9], divergence=[1.5, 0.001, 1.5])
        assert beside_prior(opened(tmp_path, latent=unused)) is None


class TestDimensions:
    says = torch.tensor([0.5, 0.0, 2.0, 0.005])

    def test_active_ones_those_that_say_most_first(self) -> None:
        assert chosen_dimensions(self.says, "active", random=True) == [2, 0]
        assert chosen_dimensions(self.says, "active", random=False) == [2, 0, 3]
        assert len(chosen_dimensions(torch.ones(99), "active", random=True)) == MOST_DIMENSIONS

    def test_all_and_named(self) -> None:
        assert chosen_dimensions(self.says, "all", random=True) == [2, 0, 3, 1]
        assert chosen_dimensions(self.says, [3, 1, 3], random=True) == [3, 1]

    @pytest.mark.parametrize("wrong", [[4], [-1]])
    def test_one_that_is_not_there(self, wrong: list[int]) -> None:
        with pytest.raises(NetwrightError, match=f"no dimension {wrong[0]}"):
            chosen_dimensions(self.says, wrong, random=True)

    def test_collapsed(self) -> None:
        with pytest.raises(NetwrightError, match="collapsed"):
            chosen_dimensions(torch.zeros(4), "active", random=True)


class TestTraverse:
    def test_one_number_changes_and_the_others_stay(self, tmp_path: Path) -> None:
        bundle, (image,) = opened(tmp_path, latent=kept(3, mean=[0.0, 1.0, 0.0])), noise(1)
        found = traverse(bundle, image, dimensions=[1], reach=2, steps=5)
        code = bundle.encode([image])[0].repeat(5, 1)
        code[:, 1] = 1 + 0.9 * torch.tensor([-2.0, -1, 0, 1, 2])
        torch.testing.assert_close(found.values[0], code[:, 1])
        torch.testing.assert_close(found.decoded[0], bundle.decode(code))

    def test_rows_are_named_with_what_was_measured_in_training(self, tmp_path: Path) -> None:
        found = traverse(opened(tmp_path, latent=kept(3, divergence=[0.1, 3.0, 0.0])))
        assert list(found.dimensions) == [1, 0]
        assert found.says == pytest.approx([3, 0.1])

    def test_without_it_by_the_picture_itself(self, tmp_path: Path) -> None:
        bundle, (image,) = opened(tmp_path), noise(1)
        mean, log_variance = bundle.encode([image])
        assert log_variance is not None
        found = traverse(bundle, image, dimensions="all")
        nats = normal_divergence(mean, log_variance)[0]
        assert found.says == pytest.approx(nats.sort(descending=True).values.tolist())

    def test_without_it_and_without_a_picture(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="which dimensions say most"):
            traverse(opened(tmp_path))

    def test_dimensions_that_are_named_need_no_measure(self, tmp_path: Path) -> None:
        found = traverse(opened(tmp_path), dimensions=[2, 0])
        assert (list(found.dimensions), found.says) == ([2, 0], None)
        with pytest.raises(NetwrightError, match="no dimension 3"):
            traverse(opened(tmp_path), dimensions=[3])

    def test_codes_that_are_not_random_say_how_they_vary(self, tmp_path: Path) -> None:
        found = traverse(opened(tmp_path, PLAIN, latent=kept(4, deviation=[1.0, 3.0, 2.0, 0.0])))
        assert list(found.dimensions) == [1, 2, 0]
        torch.testing.assert_close(found.values[0, [0, -1]], torch.tensor([-9.0, 9.0]))

    @pytest.mark.parametrize("reach", [0, math.inf, math.nan])
    def test_a_range_of_nothing(self, tmp_path: Path, reach: float) -> None:
        with pytest.raises(NetwrightError, match=f"range of {reach:g}"):
            traverse(opened(tmp_path, latent=kept(3)), reach=reach)


class TestPlane:
    def test_quantiles_to_the_right_and_upwards(self, tmp_path: Path) -> None:
        bundle = opened(tmp_path, PLANE, latent=kept(2, mean=[5.0, 5.0]))
        values, decoded = plane(bundle, 3)
        assert values.numpy() == pytest.approx(norm.ppf([1 / 6, 1 / 2, 5 / 6]), abs=1e-6)
        corner = torch.stack([values[0], values[2]])[None]  # first row, first column: left, up
        torch.testing.assert_close(decoded[0, 0], bundle.decode(corner)[0])
        torch.testing.assert_close(decoded[2, 1], bundle.decode(torch.stack([values[1], values[0]])[None])[0])

    def test_without_a_prior_around_the_codes_of_training(self, tmp_path: Path) -> None:
        bundle = opened(tmp_path, PLAIN.replace("latent=4", "latent=2"), latent=kept(2, mean=[5.0, -5.0]))
        _, decoded = plane(bundle, 3)
        torch.testing.assert_close(decoded[1, 1], bundle.decode(torch.tensor([[5.0, -5.0]]))[0])

    def test_codes_of_another_length(self, tmp_path: Path) -> None:
        with pytest.raises(NetwrightError, match="codes of 3 numbers"):
            plane(opened(tmp_path))


class TestAlign:
    def test_an_affine_map_is_found_exactly(self) -> None:
        generator = torch.Generator().manual_seed(0)
        codes, matrix = (torch.randn(shape, generator=generator) for shape in ((60, 4), (4, 3)))
        found = align(codes, codes @ matrix + 2)
        torch.testing.assert_close(found.matrix, matrix)
        torch.testing.assert_close(found.offset, torch.full((3,), 2.0))
        assert found.r2 == pytest.approx(1)
        assert (found.n, found.held_out) == (48, 12)
        torch.testing.assert_close(found(codes), codes @ matrix + 2)

    def test_the_share_of_variance_is_of_pictures_that_were_held_out(self) -> None:
        draw = np.random.default_rng(0)
        first = draw.normal(size=(50, 5))
        second = first @ draw.normal(size=(5, 2)) + 1.5 * draw.normal(size=(50, 2))
        held = np.arange(50) % 5 == 4
        fitted = LinearRegression().fit(first[~held], second[~held])
        off = ((second[held] - fitted.predict(first[held])) ** 2).sum()
        expected = 1 - off / ((second[held] - second[held].mean(0)) ** 2).sum()
        found = align(torch.from_numpy(first).float(), torch.from_numpy(second).float())
        assert found.r2 == pytest.approx(expected, abs=1e-5)
        assert found.matrix.numpy() == pytest.approx(fitted.coef_.T, abs=1e-5)

    def test_dead_dimensions(self) -> None:
        codes = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        codes[:, 1] = 0
        assert align(codes, codes).r2 == pytest.approx(1)
        assert align(codes, torch.zeros(40, 2)).r2 == 0

    @pytest.mark.parametrize(("n", "m"), [(10, 10), (40, 39)])
    def test_too_few_or_others(self, n: int, m: int) -> None:
        with pytest.raises(NetwrightError, match=f"{n} and {m} codes"):
            align(torch.zeros(n, 9), torch.zeros(m, 9))


class TestSwap:
    def test_with_itself_nothing_changes(self, tmp_path: Path) -> None:
        bundle = opened(tmp_path)
        found = swap(bundle, bundle, noise(3))
        torch.testing.assert_close(found.decoded, found.own)
        torch.testing.assert_close(found.given, bundle.pictures(noise(3)))

    def test_encoder_of_the_first_decoder_of_the_second(self, tmp_path: Path) -> None:
        first, second = opened(tmp_path), opened(tmp_path, seed=1)
        found = swap(first, second, noise(2))
        torch.testing.assert_close(found.decoded, second.decode(first.encode(noise(2))[0]))
        torch.testing.assert_close(found.own, second.reconstruct(noise(2)))

    def test_pictures_are_prepared_once_where_both_want_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second, other = opened(tmp_path), opened(tmp_path, seed=1), opened(tmp_path, stored=10)
        assert (alike(first, second), alike(first, other)) == (True, False)
        read: list[int] = []
        prepared = AutoencoderBundle._read
        monkeypatch.setattr(AutoencoderBundle, "_read", lambda self, images: read.append(1) or prepared(self, images))
        swap(first, second, noise(2))
        assert len(read) == 1
        swap(first, other, noise(2))
        assert len(read) == 3

    def test_codes_of_different_length_need_a_map(self, tmp_path: Path) -> None:
        first, second = opened(tmp_path), opened(tmp_path, PLAIN)
        with pytest.raises(NetwrightError, match="3 numbers, and the other decodes 4"):
            swap(first, second, noise(1))
        many = noise(30)
        aligned = align(first.encode(many)[0], second.encode(many)[0])
        found = swap(first, second, noise(2), alignment=aligned)
        torch.testing.assert_close(found.decoded, second.decode(aligned(first.encode(noise(2))[0])))


class TestDirection:
    def test_it_leads_from_one_mean_to_the_other(self) -> None:
        codes = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 7.0], [9.0, 9.0]])
        of = torch.tensor([True, True, False, False])
        to = torch.tensor([False, False, True, False])
        torch.testing.assert_close(direction(codes, of, to), torch.tensor([4.0, 7.0]))

    @pytest.mark.parametrize(("of", "to", "flag"), [(False, True, "--from"), (True, False, "--to")])
    def test_none_of_a_kind(self, of: bool, to: bool, flag: str) -> None:
        with pytest.raises(NetwrightError, match=flag):
            direction(torch.zeros(2, 2), torch.full((2,), of), torch.full((2,), to))
