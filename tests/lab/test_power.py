"""Predicted power against noncentral t, against studies drawn one by one, and against itself."""

import numpy as np
import pytest
from scipy import stats

from netwright.core.errors import NetwrightError
from netwright.lab._stat_spread import Spread, reach, spread, tail
from netwright.lab.power import (
    chosen,
    fewest_seeds,
    foreseen_effect,
    foreseen_error,
    power,
    power_of_equivalence,
    seeds_needed,
    smallest_effect,
)

PARTS = {"sd_seeds": 0.01, "sd_pictures_of_mean": 0.002}


class TestTail:
    @pytest.mark.parametrize("freedom", [1, 2, 5, 11, 60])
    def test_without_pictures_it_is_students(self, freedom: int) -> None:
        shares = np.array([0.4, 0.1, 0.025, 1e-4])
        places = stats.t(freedom).isf(shares)
        np.testing.assert_allclose(tail(3 * places, 9.0, 0.0, freedom), shares, rtol=1e-6)
        np.testing.assert_allclose(reach(9.0, 0.0, freedom, 0.025), 3 * places[2], rtol=1e-6)

    def test_without_seeds_it_is_normal(self) -> None:
        np.testing.assert_allclose(tail([0.0, 1.96, 3.0], 0.0, 4.0, 5), stats.norm.sf([0.0, 0.98, 1.5]))

    def test_in_between_it_is_their_sum(self) -> None:
        draw = np.random.default_rng(0)
        sums = 2 * draw.standard_t(5, 400_000) + 3 * draw.standard_normal(400_000)
        for place in (2.0, 7.0, 12.0):
            share = float(tail(place, 4.0, 9.0, 5))
            assert abs((sums >= place).mean() - share) < 4 * (share / 400_000) ** 0.5

    def test_without_any_spread_only_nothing_is_as_far(self) -> None:
        assert tail(0.0, 0.0, 0.0, 3) == 1 and tail(0.1, 0.0, 0.0, 3) == 0

    def test_parts_of_the_variance_are_those_of_an_analysis_of_variance(self) -> None:
        """By mean squares: pictures (MS of pictures - MS of the rest) / S, seeds MS / N."""
        seeds, pictures = 5, 40
        draw = np.random.default_rng(1)
        values = draw.standard_normal((seeds, 1)) + 2 * draw.standard_normal(pictures) + draw.random((seeds, pictures))
        mean, by_picture, by_seed = values.mean(), values.mean(0), values.mean(1)
        between = seeds * by_picture.var(ddof=1)
        rest = np.square(values - by_picture - by_seed[:, None] + mean).sum() / ((seeds - 1) * (pictures - 1))
        found = spread(values)
        assert found.mean == pytest.approx(mean)
        assert found.of_pictures == pytest.approx((between - rest) / seeds / pictures)
        assert found.of_seeds == pytest.approx(by_seed.var(ddof=1) / seeds)

    def test_many_at_once_are_as_each(self) -> None:
        values = np.random.default_rng(0).standard_normal((3, 4, 20))
        together, each = spread(values).p(), [float(spread(one).p()) for one in values]
        np.testing.assert_allclose(together, each)


class TestPower:
    @pytest.mark.parametrize("seeds", [2, 3, 6, 12])
    @pytest.mark.parametrize("effects", [1, 6])
    def test_without_pictures_it_is_noncentral_t(self, seeds: int, effects: int) -> None:
        place = stats.t(seeds - 1).isf(0.025 / effects)
        law = stats.nct(seeds - 1, 0.012 / 0.01 * seeds**0.5)
        found = power(0.012, seeds=seeds, sd_seeds=0.01, sd_pictures_of_mean=0.0, effects=effects, test="t")
        assert found == pytest.approx(law.sf(place) + law.cdf(-place), abs=1e-4)  # 60 nodes

    def test_where_pictures_are_everything_it_is_normal(self) -> None:
        found = power(0.01, seeds=6, sd_seeds=1e-9, sd_pictures_of_mean=0.004, test="t")
        assert found == pytest.approx(stats.norm.sf(1.96 - 2.5), abs=1e-3)

    @pytest.mark.parametrize(("test", "seeds", "effects"), [("t", 6, 3), ("sign_flip", 9, 1), ("sign_flip", 12, 6)])
    def test_without_an_effect_it_is_no_more_than_was_asked_for(self, test: str, seeds: int, effects: int) -> None:
        found = power(0.0, seeds=seeds, effects=effects, test=test, **PARTS)
        assert 0 < found < 0.05 / effects * 1.2

    def test_of_sign_flips_without_pictures_it_is_that_of_all_seeds_agreeing(self) -> None:
        """With six seeds and one effect: nothing but six of six will do, if Student's t agrees."""
        draw = np.random.default_rng(0)
        studies = 1.0 + draw.standard_normal((40_000, 6))
        t = studies.mean(1) / studies.std(1, ddof=1) * 6**0.5
        share = ((studies > 0).all(1) & (t > stats.t(5).isf(0.025))).mean()
        assert power(1.0, seeds=6, sd_seeds=1.0, sd_pictures_of_mean=0.0, test="sign_flip") == pytest.approx(
            share, abs=0.015
        )

    def test_more_of_anything_good_is_better(self) -> None:
        def found(**other: float) -> float:
            return power(**({"effect": 0.012, "seeds": 8, "effects": 3, "test": "t"} | PARTS | other))

        assert found(seeds=10) > found() > found(effects=6)
        assert found(effect=0.015) > found() == found(effect=-0.012) > found(sd_seeds=0.012)
        assert found() > found(sd_pictures_of_mean=0.004)

    def test_one_seed_has_none(self) -> None:
        assert power(1.0, seeds=1, **PARTS) == 0
        assert power_of_equivalence(0.0, 0.01, seeds=1, **PARTS) == 0
        assert smallest_effect(seeds=1, **PARTS) == float("inf")

    def test_to_show_that_there_is_none_is_two_tests(self) -> None:
        draw, rounds = np.random.default_rng(0), 20_000
        values = 0.002 + 0.01 * draw.standard_normal((rounds, 12)) + 0.002 * draw.standard_normal((rounds, 1))
        found = Spread(values.mean(1), values, values.var(1, ddof=1) / 12, np.full(rounds, 4e-6), 1000)
        share = (np.maximum(found.p_above(-0.01), found.p_below(0.01)) <= 0.05).mean()
        predicted = power_of_equivalence(0.002, 0.01, seeds=12, **PARTS)
        assert abs(predicted - share) < 4 * (0.25 / rounds) ** 0.5


class TestPlans:
    @pytest.mark.parametrize("effect", [0.004, 0.01, 0.03])
    @pytest.mark.parametrize("test", ["t", "sign_flip"])
    def test_as_many_seeds_as_needed_are_enough_and_one_less_is_not(self, effect: float, test: str) -> None:
        parts = PARTS | {"sd_pictures_of_mean": 0.0005}
        needed = seeds_needed(effect, effects=3, test=test, **parts)
        assert needed is not None
        assert power(effect, seeds=needed, effects=3, test=test, **parts) >= 0.8
        assert power(effect, seeds=needed - 1, effects=3, test=test, **parts) < 0.8

    def test_seeds_to_show_that_there_is_none(self) -> None:
        needed = seeds_needed(0.0, margin=0.01, effects=3, **PARTS)
        assert needed is not None
        assert power_of_equivalence(0.0, 0.01, seeds=needed, effects=3, **PARTS) >= 0.8
        assert power_of_equivalence(0.0, 0.01, seeds=needed - 1, effects=3, **PARTS) < 0.8

    def test_where_pictures_limit_no_number_of_seeds_is_enough(self) -> None:
        assert seeds_needed(0.005, sd_seeds=0.01, sd_pictures_of_mean=0.002) is None
        assert power(0.005, seeds=100_000, sd_seeds=0.01, sd_pictures_of_mean=0.002) < 0.8
        assert seeds_needed(0.006, sd_seeds=0.01, sd_pictures_of_mean=0.002) is not None
        assert seeds_needed(0.012, margin=0.01, **PARTS) is None

    @pytest.mark.parametrize(("seeds", "effects"), [(2, 1), (6, 6), (10, 1), (20, 3)])
    def test_the_smallest_effect_has_the_power_that_was_asked_for(self, seeds: int, effects: int) -> None:
        found = smallest_effect(seeds=seeds, effects=effects, **PARTS)
        assert power(found, seeds=seeds, effects=effects, **PARTS) == pytest.approx(0.8, abs=0.01)

    def test_sign_flips_of_too_few_seeds_find_nothing(self) -> None:
        assert smallest_effect(seeds=7, effects=6, test="sign_flip", **PARTS) == float("inf")
        assert smallest_effect(seeds=8, effects=6, test="sign_flip", **PARTS) < 0.1

    def test_before_any_run_most_disagreement_is_put_down_to_seeds(self) -> None:
        found = foreseen_error(385)
        assert found.sd_pictures_of_mean == pytest.approx((0.015 / 385) ** 0.5)
        assert found.sd_seeds == pytest.approx((0.007**2 + 0.15 / 385) ** 0.5)
        assert foreseen_error(10**9).sd_seeds == pytest.approx(0.007, rel=1e-4)
        contrast = foreseen_error(385, weights=[0.25, -0.25] * 4)
        assert contrast.sd_seeds == pytest.approx(found.sd_seeds / 2)
        assert contrast.sd_pictures_of_mean == found.sd_pictures_of_mean

    def test_the_foreseen_effect_is_a_number_or_none(self) -> None:
        found, error = foreseen_effect(385, seeds=8, effects=3), foreseen_error(385)
        assert found is not None
        parts = {"sd_seeds": error.sd_seeds, "sd_pictures_of_mean": error.sd_pictures_of_mean}
        assert power(found, seeds=8, effects=3, **parts) == pytest.approx(0.8, abs=0.01)
        assert foreseen_effect(385, seeds=1) is None
        assert foreseen_effect(385, seeds=6, effects=6, test="sign_flip") is None
        assert foreseen_effect(20, seeds=2, effects=6) is None, "no effect is larger than all pictures"
        larger = foreseen_effect(385, seeds=8, effects=3, weights=[0.25, -0.25] * 4)
        assert larger is not None and larger < found

    @pytest.mark.parametrize(("effects", "seeds"), [(1, 6), (2, 7), (3, 7), (6, 8), (7, 9)])
    def test_the_fewest_seeds_for_sign_flips(self, effects: int, seeds: int) -> None:
        assert fewest_seeds(effects) == seeds
        assert 2.0 ** (1 - seeds) * effects <= 0.05 < 2.0 ** (2 - seeds) * effects
        assert fewest_seeds(1, 0.5) == 2 and fewest_seeds(1, 0.25) == 3

    def test_signs_are_flipped_where_seeds_leave_room(self) -> None:
        assert chosen("auto", 8, 1) == "t" and chosen("auto", 9, 1) == "sign_flip"
        assert chosen("auto", 10, 6) == "t" and chosen("auto", 11, 6) == "sign_flip"
        assert chosen("sign_flip", 2, 6) == "sign_flip" and chosen("t", 30, 1) == "t"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test": "signflip"}, "did you mean 'sign_flip'"),
        ({"alpha": 5.0}, "leave it at 0.05"),
        ({"effects": 0}, "at least one"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(NetwrightError, match=said):
        power(0.01, **({"seeds": 6} | PARTS | options))
