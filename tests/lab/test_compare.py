"""The lab's statistics on cases with known answers; how often they err is counted in test_compare_calibration.py."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from netwright.core.errors import NetwrightError
from netwright.lab.compare import Verdict, compare, difference_interval, difference_p, holm, scalar_interval
from netwright.lab.looks import Spending
from netwright.lab.sign_flips import pictures_p, seeds_p, signs, steps
from netwright.records.intervals import Interval


def differences(by_seed: list[int], pictures: int = 2000, both: int = 30) -> np.ndarray:
    """Each seed wins so many more pictures than it loses, on pictures of its own. S N."""
    draw = np.random.default_rng(0)
    values = np.zeros((len(by_seed), pictures))
    for row, won in zip(values, by_seed, strict=True):
        places = draw.permutation(pictures)
        row[places[: both + max(0, won)]] = 1
        row[places[both + max(0, won) : 2 * both + abs(won)]] = -1
    return values


HELPING = differences([40, 45, 38, 50, 42, 47])
NOTHING = differences([3, -2, 1, -4, 2, 0])
UNSURE = differences([60, -35, 80, 10, -20, 75])


class TestVerdicts:
    def test_each_of_the_four(self) -> None:
        found = compare({"mixup": HELPING, "blur": -HELPING, "ema": NOTHING, "flip": UNSURE})
        assert [each.verdict for each in found.values()] == [
            "helps",
            "harms",
            "no difference larger than 1 point",
            "not resolved",
        ]
        assert [each.resolved for each in found.values()] == [True, True, True, False]
        assert found["mixup"].effect == pytest.approx(HELPING.mean()) == -found["blur"].effect
        assert found["mixup"].p == pytest.approx(found["blur"].p)

    def test_the_margin_is_in_its_words(self) -> None:
        assert compare({"ema": NOTHING}, margin=0.005)["ema"].verdict == "no difference larger than 0.5 points"
        assert compare({"ema": NOTHING}, margin=0.02)["ema"].verdict == "no difference larger than 2 points"
        assert compare({"ema": NOTHING}, margin=0.0005)["ema"].verdict == "not resolved"

    def test_a_difference_that_is_there_and_does_not_matter_is_named_with_its_size(self) -> None:
        found = compare({"mixup": HELPING}, margin=0.05)["mixup"]
        assert found.verdict == "helps" and found.p_equivalence < 0.05
        assert "though by less than 5 points" in found.words

    def test_more_effects_ask_for_more(self) -> None:
        alone = compare({"it": UNSURE / 2 + HELPING / 2})["it"]
        many = compare({"it": UNSURE / 2 + HELPING / 2} | {str(n): NOTHING for n in range(5)})["it"]
        assert alone.p == alone.p_raw == many.p_raw and many.p == pytest.approx(6 * alone.p)

    def test_what_was_measured_is_told(self) -> None:
        found = compare({"flip": UNSURE})["flip"]
        means = UNSURE.mean(1)
        assert found.by_seed == tuple(means)
        assert found.d_z == pytest.approx(means.mean() / means.std(ddof=1))
        assert found.same_sign == pytest.approx(4 / 6)
        assert found.n == 6 and found.both.n == found.pictures.n == 2000 and found.seeds.n == 6
        assert found.p_seeds == pytest.approx(stats.ttest_1samp(means, 0).pvalue)

    def test_words_are_one_sentence_that_says_what_is_covered(self) -> None:
        found = compare({"mixup": HELPING, "flip": UNSURE})
        assert found["mixup"].words.startswith("mixup helps: +2.18 points with 6 seeds (95 % from +")
        assert "for other seeds and other pictures like these" in found["mixup"].words
        assert found["mixup"].words.endswith("by Student's t, Holm over 2 effects).")
        more = found["flip"].more_seeds
        said = f"if it is what it seems, about {more} more seeds would resolve it, their number fixed beforehand, or "
        assert more and found["flip"].words.endswith(f"; {said}--until-resolved.")

    def test_json_is_json(self) -> None:
        found = compare({"mixup": HELPING, "one": HELPING[:1], "none": HELPING[:1] * np.nan, "same": NOTHING * 0})
        for name, each in found.items():
            held = json.loads(json.dumps(each.to_json(), allow_nan=False))
            assert held["name"] == name and held["n"] == each.n and held["verdict"] == each.verdict
            assert held["interval"] == [held["intervals"]["both"]["low"], held["intervals"]["both"]["high"]]
            assert set(held["intervals"]) == {"both", "seeds", "pictures"}
        assert found["one"].to_json()["interval"] == [None, None]


class TestFewOrNothing:
    def test_one_seed_says_nothing_of_another(self) -> None:
        found = compare({"one": np.ones((1, 500))})["one"]
        assert found.verdict == "not resolved" and found.p == found.p_equivalence == found.p_seeds == 1
        assert math.isnan(found.both.low) and math.isnan(found.seeds.low) and found.pictures.value == 1
        assert "one seed says nothing of another: give more seeds" in found.words

    def test_two_seeds_are_one_degree_of_freedom(self) -> None:
        found = compare({"two": differences([40, 50])})["two"]
        expected = stats.t(1).ppf(0.975) * 0.0025  # means 0.02 and 0.025
        assert found.both.high - found.effect == pytest.approx(expected, rel=0.02)
        assert not found.resolved

    def test_missing_seeds_are_left_out(self) -> None:
        gaps = np.vstack([HELPING, np.full((2, 2000), np.nan)])[[6, 0, 1, 2, 7, 3, 4, 5]]
        assert compare({"it": gaps}) == compare({"it": HELPING})
        nothing = compare({"it": gaps[:1]})["it"]
        assert nothing.n == 0 and nothing.verdict == "not resolved" and "no run of it has finished" in nothing.words

    def test_a_picture_that_a_seed_lacks_is_left_out_for_all(self) -> None:
        gaps = HELPING.copy()
        gaps[2, 100:200] = np.nan
        assert compare({"it": gaps})["it"].both == compare({"it": np.delete(HELPING, range(100, 200), 1)})["it"].both

    @pytest.mark.parametrize(
        ("seeds", "pictures", "verdict"),
        [(6, 2000, "no difference larger than 1 point"), (6, 200, "not resolved"), (2, 100, "not resolved")],
    )
    def test_identical_runs_are_as_sure_as_their_number_allows(self, seeds: int, pictures: int, verdict: str) -> None:
        found = compare({"same": np.zeros((seeds, pictures))})["same"]
        assert found.verdict == verdict and found.effect == 0 and found.p == 1
        # Two of N + 2 pictures: with many seeds, three in N or so.
        reach = stats.t(seeds - 1).ppf(0.975) * 2**0.5 / (pictures + 2)
        assert (found.both.low, found.both.high) == pytest.approx((-reach, reach))
        if verdict == "not resolved":
            assert found.limited_by == "pictures" and found.more_seeds is None and "test on more" in found.words

    def test_identical_runs_ask_for_as_many_seeds_as_resolve_them_if_they_stay_so(self) -> None:
        def compared(seeds: int) -> Verdict:
            arrays = {"same": np.zeros((seeds, 385))} | {name: np.zeros((seeds, 385)) for name in ("b", "c")}
            return compare(arrays)["same"]

        first = compared(4)
        assert not first.resolved and first.limited_by == "seeds" and first.more_seeds == 4
        assert "about 4 more seeds would resolve it" in first.words
        assert not compared(7).resolved and compared(8).verdict == "no difference larger than 1 point"

    def test_a_picture_that_all_seeds_win_resolves_nothing(self) -> None:
        values = np.zeros((8, 500))
        for won in range(1, 6):
            values[:, won] = 1
            found = compare({"it": values})["it"]
            assert found.verdict != "helps" and found.both.low <= 0
        values[:, 6:12] = 1
        assert compare({"it": values})["it"].verdict == "helps"

    def test_pictures_limit_what_seeds_cannot_show(self) -> None:
        values = np.zeros((6, 300))
        values[:, :20], values[:, 20:32] = 1, -1
        found = compare({"it": values})["it"]
        assert found.limited_by == "pictures" and found.more_seeds is None and not found.resolved


class TestContrasts:
    """Sums of 8 runs times ± 1/4: a picture that luck turns in one of them differs by a quarter."""

    def test_their_steps_are_found(self) -> None:
        draw = np.random.default_rng(0)
        for parts in (1, 2, 4, 64):
            assert steps(draw.integers(-parts, parts + 1, (4, 50)) / parts) == parts
        assert steps(np.zeros((4, 50))) == 1 and steps(draw.random((4, 50))) == 0 and steps(np.full((2, 3), 1 / 3)) == 0

    def test_of_few_pictures_they_are_as_unsure_as_two_runs(self) -> None:
        values = np.zeros((6, 50))
        values[:3, 4], values[3:, 9] = 0.25, -0.25
        found = compare({"it": values})["it"]
        assert found.verdict == "not resolved"
        assert found.both.high == pytest.approx(stats.t(5).ppf(0.975) * 2**0.5 / 52, rel=0.01)

    def test_luck_that_turns_parts_of_many_pictures_is_not_taken_for_whole_ones(self) -> None:
        values = np.zeros((6, 200))
        for seed, row in enumerate(values):
            row[[3 * seed, 3 * seed + 1]] = 0.25, -0.25
        assert np.count_nonzero(values.any(0)) == 12
        found = compare({"it": values})["it"]
        assert found.both.high - found.effect == pytest.approx(stats.t(5).ppf(0.975) * 2**0.5 / 202)

    def test_by_picture_they_are_the_exact_binomial(self) -> None:
        values = np.zeros((4, 300))
        values[0, :6], values[0, 6] = 0.25, -0.25
        assert pictures_p(values) == pytest.approx(stats.binomtest(6, 7).pvalue)


class TestSignFlips:
    def test_of_seeds_alone_all_flips_are_counted(self) -> None:
        means = np.array([0.3, 0.5, -0.1, 0.4, 0.2])
        flips = [
            abs(np.mean(means * each)) >= abs(means.mean()) - 1e-12 for each in itertools.product([1, -1], repeat=5)
        ]
        assert seeds_p(means) == pytest.approx(np.mean(flips))
        expected = stats.permutation_test((means,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert seeds_p(means) == pytest.approx(expected.pvalue)

    @pytest.mark.parametrize("seeds", [2, 6, 10])
    def test_the_least_it_can_give(self, seeds: int) -> None:
        assert seeds_p(np.arange(1.0, seeds + 1)) == 2.0 ** (1 - seeds)
        assert 2.0 ** (1 - seeds) <= seeds_p(np.arange(1.0, seeds + 1), 0.01)

    def test_pictures_make_it_less_sure(self) -> None:
        means = np.array([0.3, 0.5, 0.1, 0.4, 0.2, 0.6])
        p = [float(seeds_p(means, variance)) for variance in (0.0, 0.005, 0.02, 0.5)]
        assert p == sorted(p) and len(set(p)) == 4

    def test_of_two_seeds_it_is_done_by_hand(self) -> None:
        """What was seen has mean 0.4 and counts in full; the other flip has 0.1, and half the pictures' part."""
        error, other = (0.17 - 0.4**2 + 1) ** 0.5, (0.17 - 0.1**2 + 1) ** 0.5  # 0.17: the mean of squares
        bound, width = 0.4 * other / error, 0.5**0.5
        share = stats.norm.sf((bound - 0.1) / width) + stats.norm.sf((bound + 0.1) / width)
        assert seeds_p(np.array([0.5, 0.3]), 1.0) == pytest.approx((1 + share) / 2)

    def test_more_than_sixteen_seeds_are_sampled(self) -> None:
        means = np.random.default_rng(0).standard_normal(20) + 0.5
        expected = stats.ttest_1samp(means, 0).pvalue
        assert float(seeds_p(means)) == pytest.approx(expected, abs=0.01)
        assert signs(20).shape == (2**15, 20) and (signs(20)[0] == 1).all()

    def test_of_few_pictures_it_is_the_exact_binomial(self) -> None:
        values = np.zeros((4, 300))
        values[:, :6], values[:, 6] = 1, -1
        assert pictures_p(values) == pytest.approx(stats.binomtest(6, 7).pvalue)
        values[:, 7:100] = 1
        assert pictures_p(values) == 0.0

    def test_it_is_used_where_seeds_leave_room(self) -> None:
        found = compare({"it": differences([40, 45, 38, 50, 42, 47, 39, 44, 48, 36])})["it"]
        assert found.test == "sign_flip" and found.p_seeds == 2.0**-9 <= found.p_raw < 0.01
        assert "by sign flips" in found.words
        assert compare({"it": HELPING})["it"].test == "t"
        assert compare({"it": HELPING}, test="sign_flip")["it"].p_seeds == 2.0**-5


class TestHolm:
    def test_against_the_definition(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
        assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([0.2]) == [0.2]

    def test_what_is_not_looked_at_cannot_be_found(self) -> None:
        found = compare({"a": HELPING, "b": HELPING}, levels={"a": 0.01, "b": 0.0})
        assert found["b"].p == found["b"].p_equivalence == 1
        assert found["a"].p == pytest.approx(2 * 5 * found["a"].p_raw)

    def test_words_say_that_p_is_spent_over_looks(self) -> None:
        given = {"a": HELPING, "b": UNSURE, "c": HELPING}
        found = compare(given, levels={"a": 0.01, "b": 0.003, "c": 0.0})
        assert found["a"].words.endswith("by Student's t, spent over looks (Lan & DeMets), Holm over 3 effects).")
        p = f"{found['b'].p_raw:.2g}"
        assert f"p = {p} by Student's t before Holm and looks, of which this look may spend 0.003" in found["b"].words
        assert "beforehand" not in found["b"].words
        assert "no look was planned with 6" in found["c"].words
        assert [each.to_json()["spent"] for each in found.values()] == [0.01, 0.003, 0.0]
        assert compare(given)["a"].to_json()["spent"] is None

    def test_under_looks_more_seeds_lead_to_one_that_is_planned(self) -> None:
        plan = Spending(24, effects=2)
        values = differences([60, -15, 80, 10, 0, 75])
        found = compare({"a": values, "b": NOTHING}, spending=plan)["a"]
        alone = compare({"a": values, "b": NOTHING})["a"]
        assert found.spent == plan.level(6) and found.more_seeds and alone.more_seeds
        assert found.n + found.more_seeds in plan.looks and found.more_seeds > alone.more_seeds
        assert found.more_seeds == compare({"a": values, "b": NOTHING}, spending=plan)["a"].more_seeds
        none = compare({"a": UNSURE, "b": NOTHING}, spending=Spending(8, effects=2))["a"]
        assert none.more_seeds is None and none.limited_by == "seeds" and "no look that is planned" in none.words


class TestIntervals:
    def test_losses_are_not_bounded(self) -> None:
        draw = np.random.default_rng(0)
        values = 40 + 5 * draw.standard_normal((6, 1)) + draw.standard_normal((6, 300))
        found = difference_interval(values)
        means = values.mean(1)
        reach = stats.t(5).ppf(0.975) * means.std(ddof=1) / 6**0.5
        assert (found.low, found.high) == pytest.approx((means.mean() - reach, means.mean() + reach), rel=1e-3)
        scaled = difference_interval(values * 1000)
        assert scaled.high - scaled.low == pytest.approx(1000 * (found.high - found.low))

    def test_a_loss_that_is_not_finite_has_no_interval(self) -> None:
        values = np.ones((3, 10))
        values[1, 4] = np.inf
        assert math.isnan(difference_interval(values).low)
        assert math.isnan(difference_interval(np.ones((1, 10))).high)
        assert difference_interval(np.zeros((4, 10))) == Interval(0.0, 0.0, 0.0, 10, "two_way")

    def test_one_value_a_seed(self) -> None:
        values = [0.02, 0.03, math.nan, 0.025, 0.04, 0.022, 0.031]
        found = scalar_interval(values)
        kept = np.array(values)[[0, 1, 3, 4, 5, 6]]
        reach = stats.t(5).ppf(0.975) * kept.std(ddof=1) / 6**0.5
        assert found.n == 6 and found.value == pytest.approx(kept.mean())
        assert found.low <= kept.mean() - reach + 1e-12 and found.high >= kept.mean() + reach - 1e-12
        assert found.high - found.low < 3 * reach
        assert math.isnan(scalar_interval([0.1]).low) and math.isnan(scalar_interval([]).value)

    def test_an_interval_leaves_out_0_only_where_the_test_does(self) -> None:
        for number in range(60):
            values = np.random.default_rng(number).choice([-1.0, 0.0, 1.0], size=(9, 120), p=[0.05, 0.85, 0.1])
            found = compare({"it": values})["it"]
            assert (found.both.low > 0) <= (found.p_raw <= 0.05)

    def test_no_difference_of_shares_is_beyond_a_hundred_points(self) -> None:
        found = compare({"it": np.array([[1.0, 1, 1, 0], [0, -1, 0, 0]])})["it"]
        for each in (found.both, found.seeds, found.pictures):
            assert each.low >= -1 and each.high <= 1
        assert (found.both.low, found.both.high) == (-1, 1)
        assert difference_interval(np.array([[1.0, 1, 1, 0], [0, -1, 0, 0]])).high > 1

    def test_the_headline_is_wider_than_each_part(self) -> None:
        found = compare({"it": UNSURE})["it"]
        wide = found.both.high - found.both.low
        assert wide > 0.9 * max(found.seeds.high - found.seeds.low, found.pictures.high - found.pictures.low)

    def test_the_same_seed_gives_the_same(self) -> None:
        assert compare({"it": UNSURE}, seed=3) == compare({"it": UNSURE}, seed=3)
        assert compare({"it": UNSURE}, seed=3)["it"].pictures != compare({"it": UNSURE}, seed=4)["it"].pictures


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ({}, {}, "at least one arm"),
        ({"it": np.zeros(5)}, {}, "two dimensions"),
        ({"it": np.zeros((5, 0))}, {}, "two dimensions"),
        ({"it": np.full((2, 3), 7.0)}, {}, "difference_interval"),
        ({"it": np.full((2, 3), np.inf)}, {}, "difference_interval"),
        ({"it": np.array([[np.nan, 1.0], [1.0, np.nan]])}, {}, "same pictures"),
        ({"it": HELPING}, {"margin": 1.5}, "one point is 0.01"),
        ({"it": HELPING}, {"alpha": 0.0}, "leave it at 0.05"),
        ({"it": HELPING}, {"test": "wilcoxon"}, "Allowed: auto, sign_flip, t"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    given: dict[str, np.ndarray], options: dict[str, object], said: str
) -> None:
    with pytest.raises(NetwrightError, match=said):
        compare(given, **options)


def test_p_is_that_of_both_uncertainties() -> None:
    """By Welch-like hand: seeds agree exactly, so that only pictures are uncertain."""
    values = np.tile(np.repeat([1.0, -1.0, 0.0], [80, 40, 880]), (6, 1))
    error = values[0].std(ddof=1) / 1000**0.5
    assert difference_p(values) == pytest.approx(2 * stats.norm.sf(0.04 / error), rel=0.01)
